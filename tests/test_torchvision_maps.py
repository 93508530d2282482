"""Torchvision's segmentation networks and one-stage detectors: loaded by name, and explained at a place or a box."""

import json
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision import models
from torchvision.transforms.functional import to_tensor

import relprop as rp
from loaded_networks import failure_in_one_line, picture
from narrow import with_weights
from relprop.models import ModelError, load, registry
from relprop.models.families import library_names, torchvision_detection, torchvision_segmentation
from relprop.models.families.same_preprocessing import differ
from relprop.models.networks.detector import Detector
from relprop.models.networks.regional import Regional

D = torch.float64
SEGMENTATION = models.list_models(module=models.segmentation)
LIGHT = "lraspp_mobilenet_v3_large"


def test_all_of_torchvisions_are_listed():
    named = {name: family.title for name, family in registry.listing()}
    assert {n for n, title in named.items() if title == "torchvision, segmentation"} == set(SEGMENTATION)
    detectors = models.list_models(module=models.detection)
    assert list(library_names.torchvision("detection")) == detectors
    assert {n for n, title in named.items() if title == "torchvision, detection"} == {
        name for name in detectors if "rcnn" not in name
    }
    for part in ("segmentation", "detection"):
        for name, published in library_names.torchvision(part).items():
            entry = models.get_model_weights(name).DEFAULT
            assert (published.url, published.megabytes) == (entry.url, entry.meta["_file_size"])
    assert "MB" in rp.models.needs("fcn_resnet50")


# -- segmentation ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [LIGHT, "fcn_resnet50", "deeplabv3_mobilenet_v3_large"])
def test_a_segmentation_network_has_vocs_classes_and_torchvisions_preprocessing(name):
    model = load(name, "random")
    entry = models.get_model_weights(name).DEFAULT
    assert model.classes == tuple(entry.meta["categories"])
    assert model.classes[15] == "person"
    assert set(model(torch.zeros(1, 3, 33, 33))) == {"out"}
    theirs = entry.transforms()

    def centre(image):
        x = theirs(image)
        top, left = ((side - 520) // 2 for side in x.shape[1:])
        return x[:, top : top + 520, left : left + 520]

    assert differ(model.preprocess, centre, shift=1) < 1e-3


@pytest.mark.parametrize(("name", "classes"), [("fcn_resnet50", 21), (LIGHT, 21), ("deeplabv3_resnet50", 4)])
def test_files_of_published_form_fit_and_compute_the_same(name, classes, tmp_path):
    more = {} if name == LIGHT else {"aux_loss": True}
    theirs = with_weights(models.get_model(name, weights_backbone=None, num_classes=classes, **more)).eval()
    save_file({k: v.contiguous() for k, v in theirs.state_dict().items()}, tmp_path / "w.safetensors")
    ours = load(name, tmp_path / "w.safetensors")
    x = torch.randn(1, 3, 40, 48)
    assert torch.equal(ours(x)["out"], theirs(x)["out"])
    assert len(ours.classes) == classes
    assert ours.classes[1] == ("aeroplane" if classes == 21 else "class 1")


@pytest.fixture(scope="module")
def fcn():
    torch.manual_seed(0)
    return with_weights(torchvision_segmentation._build("fcn_resnet50", 6)).to(D).eval()


def gradient_times_input(model, x, target):
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(target(model(x)).sum(), x)
    return gradient * x.detach()


TARGETS = {
    "a pixel": lambda y: y["out"][:, 4, 20, 11],
    "a region": lambda y: y["out"][:, 4, 5:20, 3:30].mean((1, 2)),
    "why a rather than b": lambda y: (y["out"][:, 4] - y["out"][:, 1])[:, 5:20, 3:30].mean((1, 2)),
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_lrp_z_of_a_place_is_gradient_times_input(fcn, target):
    x = torch.randn(2, 3, 33, 41, dtype=D)
    R = rp.attribute(fcn, x, target, "lrp-z")
    expected = gradient_times_input(fcn, x, target)
    torch.testing.assert_close(R, expected, rtol=0, atol=1e-9 * float(expected.abs().max()))


def test_a_region_alone_is_a_classifier_and_has_the_same_map(fcn):
    x = torch.randn(1, 3, 33, 41, dtype=D)
    at = Regional(fcn, (3, 5, 30, 20)).eval()
    torch.testing.assert_close(at(x)[:, 4], TARGETS["a region"](fcn(x)))
    for method in ("lrp-z", "cmp-alpha2-flat"):
        found = rp.attribute(at, x, 4, method)
        torch.testing.assert_close(found, rp.attribute(fcn, x, TARGETS["a region"], method), rtol=1e-9, atol=1e-12)


def test_a_pixel_far_away_knows_nothing_of_this_one():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 5, 3, padding=1)).to(D).eval()
    R = rp.attribute(Regional(net, (4, 6, 5, 7)), torch.randn(1, 3, 20, 20, dtype=D), 2, "cmp-alpha2-flat")[0].sum(0)
    assert R[4:9, 2:7].abs().min() > 0
    R[4:9, 2:7] = 0
    assert not R.any()


@pytest.mark.parametrize("region", [(0, 0, 9, 10), (-1, 0, 3, 3), (3, 3, 3, 4)])
def test_regions_beyond_the_map_are_refused(region):
    with pytest.raises(rp.InputError, match="is not within the map of 8x10 pixels"):
        Regional(nn.Conv2d(3, 4, 1), region)(torch.zeros(1, 3, 10, 8))
    with pytest.raises(rp.InputError, match="a network that gives a map of logits"):
        Regional(nn.Flatten(), region)(torch.zeros(1, 3, 10, 8))


# -- detection ---------------------------------------------------------------------------------------

AS_IS = {"image_mean": [0.0] * 3, "image_std": [1.0] * 3, "detections_per_img": 10**6, "topk_candidates": 10**6}
SIZES = {"retinanet_resnet50_fpn": 96, "fcos_resnet50_fpn": 96, "ssdlite320_mobilenet_v3_large": 320}


def detector(name, classes=5, **more):
    """Torchvision's own, with no preparation of pictures, and scores that differ."""
    size = SIZES[name]
    sized = {} if name.startswith("ssd") else {"min_size": size, "max_size": size}
    torch.manual_seed(0)
    made = with_weights(models.get_model(name, weights_backbone=None, num_classes=classes, **AS_IS, **sized, **more))
    for head in (made.head.classification_head, made.head.regression_head):
        for module in head.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.data *= 0.5
    return made.eval()


@pytest.mark.parametrize("name", SIZES)
def test_the_heads_and_the_boxes_found_are_the_detectors_own(name):
    theirs = detector(name)
    ours = Detector(theirs).eval()
    x = torch.randn(2, 3, SIZES[name], SIZES[name])
    features = list(theirs.backbone(x).values())
    for key, value in theirs.head(features).items():
        assert torch.equal(ours(x)[key], value)
    above = float(ours.scores(x).flatten().quantile(0.99)) if ours.scores(x).numel() < 10**6 else 0.5
    theirs.score_thresh = above
    with torch.no_grad():
        expected = theirs(list(x))
    for mine, other in zip(ours.found(x, above), expected, strict=True):
        assert len(mine) == len(other["scores"]) > 3
        torch.testing.assert_close(torch.tensor([f.score for f in mine]), other["scores"])
        torch.testing.assert_close(torch.tensor([f.box for f in mine]), other["boxes"])
        assert [f.index for f in mine] == other["labels"].tolist()
    first = ours.found(x, above)[1][0]
    torch.testing.assert_close(ours.boxes(x)[1, first.anchor], torch.tensor(first.box))


def test_lrp_z_of_a_box_is_gradient_times_input():
    net = Detector(detector("retinanet_resnet50_fpn")).to(D).eval()
    x = torch.randn(1, 3, 64, 96, dtype=D)
    best = net.found(x, 0.0)[0][0]

    def score(y):
        return y["cls_logits"][:, best.anchor, best.index]

    expected = gradient_times_input(net, x, score)
    R = rp.attribute(net, x, score, "lrp-z")
    torch.testing.assert_close(R, expected, rtol=0, atol=1e-8 * float(expected.abs().max()))
    e = rp.explain(net, x, score, ["cmp-alpha2-flat"])
    assert e.ledger["cmp-alpha2-flat"].error < 1e-9
    wide = rp.attribute(net, x, lambda y: y["bbox_regression"][:, best.anchor, 2], "lrp-z")
    assert not torch.allclose(wide, R)


SMALL = dict.fromkeys(library_names.one_stage(), 64) | {"ssd300_vgg16": 300}
EACH = [pytest.param(name, marks=pytest.mark.slow if side == 300 else ()) for name, side in SMALL.items()]


@pytest.mark.parametrize("name", EACH)
def test_the_score_of_a_box_of_every_detector_is_explained(name):
    net = Detector(with_weights(models.get_model(name, weights_backbone=None, num_classes=4))).eval()
    x = torch.randn(1, 3, SMALL[name], SMALL[name])
    e = rp.explain(net, x, lambda y: y["cls_logits"][:, 5, 1], ["cmp-alpha2-flat"], check=True)
    assert e.ledger["cmp-alpha2-flat"].error < 1e-5
    assert e.relevance["cmp-alpha2-flat"].abs().max() > 0
    assert float(e.values[0, 0]) == pytest.approx(float(net(x)["cls_logits"][0, 5, 1].detach()), rel=1e-5)


def test_detectors_say_how_they_want_their_pictures():
    for name, resize, classes in (
        ("retinanet_resnet50_fpn", 800, 91),
        ("ssdlite320_mobilenet_v3_large", (320, 320), 91),
    ):
        model = load(name, "random")
        assert model.preprocess.resize == resize
        assert len(model.classes) == classes
        assert model.classes[1] == "person"
        transform = models.get_model(name, weights_backbone=None).transform
        pixels = picture(*((model.preprocess.crop,) * 2))
        theirs = transform([to_tensor(pixels)])[0].tensors[0]
        torch.testing.assert_close(model.preprocess(pixels), theirs, rtol=0, atol=1e-4)


def test_published_files_of_detectors_fit_and_compute_the_same(tmp_path):
    theirs = detector("retinanet_resnet50_fpn", 91)
    frozen = {k: v.contiguous() for k, v in theirs.state_dict().items() if not k.endswith("num_batches_tracked")}
    save_file(frozen, tmp_path / "frozen.safetensors")
    save_file({k: v.contiguous() for k, v in theirs.state_dict().items()}, tmp_path / "own.safetensors")
    x = torch.randn(1, 3, 64, 64)
    features = list(theirs.backbone(x).values())
    own = load("retinanet_resnet50_fpn", tmp_path / "own.safetensors")
    assert torch.equal(own(x)["cls_logits"], theirs.head(features)["cls_logits"])
    published = load("retinanet_resnet50_fpn", tmp_path / "frozen.safetensors")
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0  # as torchvision has it for these weights
    expected = theirs.head(list(theirs.backbone(x).values()))["cls_logits"]
    assert torch.equal(published(x)["cls_logits"], expected)
    assert not torch.equal(own(x)["cls_logits"], expected)


@pytest.mark.parametrize("name", ["retinanet_resnet50_fpn", "ssdlite320_mobilenet_v3_large"])
def test_another_number_of_classes_is_read_from_the_file(name, tmp_path):
    theirs = torchvision_detection._build(name, 7)
    save_file({k: v.contiguous() for k, v in theirs.state_dict().items()}, tmp_path / "w.safetensors")
    model = load(name, tmp_path / "w.safetensors")
    assert model.classes == tuple(f"class {k}" for k in range(7))
    assert model(torch.zeros(1, 3, 64, 64))["cls_logits"].shape[2] == 7
    assert "does not fit retinanet" in failure_in_one_line("retinanet_resnet50_fpn", rp_weights())


def rp_weights():
    return Path(rp.__file__).parent / "models" / "weights" / "digits-shallow.safetensors"


def test_detectors_of_two_stages_are_refused_with_a_remedy():
    told = failure_in_one_line("fasterrcnn_resnet50_fpn", "random")
    assert "a detector of two stages" in told
    assert "retinanet_resnet50_fpn" in told
    with pytest.raises(ModelError, match="two stages"):
        Detector(models.get_model("fasterrcnn_mobilenet_v3_large_320_fpn", weights_backbone=None))
    with pytest.raises(ModelError, match="Linear has no backbone"):
        Detector(nn.Linear(2, 2))


# -- the command line --------------------------------------------------------------------------------

OWN = """
import torch
from relprop.models import Preprocess

class Net(torch.nn.Sequential):
    def forward(self, x):
        return {"out": super().forward(x)}

def build():
    torch.manual_seed(0)
    net = Net(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 3, 3, padding=1))
    net.preprocess, net.classes = Preprocess(16, 16, (0.5,) * 3, (0.5,) * 3), ("ground", "cat", "dog")
    return net
"""


@pytest.fixture
def own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    Path("segmenting.py").write_text(OWN)
    picture(40, 30).save("a.png")
    yield "segmenting:build"
    sys.modules.pop("segmenting", None)


def test_a_place_is_explained_on_the_command_line(call, own):
    asked = ("explain", "a.png", "--model", own, "--target", "dog", "--raw", "--json")
    told = json.loads(call(*asked, "--region", "2,3,7,9").stdout)
    assert told["region"] == [2, 3, 7, 9]
    model = load(own)
    x = model.preprocess(Image.open("a.png"))[None]
    logit = model(x)["out"][0, 2, 3:9, 2:7].mean()
    assert told["explanations"][0]["logit"] == pytest.approx(float(logit.detach()), rel=1e-5)
    pixel = json.loads(call(*asked, "--pixel", "5,6", "--out", "p.png").stdout)
    assert pixel["region"] == [5, 6, 6, 7]
    assert pixel["files"] == ["p.png", "p.npy"]
    text = call("explain", "a.png", "--model", own, "--pixel", "5,6").stdout
    assert "explained: the mean logit of the region 5,6,6,7" in text
    call("compare", "a.png", "--model", own, "--pixel", "5,6")
    assert "conv2d" in call("plan", "--model", own).stdout
    call("check", "--model", own)


def test_what_is_wrong_with_a_place_is_told(call, own):
    for words, message in {
        ("--model", own): "it gives a map of logits (1, 3, 16, 16), and a row of them is needed; relprop explain",
        ("--model", own, "--pixel", "16,2"): "the region 16,2,17,3 is not within the map of 16x16 pixels",
        ("--model", own, "--pixel", "1,2", "--region", "1,2,3,4"): "give one of them",
        ("--pixel", "1,2"): "a network that gives a map of logits",
        ("--model", "ssdlite320_mobilenet_v3_large", "--weights", "random"): "for each of many boxes; in Python",
    }.items():
        line = call("explain", *words, code=1).stderr
        assert message in line
        assert line.startswith("error: ")
        assert line.count("\n") == 1
    for wrong in ("1", "a,b", "1,2,3", "-1,2"):
        assert "give X,Y, such as 120,80" in call("explain", "--pixel", wrong, code=2).stderr.replace("\n", " ")
    assert "X1 must be beyond X0" in call("explain", "--region", "4,4,4,5", code=2).stderr.replace("\n", " ")
