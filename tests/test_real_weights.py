"""The engine on SqueezeNet's trained, pruned weights and on photographs, where they are to be had.

They lie beside the repository in `shared/real`; without them these tests are skipped.
"""

import csv
import json
import logging
from itertools import combinations
from pathlib import Path

import pytest
import torch
import zennit.rules as peer
from PIL import Image
from safetensors.torch import load_file
from torchvision.models import squeezenet1_0
from torchvision.transforms import v2
from zennit.attribution import Gradient
from zennit.composites import LayerMapComposite, MixedComposite, NameMapComposite, layer_map_base
from zennit.types import Linear

import relprop as rp

log = logging.getLogger(__name__)  # figures: pytest --log-cli-level=info

REAL = Path(__file__).parents[2] / "shared" / "real"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not REAL.is_dir(), reason="no shared/real beside the repository: no real weights"),
]

LOW, HIGH = -2.2, 2.7
BOUNDS = f"low={LOW},high={HIGH}"
EPSILON, ALPHA1, ALPHA2 = peer.Epsilon(1e-6), peer.AlphaBeta(1, 0), peer.AlphaBeta(2, 1)

# method: zennit's rules for the convolutions, for the fully connected one, for the first
METHODS = {
    "lrp-z": (peer.Epsilon(0.0),) * 3,
    "lrp-epsilon": (EPSILON, EPSILON, EPSILON),
    "lrp-alpha1": (ALPHA1, ALPHA1, ALPHA1),
    "lrp-alpha2": (ALPHA2, ALPHA2, ALPHA2),
    "cmp-alpha1": (ALPHA1, EPSILON, ALPHA1),
    "cmp-alpha2": (ALPHA2, EPSILON, ALPHA2),
    "cmp-alpha1-flat": (ALPHA1, EPSILON, peer.Flat()),
    "cmp-alpha2-flat": (ALPHA2, EPSILON, peer.Flat()),
    f"cmp-alpha1-zbox:{BOUNDS}": (ALPHA1, EPSILON, peer.ZBox(LOW, HIGH)),
    f"cmp-alpha2-zbox:{BOUNDS}": (ALPHA2, EPSILON, peer.ZBox(LOW, HIGH)),
}
PHOTOGRAPHS = ["001763", "000001", "004545"]

normalise = v2.Compose(
    [
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]
)
warp = v2.Compose([v2.Resize((256, 256)), v2.CenterCrop(227), normalise])


def squeezenet(dtype):
    model = squeezenet1_0()
    model.load_state_dict(load_file(REAL / "squeezenet1_0_imagenet.safetensors"))
    return model.to(dtype).eval()


@pytest.fixture(scope="module")
def single():
    return squeezenet(torch.float32)


@pytest.fixture(scope="module")
def double():
    return squeezenet(torch.float64)


def opened(path):
    with Image.open(path) as image:
        return image.convert("RGB")


def batched(items, size):
    items = list(items)
    return [items[start : start + size] for start in range(0, len(items), size)]


def photograph(name):
    return warp(opened(REAL / "VOCdevkit" / "VOC2007" / "JPEGImages" / f"{name}.jpg"))[None]


def zennit_relevance(model, x, target, method):
    on_conv, on_head, on_first = METHODS[method]
    by_name = NameMapComposite([(("features.0",), on_first), (("classifier.1",), on_head)])
    by_kind = LayerMapComposite([*layer_map_base(), (Linear, on_conv)])
    start = torch.eye(1000, dtype=x.dtype)[[target]]
    with Gradient(model, MixedComposite([by_name, by_kind])) as attributor:
        return attributor(x.clone().requires_grad_(), start)[1]


def difference(a, b):
    return ((a.double() - b.double()).abs().max() / b.double().abs().max()).item()


def test_squeezenet_recognises_the_validation_images_as_it_should(single):
    folder = REAL / "imagenet_val_227"
    with (folder / "boxes.csv").open() as rows:
        labels = {row["filename"]: int(row["class_index"]) for row in csv.DictReader(rows)}
    right = torch.zeros(5)
    for some in batched(labels, 25):
        x = torch.stack([normalise(opened(folder / "images" / filename)) for filename in some])
        with torch.no_grad():
            ranking = single(x).topk(5).indices
        right += (ranking == torch.tensor([labels[filename] for filename in some])[:, None]).sum(0)
    top1, top5 = right[0] / len(labels), right.sum() / len(labels)
    # 69.4 and 90.2 % on the 500 of which these are half; two standard errors of a half are 4.1 and 2.7 %.
    log.info("top-1 %.1f %%, top-5 %.1f %%", 100 * top1, 100 * top5)
    assert len(labels) == 250
    assert abs(top1 - 0.694) < 0.041
    assert abs(top5 - 0.902) < 0.027


@pytest.fixture(scope="module", params=PHOTOGRAPHS)
def precisions(request, single, double):
    """A photograph explained in both precisions by every method: two models, two inputs, two explanations."""
    x = photograph(request.param)
    target = single(x).argmax().item()
    pair = [(model, x.to(dtype)) for model, dtype in ((single, torch.float32), (double, torch.float64))]
    return target, pair, [rp.explain(model, x, targets=[target], methods=[*METHODS]) for model, x in pair]


@pytest.mark.parametrize("method", METHODS)
def test_single_precision_is_as_good_as_it_can_be(precisions, method):
    """At most twice the error that zennit makes on the same photograph, or under 1e-5."""
    target, pair, explanations = precisions
    ours = difference(*(explanation.relevance[method][0] for explanation in explanations))
    theirs = difference(*(zennit_relevance(model, x, target, method) for model, x in pair))
    log.info("ours %.1e, zennit %.1e", ours, theirs)
    assert ours < max(2 * theirs, 1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_maps_of_trained_weights_agree_with_zennit(double, method):
    x = photograph("001763").double()
    ours = rp.attribute(double, x, target=281, method=method, profile="zennit", start="one")
    error = difference(ours, zennit_relevance(double, x, 281, method))
    log.info("relative difference %.1e", error)
    assert error < 1e-4


@pytest.mark.parametrize(
    ("name", "shown"),
    [("001763", ["cat", "dog", "sofa", "tvmonitor"]), ("004545", ["car", "dog", "horse"])],
)
def test_maps_of_two_classes_are_less_alike_under_the_composite_than_under_alpha1(single, name, shown):
    """The paper's claim 8, measured: the cosine between the maps of every two objects in one photograph.

    SqueezeNet has one fully connected layer alone, so its composites differ little from the uniform rules.
    """
    x = photograph(name)
    classes = json.loads((REAL / "voc_to_imagenet.json").read_text())
    logits = single(x).detach()[0]
    targets = [max(classes[object_], key=lambda index: logits[index]) for object_ in shown]
    methods = ["lrp-alpha1", "cmp-alpha2-flat"]
    explanation = rp.explain(single, x, targets=targets, methods=methods)
    maps = [explanation.relevance[method].flatten(1) for method in methods]
    for a, b in combinations(range(len(shown)), 2):
        alpha1, composite = (torch.cosine_similarity(R[a], R[b], dim=0).item() for R in maps)
        log.info("%s, %s: alpha1 %.3f, composite %.3f", shown[a], shown[b], alpha1, composite)
        assert composite < alpha1 - 0.02
