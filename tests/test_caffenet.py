"""CaffeNet beside OpenCV's importer and a NumPy forward pass."""

import logging

import cv2
import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from torch import nn

import caffe_files as files
import relprop as rp
from caffe_networks import CLASSES, weighted, written
from relprop.models.families import caffe as caffe_family
from relprop.models.files import caffe, caffe_description, caffe_weights, checkpoints
from relprop.models.networks import caffenet

log = logging.getLogger(__name__)  # figures: pytest --log-cli-level=info

# By name


def test_random_weights_are_the_same_each_time_and_draw_no_numbers_of_the_caller():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    (first, preprocess, classes), second = caffe_family.load("caffenet", "random"), caffenet.build(1000)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert classes[207] == "golden retriever"
    assert first.fc8.out_features == len(classes) == 1000
    white = preprocess(Image.new("RGB", (300, 200), "red"))
    assert white.shape == (3, 227, 227)
    assert white[:, 0, 0].tolist() == pytest.approx([-104.00698793, -116.66876762, 255 - 122.67891434], abs=1e-4)


# The numbers


def conv(x, w, b, stride=1, pad=0, group=1):
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    parts = []
    for xs, ws in zip(np.split(x, group), np.split(w, group), strict=True):
        windows = sliding_window_view(xs, w.shape[2:], (1, 2))[:, ::stride, ::stride]
        parts.append(np.einsum("chwij,ocij->ohw", windows, ws, optimize=True))
    return np.concatenate(parts) + b[:, None, None]


def pooled(length, kernel, stride, pad):
    """Caffe's number of windows: rounded up, but none may begin outside the picture and its padding."""
    count = -(-(length + 2 * pad - kernel) // stride) + 1
    return count - (pad > 0 and (count - 1) * stride >= length + pad)


def pool(x, kernel=3, stride=2, pad=0):
    out = np.empty((len(x), *(pooled(side, kernel, stride, pad) for side in x.shape[1:])))
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            (a, b), (c, d) = ((max(n * stride - pad, 0), n * stride - pad + kernel) for n in (i, j))
            out[:, i, j] = x[:, a:b, c:d].max((1, 2))
    return out


def lrn(x, n=5, alpha=1e-4, beta=0.75, k=1.0):
    """Krizhevsky et al. 2012, section 3.3, over the channels there are, with Caffe's alpha / n."""
    total = np.stack([(x[max(c - n // 2, 0) : c + n // 2 + 1] ** 2).sum(0) for c in range(len(x))])
    return x / (k + alpha / n * total) ** beta


def forward(x, weights):
    """CaffeNet in NumPy, float64: the last maps and the logits."""
    w = {name: [a.astype("f8") for a in arrays] for name, arrays in weights.items()}
    x = lrn(pool(np.maximum(conv(x, *w["conv1"], stride=4), 0)))
    x = lrn(pool(np.maximum(conv(x, *w["conv2"], pad=2, group=2), 0)))
    x = np.maximum(conv(x, *w["conv3"], pad=1), 0)
    x = np.maximum(conv(x, *w["conv4"], pad=1, group=2), 0)
    maps = pool(np.maximum(conv(x, *w["conv5"], pad=1, group=2), 0))
    x = maps.reshape(-1)
    for name in ("fc6", "fc7"):
        x = np.maximum(w[name][0] @ x + w[name][1], 0)
    return maps, w["fc8"][0] @ x + w["fc8"][1]


@pytest.mark.parametrize(
    ("kernel", "stride", "pad"), [(3, 2, 0), (2, 2, 0), (3, 2, 1), (2, 2, 1), (3, 3, 1), (5, 3, 2)]
)
def test_torch_rounds_pools_up_as_caffe_does(kernel, stride, pad):
    for side in range(5, 20):
        x = torch.randn(2, side, side, dtype=torch.float64)
        ours = nn.functional.max_pool2d(x, kernel, stride, pad, ceil_mode=True)
        assert np.array_equal(ours.numpy(), pool(x.numpy(), kernel, stride, pad))


@pytest.fixture(scope="module")
def drawn():
    """Weights that keep the size of what passes, so that normalisation matters, and logits of order 1."""
    rng = np.random.default_rng(0)
    weights = {}
    for name, (_, module) in zip(caffe_description.WEIGHTED["caffenet"], weighted("caffenet", CLASSES), strict=True):
        shape = tuple(module.weight.shape)
        gain = {"conv1": 1.0, "conv2": 2.0, "fc8": 0.016}.get(name, 1.4)
        w = rng.standard_normal(shape, dtype="f4") * np.float32(gain / np.sqrt(np.prod(shape[1:])))
        weights[name] = [w, rng.standard_normal(shape[0], dtype="f4") * np.float32(10 * gain if name != "fc8" else 0.1)]
    return weights


@pytest.fixture(scope="module")
def imported(drawn, tmp_path_factory):
    """CaffeNet from the files that Caffe would have written, and those files' contents."""
    folder = tmp_path_factory.mktemp("caffe")
    data = files.caffemodel(files.caffenet(CLASSES), drawn)
    path = written(folder, data)
    text = files.prototxt(files.caffenet(CLASSES)[:-1])
    caffe_description.check_prototxt(written(folder, text, "deploy.prototxt"), "caffenet")
    net = caffe.read_caffemodel(path)
    path.unlink()  # 250 MB
    caffe_description.check(net, "caffenet", str(path))
    network = caffe_description.structure("caffenet", CLASSES).to_empty(device="cpu")
    checkpoints.fit(network, caffe_weights.caffenet_state(net.weighted, str(path)), str(path), "caffenet")
    return network.eval(), text, data


def pictures(side):
    rng = np.random.default_rng(side)
    coarse = rng.uniform(0, 255, (3, 8, 8))
    fine = np.stack([cv2.resize(channel, (side, side)) for channel in coarse]) + rng.normal(0, 20, (3, side, side))
    return (fine.clip(0, 255) - np.array(caffenet.MEAN)[:, None, None]).astype("f4")


@pytest.mark.slow
@pytest.mark.parametrize("side", [227, 224])  # at 224 the first pool has a row to round up
def test_caffenet_agrees_with_opencv_and_numpy(imported, drawn, side):
    network, text, data = imported
    x = pictures(side)
    with torch.no_grad():
        ours = network(torch.from_numpy(x)[None])[0].numpy()
        maps = nn.Sequential(*list(network.children())[:15])(torch.from_numpy(x)[None])[0].numpy()
    judge = cv2.dnn.readNetFromCaffe(
        np.frombuffer(text.replace("227", str(side)).encode(), "u1"), np.frombuffer(data, "u1")
    )
    judge.setInput(x[None])
    theirs_maps, theirs = judge.forward(["pool5", "fc8"])
    exact_maps, exact = forward(x.astype("f8"), drawn)
    scale = np.abs(exact_maps).max()
    figures = {
        "opencv": np.abs(ours - theirs[0]).max(),
        "numpy": np.abs(ours - exact).max(),
        "opencv, maps": np.abs(maps - theirs_maps[0]).max() / scale,
        "numpy, maps": np.abs(maps - exact_maps).max() / scale,
    }
    log.info("side %d: logits %.2f to %.2f, maps to %.1f; %s", side, exact.min(), exact.max(), scale, figures)
    assert 0.5 < exact.std() < 5
    assert max(figures.values()) < 1e-4


@pytest.mark.slow
def test_the_weights_would_tell_another_network(imported, drawn):
    """What the test above rests on: each mistake that could be made moves the logits by far more than it allows."""
    network, *_ = imported
    x = torch.from_numpy(pictures(224))[None]
    modules = dict(network.named_children())

    def logits(names=tuple(modules), **instead):
        with torch.no_grad():
            return nn.Sequential(*[(modules | instead)[name] for name in names])(x)

    def ungrouped(name):
        """The second half of the filters given the first half's inputs, and the other way round."""
        conv = modules[name]
        halves = torch.cat([conv.weight[len(conv.weight) // 2 :], conv.weight[: len(conv.weight) // 2]])
        swapped = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, padding=conv.padding, groups=2)
        swapped.load_state_dict({"weight": halves, "bias": conv.bias})
        return swapped

    swap = {"pool1": "norm1", "norm1": "pool1", "pool2": "norm2", "norm2": "pool2"}
    right = logits()
    wrong = {
        "normalised before pooling": logits([swap.get(name, name) for name in modules]),
        "no normalisation": logits([name for name in modules if name not in ("norm1", "norm2")]),
        "alpha not divided": logits(norm1=nn.LocalResponseNorm(5, 5e-4, 0.75, 1.0)),
        "k": logits(norm1=nn.LocalResponseNorm(5, 1e-4, 0.75, 2.0)),
        "pools rounded down": logits(pool1=nn.MaxPool2d(3, 2)),
        "groups": logits(conv2=ungrouped("conv2")),
        "maps flattened in another order": logits(flatten=Channels()),
    }
    log.info("moved by: %s", {name: float((right - moved).abs().max()) for name, moved in wrong.items()})
    assert all((right - moved).abs().max() > 1e-2 for moved in wrong.values())


class Channels(nn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1).flatten(1)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lrp-z", "lrp-alpha2", "cmp-alpha1-flat", "cmp-alpha2-flat"])
def test_relevance_of_caffenet_is_conserved_and_passes_the_normalisation(imported, method):
    network, *_ = imported
    x = torch.from_numpy(pictures(227))[None]
    explained = rp.explain(network, x, targets=[3], methods=[method])
    ledger = explained.ledger[method]
    log.info("%s: error %.1e, bias takes %s", method, ledger.error, ledger.sum("bias") / ledger.start)
    assert ledger.error < 1e-4
    assert torch.equal(rp.attribute(network, x, 3, method), explained.relevance[method][0])
    norms = [row for row in ledger if row.path in ("norm1", "norm2")]
    assert len(norms) == 2
    assert all(torch.equal(row.relevance_in, row.relevance_out) for row in norms)


def test_the_plan_reads_like_the_paper():
    """At half the resolution, where the first linear layer is replaced by one that fits."""
    network = caffenet.build(CLASSES).eval()
    network.fc6 = nn.Linear(256 * 2 * 2, 4096)
    plan = rp.plan(network, torch.randn(1, 3, 99, 99), "cmp-alpha2-flat")
    rules = {step.path: step.rule for step in plan}
    assert rules["conv1"].startswith("Flat")
    assert all(rules[f"conv{n}"].startswith("AlphaBeta(alpha=2") for n in (2, 3, 4, 5))
    assert all(rules[f"fc{n}"].startswith("Epsilon") for n in (6, 7, 8))
    assert rules["norm1"] == rules["norm2"] == "Pass()"
    assert [step.path for step in plan][:5] == ["conv1", "relu1", "pool1", "norm1", "conv2"]
