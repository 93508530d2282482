"""Caffe's files: read whole, refused where damaged; CaffeNet beside OpenCV's importer and a NumPy forward pass."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import caffe_files as files
import relprop as rp
from caffe_files import CONV, FULL
from relprop.models import ModelError
from relprop.models.families import caffe as caffe_family
from relprop.models.files import caffe, caffe_description, caffe_weights, checkpoints
from relprop.models.networks import caffenet

log = logging.getLogger(__name__)  # figures: pytest --log-cli-level=info

CLASSES = 20
SMALL = files.small_weights()


def written(folder, data, name="network.caffemodel"):
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


# Formats


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("blobs", [{"legacy": False}, {"legacy": True}, {"double": True}])
def test_weights_are_those_written(old, blobs, tmp_path):
    net = caffe.read_caffemodel(written(tmp_path, files.caffemodel(files.caffenet(), SMALL, old, **blobs)))
    assert [layer.name for layer in net.layers] == [name for name, *_ in files.caffenet()]
    assert list(net.weighted) == list(SMALL)
    for name, arrays in SMALL.items():
        layer = net.weighted[name]
        assert layer.type == (FULL if name.startswith("fc") else CONV)
        assert [blob.dtype for blob in layer.blobs] == [torch.float32] * 2
        for blob, array in zip(layer.blobs, arrays, strict=True):
            shape = (1,) * (4 - array.ndim) + array.shape if blobs.get("legacy", old) else array.shape
            assert blob.shape == shape
            assert np.array_equal(blob.numpy().reshape(array.shape), array)


def test_both_formats_say_the_same():
    """The binary ones, the texts, and each with the other."""
    layers = files.caffenet()
    read = [caffe.message("Net") for _ in range(2)]
    for parsed, old in zip(read, (False, True), strict=True):
        parsed.ParseFromString(files.caffemodel(layers, SMALL, old, legacy=False))
    new, old = (caffe._net(parsed, Path("x")) for parsed in read)
    assert [(a.name, a.type, a.bottoms, a.tops, a.settings) for a in new.layers] == [
        (b.name, b.type, b.bottoms, b.tops, b.settings) for b in old.layers
    ]


def test_a_text_says_what_the_weights_say(tmp_path):
    weights = caffe.read_caffemodel(written(tmp_path, files.caffemodel(files.caffenet(), SMALL)))
    for old in (False, True):
        text = caffe.read_prototxt(written(tmp_path, files.prototxt(files.caffenet(), old), "deploy.prototxt"))
        assert text.input_sizes == ((227, 227),)
        assert not text.weighted
        assert [(a.name, a.type, a.bottoms, a.tops, a.settings) for a in text.layers] == [
            (b.name, b.type, b.bottoms, b.tops, b.settings) for b in weights.layers
        ]


def test_every_way_to_give_a_size(tmp_path):
    ways = ("kernel_size: 3", "kernel_size: 3 kernel_size: 5", "kernel_size: [3, 5]", "kernel_h: 3 kernel_w: 5")
    layers = [f"layer {{ type: 'Convolution' convolution_param {{ {way} }} }}" for way in ways]
    net = caffe.read_prototxt(written(tmp_path, "\n".join(layers)))
    assert [layer.settings["kernel_size"] for layer in net.layers] == [(3, 3), (3, 5), (3, 5), (3, 5)]
    assert net.layers[0].settings | {"kernel_size": None} == {
        "num_output": 0,
        "kernel_size": None,
        "stride": (1, 1),
        "pad": (0, 0),
        "dilation": (1, 1),
        "group": 1,
        "bias_term": True,
    }


def test_every_way_to_give_the_input(tmp_path):
    ways = (
        "input_dim: 10 input_dim: 3 input_dim: 200 input_dim: 100",
        "input_shape { dim: 10 dim: 3 dim: 200 dim: 100 }",
        "layer { type: 'Input' input_param { shape { dim: [10, 3, 200, 100] } } }",
    )
    for way in ways:
        net = caffe.read_prototxt(written(tmp_path, f"{way} layer {{ name: 'a' }}"))
        assert net.input_sizes == ((200, 100),)
    crop = "layers { type: DATA transform_param { crop_size: 64 } }"
    assert caffe.read_prototxt(written(tmp_path, crop)).input_sizes == ((64, 64),)


@pytest.mark.parametrize("blobs", [{}, {"legacy": True}, {"double": True}])
def test_a_mean_image_is_what_was_written(blobs, tmp_path):
    image = np.random.default_rng(0).uniform(0, 255, (3, 5, 7)).astype("f4")
    mean = caffe.read_mean(written(tmp_path, files.blob(image, **blobs)))
    assert mean.dtype == torch.float32
    assert np.array_equal(mean.numpy(), image)


# Refusals


@pytest.mark.parametrize("read", [caffe.read_caffemodel, caffe.read_prototxt, caffe.read_mean])
def test_what_is_no_file_at_all(read, tmp_path):
    written(tmp_path, b"x", "bvlc.caffemodel")
    with pytest.raises(ModelError, match="a folder; name one"):
        read(tmp_path)
    with pytest.raises(ModelError, match=r"no such .* file; did you mean bvlc.caffemodel\?"):
        read(tmp_path / "bvcl.caffemodel")
    with pytest.raises(ModelError, match="an empty file"):
        read(written(tmp_path, b""))
    with pytest.raises(ModelError, match="a device or a pipe"):
        read("/dev/zero")


def other_kinds(folder):
    torch.save({"a": torch.zeros(2)}, folder / "a.pth")
    torch.save({"a": torch.zeros(2)}, folder / "b.pth", _use_new_zipfile_serialization=False)
    save_file({"a": torch.zeros(2)}, folder / "a.safetensors")
    np.save(folder / "a.npy", np.zeros(2))
    yield from ((folder / "a.pth", "torch file"), (folder / "b.pth", "torch file"))
    yield from ((folder / "a.safetensors", "safetensors"), (folder / "a.npy", "NumPy"))
    yield written(folder, b"\x89HDF\r\n\x1a\n" + bytes(100), "a.h5"), "HDF5"
    yield written(folder, files.prototxt(files.caffenet()), "a.prototxt"), "text"


def test_another_kind_of_file_is_named(tmp_path):
    for path, kind in other_kinds(tmp_path):
        for read in (caffe.read_caffemodel, caffe.read_mean):
            with pytest.raises(ModelError, match=f"{path.name}: not a .* but an? .*{kind}"):
                read(path)


def test_caffes_files_are_not_mistaken_for_each_other(tmp_path):
    model = written(tmp_path, files.caffemodel(files.caffenet(), SMALL), "a.caffemodel")
    mean = written(tmp_path, files.undamaged("binaryproto"), "a.binaryproto")
    with pytest.raises(ModelError, match="no mean image"):
        caffe.read_mean(model)
    with pytest.raises(ModelError, match="a mean image goes to --mean"):
        caffe.read_caffemodel(mean)
    for path in (model, mean):
        with pytest.raises(ModelError, match=r"not a \.prototxt"):
            caffe.read_prototxt(path)


TWO = np.zeros(2, "f4")
TWICE = files.blob(TWO) + files.field(8, TWO.astype("f8").tobytes())
UNPACKED = files.blob(TWO[:0], shape=(2,)) + files.field(5, 0.0) * 2


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (files.caffemodel(files.caffenet(), SMALL)[:-3], "cut short or damaged"),
        (files.caffemodel(files.caffenet(), {}), "a network without weights"),
        (files.field(1, "net") + bytes([0x10, 1]), "holds no layers"),
        (files.field(2, files.field(1, files.field(1, "conv1"))), "Caffe's format of 2013"),
        (files.field(2, files.field(4, "a")) + files.field(100, files.field(1, "b")), "mixes `layer` and `layers`"),
        (files.caffemodel([("a", CONV, {})] * 2, {"a": SMALL["fc6"]}), "2 layers with weights are called 'a'"),
        (files.caffemodel([("a", CONV, {})], {"a": SMALL["fc6"]}, shape=(2, 4)), r"blob 0 of layer 'a' holds 6 .* 2x4"),
        (files.caffemodel([("a", CONV, {})], {"a": [np.array([0, -np.inf])]}), "not finite"),
        (files.caffemodel([("a", CONV, {})], {"a": [np.array([0, np.nan, 1])]}), "not finite"),
        (files.field(100, b"") * 10_001, "10001 layers"),
        (files.field(100, files.field(7, TWICE)), "blob 0 of layer '' has its numbers twice"),
        (files.field(100, files.field(7, UNPACKED)), "holds 0 packed numbers in the shape 2"),
    ],
)
def test_a_caffemodel_that_is_none(data, said, tmp_path):
    with pytest.raises(ModelError, match=said):
        caffe.read_caffemodel(written(tmp_path, data))


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((1, 5, 5)), "shape 1x5x5, and it must be 3 x height x width"),
        (np.zeros((2, 3, 5, 5)), "shape 2x3x5x5"),
        (np.full((3, 5, 5), 256.0), "values from 256 to 256"),
        (np.full((3, 5, 5), -1.0), "values from -1 to -1"),
        (np.full((3, 5, 5), np.nan), "not finite"),
    ],
)
def test_a_mean_image_that_is_none(image, said, tmp_path):
    with pytest.raises(ModelError, match=said):
        caffe.read_mean(written(tmp_path, files.blob(image)))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits memory, and counts it, as Linux does")
def test_damaged_files_are_read_or_refused(damaged, tmp_path):
    """In a program of its own, with 2 GiB of memory beyond what it holds before; all kinds in one, for its imports."""
    command = [sys.executable, files.__file__, str(tmp_path), str(damaged)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=480, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    outcomes = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [outcome["kind"] for outcome in outcomes] == list(files.KINDS)
    for outcome in outcomes:
        log.info("%s", outcome)
        assert outcome["read"] + outcome["refused"] == damaged + outcome["made"], outcome
        # Neither all damaged beyond reading, nor all overlooked.
        assert min(outcome["read"], outcome["refused"]) > damaged // 20, outcome


# Which network it is


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", ["caffenet", "vgg16"])
def test_the_published_descriptions_pass(name, old, tmp_path):
    side = caffe_description.INPUT_SIDES[name]
    layers = getattr(files, name)(CLASSES)
    caffe_description.check_prototxt(written(tmp_path, files.prototxt(layers, old, side)), name)
    caffe_description.check(caffe.read_caffemodel(written(tmp_path, files.caffemodel(layers, SMALL, old))), name, "it")


TRAINING = """
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
        transform_param { mirror: true crop_size: 227 mean_file: "mean.binaryproto" } data_param { batch_size: 256 } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST } transform_param { crop_size: 227 } }
%s
layer { name: "accuracy" type: "Accuracy" bottom: "fc8" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SigmoidCrossEntropyLoss" bottom: "fc8" bottom: "label" top: "loss" }
"""


def test_a_description_for_training_passes(tmp_path):
    layers = files.prototxt(files.caffenet(CLASSES)[:-1]).split("input_dim: 227\n")[-1]
    caffe_description.check_prototxt(written(tmp_path, TRAINING % layers), "caffenet")


def alexnet():
    """Normalisation before pooling."""
    layers = files.caffenet()
    for n in (2, 6):
        layers[n], layers[n + 1] = layers[n + 1], layers[n]
    return layers


def changed(name, **settings):
    return [(n, kind, old | settings if n == name else old) for n, kind, old in files.caffenet()]


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (alexnet(), r"layer 'norm1' \(LRN\) stands where layer 'pool1' \(Pooling\) belongs"),
        (changed("conv1", stride=2), r"layer 'conv1' \(Convolution\) has stride 2x2 where conv1 has 4x4"),
        (changed("conv1", kernel_size=7), "kernel_size 7x7 where conv1 has 11x11"),
        (changed("conv2", group=1), "layer 'conv2' .* has group 1 where conv2 has 2"),
        (changed("conv2", pad=0), "has pad 0x0 where conv2 has 2x2"),
        (changed("conv5", num_output=384), "has num_output 384 where conv5 has 256"),
        (changed("fc7", num_output=1024), "has num_output 1024 where fc7 has 4096"),
        (changed("pool2", pool="AVE"), "layer 'pool2' .* has pool AVE where pool2 has MAX"),
        (changed("pool5", kernel_size=2), "has kernel_size 2x2 where pool5 has 3x3"),
        (changed("pool5", stride=3), "has stride 3x3 where pool5 has 2x2"),
        (changed("norm2", alpha=2e-4), r"layer 'norm2' \(LRN\) has alpha 0.000(2|1999)\d* where norm2 has 0.0001"),
        (changed("norm2", alpha=1.001e-4), r"has alpha 0.0001\d* where norm2 has 0.0001"),
        (changed("norm2", beta=0.5), "has beta 0.5 where"),
        (changed("norm1", k=2.0), "has k 2.0 where norm1 has 1.0"),
        (changed("norm1", local_size=3), "has local_size 3 where norm1 has 5"),
        (files.caffenet()[:-2], r"it ends before layer 'fc8' \(InnerProduct\)"),
        ([*files.caffenet()[:-1], ("fc9", FULL, {})], "layer 'fc9' .* comes after the last layer, fc8"),
        ([x for x in files.caffenet() if x[0] != "relu3"], "layer 'conv4' .* stands where layer 'relu3' .* belongs"),
        (files.vgg16(), "layer 'conv1_1' .* has num_output 64 where conv1 has 96"),
    ],
)
def test_another_network_is_told_by_its_first_difference(layers, said, tmp_path):
    with pytest.raises(ModelError, match=f"not caffenet: .*{said}"):
        caffe_description.check_prototxt(written(tmp_path, files.prototxt(layers)), "caffenet")
    net = caffe.read_caffemodel(written(tmp_path, files.caffemodel(layers, {layers[0][0]: SMALL["conv1"]})))
    with pytest.raises(ModelError, match=f"it: not caffenet: .*{said}"):
        caffe_description.check(net, "caffenet", "it")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('bottom: "pool1"', 'bottom: "conv1"', r"layer 'norm1' \(LRN\) reads conv1, not pool1"),
        ('bottom: "conv3" top: "conv4"', 'bottom: "norm2" top: "conv4"', "layer 'conv4' .* reads norm2, not relu3"),
        ("input_dim: 227", "input_dim: 256", "its input is 256x256 pixels, not 227x227"),
        ("stride: 2", "stride: 2 round_mode: FLOOR", "has round_mode FLOOR where pool1 has CEIL"),
        ("stride: 2", "stride: 2 global_pooling: true", "has global_pooling True where pool1 has False"),
        ("num_output: 96", "num_output: 96 dilation: 2", "has dilation 2x2 where conv1 has 1x1"),
        ("num_output: 96", "num_output: 96 bias_term: false", "has bias_term False where conv1 has True"),
        ("beta: 0.75", "norm_region: WITHIN_CHANNEL", "has norm_region WITHIN_CHANNEL where norm1"),
        ("num_output: 1000", "num_output: 1000 transpose: true", "has transpose True where fc8 has False"),
        ('type: "ReLU"', 'type: "ReLU" relu_param { negative_slope: 0.1 }', "has negative_slope 0.1.* where relu1"),
    ],
)
def test_a_description_that_differs_in_a_detail(old, new, said, tmp_path):
    text = files.prototxt(files.caffenet())
    assert old in text
    with pytest.raises(ModelError, match=f"not caffenet: .*{said}"):
        caffe_description.check_prototxt(written(tmp_path, text.replace(old, new)), "caffenet")


def test_dropout_out_of_place_is_passed_through(tmp_path):
    """A dropout that writes a blob of its own, and one more of them."""
    text = files.prototxt(files.caffenet())
    extra = 'layer { name: "d" type: "Dropout" bottom: "fc7" top: "d" }'
    text = text.replace('layer {\n  name: "fc8"', f'{extra}\nlayer {{\n  name: "fc8"')
    text = text.replace('bottom: "fc7" top: "fc8"', 'bottom: "d" top: "fc8"')
    assert 'bottom: "d" top: "fc8"' in text
    caffe_description.check_prototxt(written(tmp_path, text), "caffenet")


def test_what_describes_no_network(tmp_path):
    with pytest.raises(ModelError, match=r"deploy\.prototxt, not its solver's"):
        caffe_description.check_prototxt(written(tmp_path, 'net: "train.prototxt" base_lr: 0.01'), "caffenet")
    with pytest.raises(ModelError, match="none of its layers has a bottom"):
        caffe_description.check_prototxt(written(tmp_path, 'layer { name: "a" type: "Data" top: "a" }'), "caffenet")
    with pytest.raises(ModelError, match=r"not a .prototxt that describes a network \(2:"):
        caffe_description.check_prototxt(written(tmp_path, "layer {\n }}"), "caffenet")
    with pytest.raises(ModelError, match="no network 'vgg19' is read from Caffe's files; did you mean vgg16"):
        caffe_description.check_prototxt(tmp_path / "none", "vgg19")


# Blobs to state dicts


def zeros(name, classes=CLASSES, old=False):
    """Weights of the right shapes, of no memory to speak of."""
    weights = {}
    for ours, (_, module) in zip(caffe_description.WEIGHTED[name], weighted(name, classes), strict=True):
        shapes = [tuple(p.shape) for p in (module.weight, module.bias)]
        shapes = [(1,) * (4 - len(shape)) + shape for shape in shapes] if old else shapes
        blobs = tuple(torch.zeros(1).expand(shape) for shape in shapes)
        weights[ours] = caffe.Layer(ours, "", (), (), {}, blobs)
    return weights


def weighted(name, classes):
    modules = caffe_description.structure(name, classes).named_modules()
    return [(path, m) for path, m in modules if isinstance(m, (nn.Conv2d, nn.Linear))]


@pytest.mark.parametrize("old", [False, True])
def test_weights_take_the_networks_own_names(old):
    state = caffe_weights.vgg16_state(zeros("vgg16", old=old), "it")
    own = caffe_description.structure("vgg16", CLASSES).state_dict()
    assert {key: t.shape for key, t in state.items()} == {key: t.shape for key, t in own.items()}
    state = caffe_weights.caffenet_state(zeros("caffenet", old=old), "it")
    assert list(state) == [f"{n}.{key}" for n in caffe_description.WEIGHTED["caffenet"] for key in ("weight", "bias")]
    assert state["fc6.weight"].shape == (4096, 9216)


def test_a_fine_tuned_last_layer_may_have_another_name():
    blobs = zeros("caffenet")
    blobs["fc8_voc"] = blobs.pop("fc8")
    assert caffe_weights.caffenet_state(blobs, "it")["fc8.weight"].shape == (CLASSES, 4096)


def replaced(name, *shapes):
    blobs = zeros("caffenet")
    blobs[name] = caffe.Layer(name, "", (), (), {}, tuple(torch.zeros(1).expand(shape) for shape in shapes))
    return blobs


@pytest.mark.parametrize(
    ("blobs", "said"),
    [
        (zeros("caffenet") | {"conv9": zeros("caffenet")["conv1"]}, "unexpected: conv9"),
        ({k: v for k, v in zeros("caffenet").items() if k not in ("conv2", "fc8")}, "missing: conv2, fc8"),
        ({}, r"missing: conv1, conv2, conv3, ... \(8 in all\)"),
        (zeros("vgg16"), "missing: conv1, conv2, .*unexpected: conv1_1, .*of another shape: fc6 4096x25088 for"),
        (replaced("conv2", (256, 96, 5, 5), (256,)), "of another shape: conv2 256x96x5x5 for 256x48x5x5"),
        (replaced("fc6", (9216, 4096), (4096,)), "fc6 9216x4096 for 4096x9216"),
        (replaced("fc6", (4096, 256, 6, 6), (4096,)), "fc6 4096x256x6x6 for 4096x9216"),
        (replaced("conv1", (96, 3, 11, 11)), "conv1 of 1 blobs for weights and bias"),
        (replaced("conv1", (96, 3, 11, 11), (1, 96, 1, 1)), "conv1 1x96x1x1 for 96"),
    ],
)
def test_weights_that_do_not_fit(blobs, said):
    with pytest.raises(ModelError, match=f"it: its layers do not fit caffenet .*{said}"):
        caffe_weights.caffenet_state(blobs, "it")


def test_weights_without_a_description_are_taken(tmp_path):
    layers = [(n, k, s) for n, k, s in files.caffenet(CLASSES) if k in (CONV, FULL)]
    net = caffe.read_caffemodel(written(tmp_path, files.caffemodel(layers, SMALL, described=False)))
    caffe_description.check(net, "caffenet", "it")
    assert list(net.weighted) == list(caffe_description.WEIGHTED["caffenet"])


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


def test_other_weights_are_refused_with_the_way_to_convert_them(tmp_path):
    with pytest.raises(ModelError, match=r"no weights are published.*relprop convert FILE --model caffenet --mean"):
        caffe_family.load("caffenet", None)
    with pytest.raises(ModelError, match=r"network.caffemodel: a .caffemodel .*relprop convert .* --mean"):
        caffe_family.load("caffenet", written(tmp_path, files.caffemodel(files.caffenet(), SMALL)))
    torch.save({"fc8.bias": torch.zeros(CLASSES)}, tmp_path / "a.pth")
    with pytest.raises(ModelError, match=r"a.pth: .*relprop convert .* --mean"):
        caffe_family.load("caffenet", tmp_path / "a.pth")
    with pytest.raises(ModelError, match="did you mean random"):
        caffe_family.load("caffenet", tmp_path / "randm")


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
