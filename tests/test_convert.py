"""`relprop convert`: what it writes loads with its preprocessing and classes, and the same weights have one check."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import caffe_files
import relprop as rp
from conversion import GIVEN, SMALL
from relprop.data.preprocess import Preprocess
from relprop.models.convert import self_check
from relprop.models.families import torchvision_zoo
from relprop.models.files import cards

pytestmark = pytest.mark.usefixtures("folder_of_its_own")


def test_the_help_has_examples(call):
    told = call("convert", "--help").output
    assert "Examples:" in told
    assert "relprop convert caffenet.caffemodel" in told


@pytest.mark.usefixtures("_source")
def test_what_is_converted_loads_with_its_preprocessing_and_classes(call, state):
    Path("names.txt").write_text("".join(f"digit {n}\n" for n in range(10)))
    words = ("convert", "a.pth", "--model", SMALL, *GIVEN, "--classes", "names.txt")
    told = call(*words).stdout
    assert "wrote       a.safetensors" in told
    assert (
        "shorter side to 70 (bilinear), centre 64x64, RGB in 0..1, less (0.5, 0.4, 0.3), divided by (1, 2, 1)" in told
    )
    assert "10: digit 0, digit 1, digit 2, digit 3, digit 4, ..." in told
    assert f"relprop explain PICTURE --model {SMALL} --weights a.safetensors" in told
    model = rp.models.load(SMALL, "a.safetensors")
    assert model.preprocess == Preprocess(64, 70, (0.5, 0.4, 0.3), (1.0, 2.0, 1.0))
    assert model.classes[3] == "digit 3"
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert load_file("a.safetensors").keys() == state.keys()
    assert Path("a.safetensors").stat().st_mode == Path("names.txt").stat().st_mode


@pytest.mark.usefixtures("_source")
def test_json_tells_everything(converts):
    told = converts(*GIVEN)
    assert told["written"] == "a.safetensors"
    assert told["bytes"] == Path("a.safetensors").stat().st_size
    assert told["sha256"] == digest("a.safetensors")
    assert told["confirmed"] is None
    written = told["card"]
    assert written["source"] == {"file": "a.pth", "sha256": digest("a.pth"), "format": "torch"}
    assert written["classes"] == [f"class {n}" for n in range(10)]
    assert written["model"] == SMALL
    assert written["relprop"] == rp.__version__
    with safe_open("a.safetensors", "pt") as file:
        assert json.loads(file.metadata()["relprop"]) == written
    model = rp.models.load(SMALL, "a.safetensors")
    check = self_check.self_check(model, model.preprocess, "it")
    assert written["check"] == {"input": check.input, "sha256": check.sha256, "top": [list(pair) for pair in check.top]}


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_the_same_weights_have_the_same_self_check_in_every_format(converts, state):
    torch.save(state, "a.pth")
    torch.save(
        {"state_dict": {f"module.{key}": value for key, value in state.items()}},
        "b.pt",
        _use_new_zipfile_serialization=False,
    )
    save_file(state, "c.safetensors")
    told = [converts(*GIVEN, "--out", f"{n}.safetensors", source=n) for n in ("a.pth", "b.pt", "c.safetensors")]
    assert len({each["card"]["check"]["sha256"] for each in told}) == 1
    assert len({each["card"]["source"]["sha256"] for each in told}) == 3
    other = converts(*GIVEN, "--resize", "90", "--out", "d.safetensors")
    assert other["card"]["check"]["sha256"] != told[0]["card"]["check"]["sha256"]


@pytest.mark.usefixtures("_source")
def test_a_card_is_converted_along(converts, call):
    Path("names.txt").write_text("\n".join("abcdefghij"))
    first = converts(*GIVEN, "--classes", "names.txt", "--out", "one.safetensors")
    second = converts("--out", "two.safetensors", source="one.safetensors")
    assert second["confirmed"] is True
    assert second["card"] | {"source": 0} == first["card"] | {"source": 0}
    assert converts("--std", "1,1,1", "--out", "three.safetensors", source="one.safetensors")["confirmed"] is None
    told = call("convert", "one.safetensors", "--model", SMALL, "--out", "two.safetensors").stdout
    assert "as the card of one.safetensors says" in told


@pytest.mark.usefixtures("_source")
def test_weights_that_are_not_the_cards(converts, call):
    converts(*GIVEN)
    with safe_open("a.safetensors", "pt") as file:
        texts = file.metadata()
    changed = {key: value * 1.5 for key, value in load_file("a.safetensors").items()}
    save_file(changed, "changed.safetensors", metadata=texts)
    assert converts("--out", "b.safetensors", source="changed.safetensors")["confirmed"] is False
    assert (
        "NOT as the card" in call("convert", "changed.safetensors", "--model", SMALL, "--out", "b.safetensors").stdout
    )


@pytest.mark.usefixtures("_source")
def test_a_mean_image_travels(converts, call):
    image = np.random.default_rng(0).uniform(0, 255, (3, 70, 72)).astype("f4")
    Path("mean.binaryproto").write_bytes(caffe_files.blob(image))
    words = "--crop 64 --resize 70 --std 1,1,1 --channels BGR --scale 255 --mean mean.binaryproto".split()
    assert converts(*words)["card"]["mean_image"] is True
    assert "less a mean image of 70x72" in call("convert", "a.pth", "--model", SMALL, *words).stdout
    model = rp.models.load(SMALL, "a.safetensors")
    assert np.array_equal(model.preprocess.mean_image.numpy(), image)
    x = model.preprocess(Image.new("RGB", (70, 70), (10, 20, 30)))
    expected = np.array([30.0, 20.0, 10.0], "f4")[:, None, None] - image[:, 3:67, 4:68]
    assert np.allclose(x, expected, atol=1e-4)
    assert [*load_file("a.safetensors")][-1] == cards.MEAN_IMAGE
    converts("--out", "again.safetensors", source="a.safetensors")
    again = rp.models.load(SMALL, "again.safetensors").preprocess
    assert torch.equal(again.mean_image, model.preprocess.mean_image)
    converts("--mean", "1,2,3", "--out", "plain.safetensors", source="a.safetensors")
    assert rp.models.load(SMALL, "plain.safetensors").preprocess.mean_image is None


@pytest.mark.usefixtures("_source")
def test_presets_and_flags_before_them(converts, state):
    assert converts("--preprocess", "embedded")["card"]["preprocess"]["mean"] == [0.45, 0.45, 0.45]
    told = converts("--preprocess", "embedded", "--resize", "64x80", "--mean", "0.1,0.2,0.3")["card"]["preprocess"]
    assert (told["crop"], told["resize"], told["mean"], told["std"]) == (64, [64, 80], [0.1, 0.2, 0.3], [0.25] * 3)
    told = converts("--preprocess", "caffe", "--crop", "64", "--resize", "64", "--mean", "1,2,3")["card"]["preprocess"]
    assert (told["channels"], told["scale"], told["std"]) == ("BGR", 255, [1, 1, 1])


def test_a_network_of_torchvision(converts, fails):
    with torch.random.fork_rng(devices=[]):
        torch.save(torchvision_zoo.models.get_model("squeezenet1_1", num_classes=20).state_dict(), "a.pth")
    told = fails("a.pth", "--model", "squeezenet1_1")
    assert "torch weights without a card do not say how pictures are prepared for them" in told
    assert "--preprocess torchvision if they were trained with it, or say all of --crop --resize --mean --std" in told
    told = converts("--preprocess", "torchvision", "--classes", "voc", model="squeezenet1_1")["card"]
    assert told["classes"][8] == "chair"
    model = rp.models.load("squeezenet1_1", "a.safetensors")
    assert model.preprocess == torchvision_zoo.preprocessing("squeezenet1_1")
    assert model.classes[19] == "tvmonitor"
    assert "its card says that it is for squeezenet1_1, not resnet18" in fails(
        "a.safetensors", "--model", "resnet18", "--out", "b.safetensors"
    )
    torch.save(rp.models.load("squeezenet1_1", "random").state_dict(), "b.pth")
    words = ("--preprocess", "torchvision", "--out", "b.safetensors")
    assert converts(*words, source="b.pth", model="squeezenet1_1")["card"]["classes"][1] == "class 1"
    words = (*words, "--classes", "imagenet")
    assert converts(*words, source="b.pth", model="squeezenet1_1")["card"]["classes"][1] == "goldfish"


def test_imagenets_class_index(converts, state):
    torch.save(state, "a.pth")
    Path("index.json").write_text(json.dumps({str(n): [f"n{n:08}", f"thing {n}"] for n in reversed(range(10))}))
    assert converts(*GIVEN, "--classes", "index.json")["card"]["classes"][:2] == ["thing 0", "thing 1"]
