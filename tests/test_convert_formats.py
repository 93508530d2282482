"""`relprop convert` on networks of torchvision, Keras and Caffe: the same numbers from every format."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import caffe_files
import keras_files
import relprop as rp
from relprop.models import ModelError
from relprop.models.files import keras_weights

pytestmark = pytest.mark.usefixtures("folder_of_its_own")

REAL = Path(__file__).parents[2] / "shared" / "real" / "squeezenet1_0_imagenet.safetensors"


def test_vggs_of_keras_need_no_flag_and_caffes_need_the_mean(fails):
    """What is said before anything large is read is said of files with few numbers too."""
    keras_files.write("a.h5", keras_files.weights(keras_files.small()))
    assert "does not fit vgg16" in fails("a.h5", "--model", "vgg16")
    assert "alone, not for resnet18" in fails("a.h5", "--model", "resnet18")


@pytest.mark.skipif(not REAL.exists(), reason="no shared/real beside the repository: no real weights")
def test_the_real_squeezenet(converts):
    """Converted as what it was trained with, it recognises the otter; with its colours swapped its answer changes."""
    words = ("--preprocess", "torchvision", "--classes", str(REAL.parent / "imagenet_class_index.json"))
    told = converts(*words, source=REAL, model="squeezenet1_0")
    assert told["card"]["source"]["format"] == "safetensors"
    swapped = (*words, "--channels", "BGR", "--mean", "0.406,0.456,0.485", "--out", "b.safetensors")
    other = converts(*swapped, source=REAL, model="squeezenet1_0")
    assert other["card"]["check"] != told["card"]["check"]
    otter = Image.open(REAL.parent / "imagenet_samples" / "n02444819_otter.JPEG")
    logits = []
    for path in told["written"], other["written"]:
        model = rp.models.load("squeezenet1_0", path)
        assert model.classes[360] == "otter"
        logits.append(model(model.preprocess(otter)[None])[0].detach())
    assert logits[0].argmax() == 360
    assert not torch.allclose(logits[0], logits[1], rtol=0.01)


def test_the_same_vgg16_from_keras_torch_and_caffe(converts, fails, monkeypatch):
    """In its true depth and narrow; the whole one is compared with Keras in test_keras.py."""
    keras_files.narrow_vgg16(monkeypatch)
    found = keras_files.weights(keras_files.small(classes=1000))
    keras_files.write("a.h5", found)
    told = converts(source="a.h5", model="vgg16")
    model = rp.models.load("vgg16", "a.safetensors")
    assert model.preprocess == keras_weights.PREPROCESS
    assert model.classes[207] == "golden retriever"
    torch.save(model.state_dict(), "a.pth")
    del model
    Path("a.h5").unlink()
    from_torch = converts("--preprocess", "keras", "--out", "b.safetensors", model="vgg16")
    assert from_torch["card"]["check"] == told["card"]["check"]
    for name in ("a.pth", "a.safetensors", "b.safetensors"):
        Path(name).unlink()
    narrow = caffe_files.vgg16(widths=keras_files.SMALL, hidden=keras_files.HIDDEN)
    Path("a.caffemodel").write_bytes(caffe_files.caffemodel(narrow, as_caffe(found)))
    assert "nothing says which mean to subtract" in fails("a.caffemodel", "--model", "vgg16")
    mean = ",".join(map(str, keras_weights.MEAN))
    from_caffe = converts("--mean", mean, source="a.caffemodel", model="vgg16")
    assert from_caffe["card"]["check"] == told["card"]["check"]
    assert from_caffe["card"]["preprocess"] == told["card"]["preprocess"]
    assert from_caffe["card"]["classes"][207] == "class 207"


def as_caffe(found):
    """Keras' weights as Caffe's blobs: (out, in, height, width), and the first linear layer by channel first."""
    blobs = {}
    for layer, arrays in found.items():
        if arrays is None:
            continue
        kernel, bias = arrays
        if layer == "fc1":
            kernel = kernel.reshape(7, 7, -1, kernel.shape[1]).transpose(2, 0, 1, 3).reshape(kernel.shape)
        name = layer.replace("block", "conv").replace("_conv", "_")
        name = {"fc1": "fc6", "fc2": "fc7", "predictions": "fc8"}.get(layer, name)
        blobs[name] = [kernel.T if kernel.ndim == 2 else kernel.transpose(3, 2, 0, 1), bias]
    return blobs


@pytest.mark.slow
def test_a_caffenet_with_a_mean_image(converts, fails):
    rng = np.random.default_rng(0)
    network = dict(rp.models.load("caffenet", "random").named_modules())
    weighted = {name: module for name, module in network.items() if hasattr(module, "weight")}
    weights = {n: [m.weight.detach().numpy(), rng.normal(size=len(m.bias)).astype("f4")] for n, m in weighted.items()}
    weights["fc8"] = [weights["fc8"][0][:20], weights["fc8"][1][:20]]
    Path("a.caffemodel").write_bytes(caffe_files.caffemodel(caffe_files.caffenet(20), weights))
    Path("net.prototxt").write_text(caffe_files.prototxt(caffe_files.caffenet(20)))
    Path("vgg.prototxt").write_text(caffe_files.prototxt(caffe_files.vgg16(20), side=224))
    Path("mean.binaryproto").write_bytes(caffe_files.blob(rng.uniform(90, 130, (3, 256, 256)).astype("f4")))
    told = "a .caffemodel does not say which mean its pictures lack; convert it once: relprop convert a.caffemodel"
    with pytest.raises(ModelError, match=told):
        rp.models.load("caffenet", "a.caffemodel")
    assert "vgg.prototxt: not caffenet" in fails(
        "a.caffemodel", "--model", "caffenet", "--prototxt", "vgg.prototxt", "--mean", "1,2,3"
    )
    words = "--mean mean.binaryproto --classes voc --prototxt net.prototxt".split()
    card = converts(*words, source="a.caffemodel", model="caffenet")["card"]
    assert (card["preprocess"]["crop"], card["preprocess"]["resize"]) == (227, [227, 227])
    model = rp.models.load("caffenet", "a.safetensors")
    assert model.classes[7] == "cat"
    assert model.preprocess.mean_image.shape == (3, 256, 256)
    assert torch.equal(model.conv1.bias, torch.from_numpy(weights["conv1"][1]))
    torch.save(model.state_dict(), "a.pth")
    again = converts(*words[:4], "--preprocess", "caffe", "--out", "b.safetensors", source="a.pth", model="caffenet")
    assert again["card"]["check"] == card["check"]
    caffes_own = converts(
        "--mean",
        "mean.binaryproto",
        "--resize",
        "256x256",
        "--out",
        "c.safetensors",
        source="a.caffemodel",
        model="caffenet",
    )
    assert caffes_own["card"]["preprocess"]["resize"] == [256, 256]
