"""Caffe's blobs as the state dicts of our networks, and weights that do not fit or do not say enough."""

import pytest
import torch

import caffe_files as files
from caffe_files import CONV, FULL
from caffe_networks import CLASSES, SMALL, weighted, written
from relprop.models import ModelError
from relprop.models.families import caffe as caffe_family
from relprop.models.files import caffe, caffe_description, caffe_weights


def zeros(name, classes=CLASSES, old=False):
    """Weights of the right shapes, of no memory to speak of."""
    weights = {}
    for ours, (_, module) in zip(caffe_description.WEIGHTED[name], weighted(name, classes), strict=True):
        shapes = [tuple(p.shape) for p in (module.weight, module.bias)]
        shapes = [(1,) * (4 - len(shape)) + shape for shape in shapes] if old else shapes
        blobs = tuple(torch.zeros(1).expand(shape) for shape in shapes)
        weights[ours] = caffe.Layer(ours, "", (), (), {}, blobs)
    return weights


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
