"""Cards that travel with weights, `relprop convert`, and weight files damaged at random."""

import hashlib
import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import caffe_files
import fuzz_weights as fuzz
import keras_files
import relprop as rp
from relprop.data.preprocess import Preprocess
from relprop.models import ModelError
from relprop.models.convert import self_check
from relprop.models.families import embedded, torchvision_zoo
from relprop.models.files import cards, keras_weights, weight_files
from relprop.models.networks import digits

REAL = Path(__file__).parents[2] / "shared" / "real" / "squeezenet1_0_imagenet.safetensors"
SMALL = "digits-shallow"
GIVEN = "--crop 64 --resize 70 --mean 0.5,0.4,0.3 --std 1,2,1 --channels RGB --scale 1".split()


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fails(call):
    """Run a command that the user can mend; return its one line on stderr."""

    def run(*words):
        told = call("convert", *words, code=1).stderr
        assert told.startswith("error: ")
        assert told.count("\n") == 1
        return told

    return run


@pytest.fixture
def converts(call):
    """Convert the small network's weights, or others; return what --json tells."""

    def run(*words, source="a.pth", model=SMALL):
        return json.loads(call("convert", source, "--model", model, *words, "--json").stdout)

    return run


@pytest.fixture
def state():
    """The weights of an embedded network."""
    return embedded.trained(SMALL).state_dict()


@pytest.fixture
def _source(state):
    """The same as a torch file, a.pth."""
    torch.save(state, "a.pth")


# Cards


def card():
    return fuzz.card()


def saved(path, texts, tensors=None):
    save_file({"0.weight": torch.zeros(2)} | (tensors or {}), path, metadata=texts)
    return path


def test_a_card_comes_back_as_it_went():
    texts, tensors = cards.write(card())
    weights = weight_files.open_weights(saved(Path("a"), texts, tensors), "tiny")
    assert weights.card == card()
    assert weights.preprocess == card().preprocess
    assert torch.equal(weights.preprocess.mean_image, card().preprocess.mean_image)
    assert [*weights.state] == ["0.weight"]
    without = replace(card(), preprocess=replace(card().preprocess, mean_image=None))
    texts, tensors = cards.write(without)
    assert not tensors
    assert cards.read(texts, {}, "it") == without
    assert cards.read({"format": "pt"}, {}, "it") is None


def test_a_card_of_another_model_is_named():
    with pytest.raises(ModelError, match=r"its card says that it is for tiny, not vgg16; use --model tiny"):
        weight_files.open_weights(saved(Path("a"), *cards.write(card())), "vgg16")


def test_a_card_with_other_classes_than_the_weights():
    weights = weight_files.open_weights(saved(Path("a"), *cards.write(card())), "tiny")
    assert weights.names(5, ()) == tuple("abcde")
    with pytest.raises(ModelError, match="its card names 5 classes, and its weights have 7"):
        weights.names(7, ())


LONG = "x" * 2000
HOSTILE = [
    ("", "Expecting value"),
    ("[]", "not an object"),
    ("3", "not an object"),
    ("[" * 100_000, "recursion"),
    ('{"a":' * 100_000, "recursion"),
    ("{}" + " " * (5 << 20), "characters"),
    ('{"format": NaN}', "the number NaN"),
    ('{"format": 1e999}', "the number 1e999"),
    ('{"format": ' + "9" * 5000 + "}", "Exceeds the limit"),
    ('{"format": 2}', "of format 2, and this relprop reads 1: update it"),
    ('{"format": "1"}', "no format"),
    ({"model": None}, "model is None"),
    ({"model": "a\nb"}, r"model is 'a\nb'"),
    ({"model": "\x1b[2J"}, r"model is '\x1b[2J'"),
    ({"model": LONG}, "model is 'xxx"),
    ({"classes": []}, "classes is []"),
    ({"classes": "abcde"}, "classes is 'abcde'"),
    ({"classes": [1, 2, 3, 4, 5]}, "a class is 1"),
    ({"classes": ["a"] * 100_001}, "classes is ['a'"),
    ({"preprocess": None}, "preprocess is None"),
    ({"preprocess": {}}, "preprocessing must say"),
    ({"crop": True}, "preprocess is {"),
    ({"crop": 0}, "not sizes in pixels"),
    ({"crop": 9}, "does not fit"),
    ({"crop": 1 << 40}, "not sizes in pixels"),
    ({"crop": 2**60}, "the number 1152921504606846976"),
    ({"resize": [8, 8, 8]}, "not sizes in pixels"),
    ({"resize": {}}, "not sizes in pixels"),
    ({"mean": [1, 2]}, "must be three numbers"),
    ({"mean": [1, 2, "3"]}, "must be three numbers"),
    ({"std": [1, 0, 1]}, "must be three numbers"),
    ({"channels": ["RGB"]}, "channels are ['RGB']"),
    ({"interpolation": "lanczos"}, "interpolation is 'lanczos'"),
    ({"scale": -1}, "scale is -1"),
    ({"scale": []}, "scale is []"),
    ({"source": {"file": "a"}}, "source is {'file': 'a'}"),
    ({"source": {"file": "a", "sha256": "0", "format": "torch"}}, "sha256 is '0'"),
    ({"check": []}, "check is []"),
    ({"check": {"input": "a", "sha256": "0" * 64, "top": [[5, 1.0]]}}, "the logit [5, 1.0]"),
    ({"check": {"input": "a", "sha256": "0" * 64, "top": [[True, 1.0]]}}, "the logit [True, 1.0]"),
    ({"check": {"input": "a", "sha256": "0" * 64, "top": [[0, 1.0]] * 6}}, "top is [[0, 1.0]"),
    ({"mean_image": False}, "its mean image is not there, or is there unsaid"),
    ({"relprop": 3}, "relprop is 3"),
]


@pytest.mark.parametrize(("changed", "told"), HOSTILE)
def test_hostile_cards(changed, told):
    texts, tensors = cards.write(card())
    if isinstance(changed, str):
        texts = {cards.KEY: changed}
    else:
        data = json.loads(texts[cards.KEY])
        ((key, value),) = changed.items()
        (data if key in data else data["preprocess"])[key] = value
        texts = {cards.KEY: json.dumps(data)}
    with pytest.raises(ModelError) as caught:
        weight_files.open_weights(saved(Path("a"), texts, tensors), "tiny")
    assert told in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (torch.zeros(3, 4, 4), "for a crop of 8"),
        (torch.zeros(1, 8, 8), "has shape [1, 8, 8]"),
        (torch.zeros(3, 8, 8, 1), "has shape [3, 8, 8, 1]"),
        (torch.full((3, 8, 8), math.nan), "numbers that are none"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "numbers that are none"),
    ],
)
def test_hostile_mean_images(image, told):
    texts, _ = cards.write(card())
    with pytest.raises(ModelError) as caught:
        weight_files.open_weights(saved(Path("a"), texts, {cards.MEAN_IMAGE: image}), "tiny")
    assert told in str(caught.value)


def test_reserved_tensors_without_a_card():
    for key in (cards.MEAN_IMAGE, "relprop:else"):
        with pytest.raises(ModelError, match=f"{key} belongs to no card"):
            weight_files.open_weights(saved(Path("a"), None, {key: torch.zeros(3)}), "tiny")


# The self-check


def test_the_picture_of_the_self_check_is_not_interpolated():
    for resize in (70, (80, 72)):
        preprocess = Preprocess(64, resize, (0.5,) * 3, (0.5,) * 3)
        image = self_check.ramps(preprocess)
        assert np.array_equal(
            np.asarray(preprocess.picture(image)),
            np.asarray(image)[3:67, 3:67] if resize == 70 else np.asarray(image)[8:72, 4:68],
        )
        corners = np.asarray(image)
        assert corners[0, 0].tolist() == [0, 0, 255]
        assert corners[-1, -1].tolist() == [255, 255, 0]
        assert corners[0, -1].tolist() == [255, 0, 128]


def checked(state, preprocess=digits.PREPROCESS):
    model = digits.architecture(SMALL).eval()
    model.load_state_dict(state)
    return self_check.self_check(model, preprocess, "it")


def test_the_self_check_tells_weights_and_preprocessing_apart(state):
    usual = checked(state)
    assert checked(state) == usual
    assert [logit for _, logit in usual.top] == sorted((logit for _, logit in usual.top), reverse=True)
    assert checked(state | {"features.0.weight": state["features.0.weight"] * 1.001}) != usual
    shifted = replace(digits.PREPROCESS, mean=(0.45, 0.45, 0.451))
    assert checked(state, shifted).sha256 != usual.sha256


def test_the_self_check_does_not_depend_on_the_order_of_sums(state):
    """What changes the last digits, as other threads do, leaves the hash alone."""
    order = torch.randperm(128)
    turned = dict(state)
    for key in ("classifier.0.weight", "classifier.0.bias"):
        turned[key] = state[key][order]
    turned["classifier.3.weight"] = state["classifier.3.weight"][:, order]
    assert checked(turned).sha256 == checked(state).sha256


# relprop convert


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


# relprop convert, when something is wrong


@pytest.mark.usefixtures("_source")
def test_too_little_is_said(fails):
    told = fails("a.pth", "--model", SMALL)
    assert "add --preprocess embedded if they were trained with it" in told
    told = fails("a.pth", "--model", SMALL, *GIVEN[:-4])
    assert "say all of --channels --scale" in told
    assert "--mean FILE.binaryproto or --mean B,G,R" in fails(
        "a.pth", "--model", SMALL, "--preprocess", "caffe", "--crop", "64", "--resize", "64"
    )
    assert "--channels changes what the mean is" in fails(
        "a.pth", "--model", SMALL, "--preprocess", "embedded", "--channels", "BGR"
    )


@pytest.mark.usefixtures("_source")
def test_what_does_not_go_together(fails):
    assert "did you mean digits-shallow" in fails("a.pth", "--model", "digits-shalow", *GIVEN)
    assert "says nothing about digits-shallow" in fails("a.pth", "--model", SMALL, "--preprocess", "torchvision")
    assert "says nothing about digits-shallow" in fails("a.pth", "--model", SMALL, "--preprocess", "keras")
    assert "did you mean keras?" in fails("a.pth", "--model", SMALL, "--preprocess", "kera")
    assert "does not fit into pictures of 70 pixels" in fails("a.pth", "--model", SMALL, *GIVEN, "--crop", "99")
    assert "leave --prototxt out" in fails("a.pth", "--model", SMALL, *GIVEN, "--prototxt", "a")
    assert "give a .binaryproto file, or three numbers" in fails("a.pth", "--model", SMALL, *GIVEN, "--mean", "1,2")
    assert "give a .binaryproto file, or three numbers" in fails("a.pth", "--model", SMALL, *GIVEN, "--mean", "nan,1,2")
    assert "no such .binaryproto file" in fails("a.pth", "--model", SMALL, *GIVEN, "--mean", "mean.binaryproto")
    Path("mean.binaryproto").write_bytes(caffe_files.blob(np.ones((3, 70, 70), "f4")))
    assert "has BGR in 0..255, and this network takes RGB in 0..1" in fails(
        "a.pth", "--model", SMALL, *GIVEN, "--mean", "mean.binaryproto"
    )
    assert "networks of ONNX bring weights" in fails("a.pth", "--model", "net.onnx")


@pytest.mark.usefixtures("_source")
def test_classes_that_are_none(fails):
    words = ("a.pth", "--model", SMALL, *GIVEN, "--classes")
    assert "20 classes, and the weights have 10" in fails(*words, "voc")
    assert "did you mean voc?" in fails(*words, "vocs")
    for content in ("", "a\n\nb", "{}", '{"0": 3}', '{"1": ["n", "a"]}', "[" * 9, "a\x1b[2J\n", '{"0":' * 9000):
        Path("names").write_text(content)
        assert "names: " in fails(*words, "names")
    Path("names").write_bytes(b"\xff\xfe\xfa")
    assert "not a text in UTF-8" in fails(*words, "names")
    assert ".: not a file" in fails(*words, ".")
    os.mkfifo("pipe")
    assert "pipe: not a file" in fails(*words, "pipe")


def test_sources_that_are_none(fails):
    assert "no such weight file" in fails("gone.pth", "--model", SMALL)
    assert "a folder" in fails(".", "--model", SMALL)
    os.mkfifo("pipe")
    assert "a device or a pipe" in fails("pipe", "--model", SMALL)
    Path("a.pth").write_text("<!DOCTYPE html>")
    assert "no weight file of a known format" in fails("a.pth", "--model", SMALL)
    Path("a.caffemodel").write_bytes(caffe_files.caffemodel(caffe_files.caffenet(), {}))
    assert "read for caffenet and vgg16 alone, not for digits-shallow" in fails("a.caffemodel", "--model", SMALL)


def test_weights_that_do_not_fit_or_give_no_numbers(fails, state):
    torch.save(state | {"classifier.6.bias": torch.zeros(7)}, "a.pth")
    assert "classifier.6.bias 7 for 10" in fails("a.pth", "--model", SMALL, *GIVEN)
    torch.save(state | {"classifier.6.bias": torch.full((10,), torch.nan)}, "a.pth")
    assert "not finite" in fails("a.pth", "--model", SMALL, *GIVEN)
    torch.save(state, "a.pth")
    assert "fails on pictures of 90x90 pixels" in fails(
        "a.pth", "--model", SMALL, *GIVEN, "--crop", "90", "--resize", "90"
    )
    assert not list(Path().glob("*.safetensors"))


@pytest.mark.parametrize(
    "words",
    [
        ["--std", "1,0,1"],
        ["--std", "1"],
        ["--resize", "0"],
        ["--resize", "1x2x3"],
        ["--channels", "GBR"],
        ["--scale", "0"],
    ],
)
@pytest.mark.usefixtures("_source")
def test_wrong_usage(call, words):
    assert "Usage:" in call("convert", "a.pth", "--model", SMALL, *words, code=2).output


# What is written


@pytest.mark.usefixtures("_source")
def test_what_may_be_replaced(converts, fails, state):
    converts(*GIVEN)
    first = Path("a.safetensors").read_bytes()
    converts(*GIVEN)
    assert Path("a.safetensors").read_bytes() == first  # the same bytes, in place of those of relprop itself
    save_file(state, "other.safetensors")
    Path("letter").write_text("dear")
    for other in ("other.safetensors", "letter"):
        before = Path(other).read_bytes()
        assert "is there, and relprop has not written it" in fails("a.pth", "--model", SMALL, *GIVEN, "--out", other)
        assert Path(other).read_bytes() == before
        converts(*GIVEN, "--out", other, "--force")
        assert Path(other).read_bytes() == first
    assert "a folder or a device" in fails("a.pth", "--model", SMALL, *GIVEN, "--out", ".")


@pytest.mark.usefixtures("_source")
def test_the_source_is_never_overwritten(converts, fails):
    before = Path("a.pth").read_bytes()
    os.link("a.pth", "hard.pth")
    Path("soft.pth").symlink_to("a.pth")
    for out in ("a.pth", "./a.pth", "hard.pth", "soft.pth"):
        assert "that is the source" in fails("a.pth", "--model", SMALL, *GIVEN, "--out", out, "--force")
    converts(*GIVEN)
    assert "that is the source" in fails("a.safetensors", "--model", SMALL)
    assert Path("a.pth").read_bytes() == before


def in_a_process(before, *words):
    """Run `relprop convert` in a process of its own, after some lines of Python."""
    program = f"import os, resource, signal\n{before}\nfrom relprop.cli import main\nmain()"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", program, "convert", "a.pth", "--model", SMALL, *GIVEN, *words]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.usefixtures("_source")
def test_a_full_disk_is_one_line_and_leaves_nothing(converts):
    converts(*GIVEN)
    before, content = sorted(Path().iterdir()), Path("a.safetensors").read_bytes()
    full = "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (99_999, 99_999))"
    out, told = in_a_process(full).communicate(timeout=120)
    assert out == ""
    assert told.startswith("error: ")
    assert "a.safetensors: not written (" in told
    assert told.count("\n") == 1
    assert sorted(Path().iterdir()) == before
    assert Path("a.safetensors").read_bytes() == content


@pytest.mark.usefixtures("_source")
def test_ctrl_c_leaves_nothing_half_written():
    slow = (
        "import time, safetensors.torch as s; write = s.save_file\n"
        "def save_file(*words, **said): write(*words, **said); print('now', flush=True); time.sleep(60)\n"
        "s.save_file = save_file"
    )
    process = in_a_process(slow)
    assert process.stdout.readline() == "now\n"
    assert [path.name for path in Path().iterdir() if path.suffix == ".part"]
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.splitlines()[-1] == "interrupted"
    assert [path.name for path in Path().iterdir()] == ["a.pth"]


# Keras and Caffe


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


# Files damaged at random


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits are Linux'")
def test_damaged_files_are_read_or_refused(damaged, tmp_path):
    """Nothing else: no crash, no hang, no memory beyond a bound, no code executed; see fuzz_weights.py."""
    command = [sys.executable, fuzz.__file__, str(tmp_path), str(damaged)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800, env=environment)
    assert ran.returncode == 0, ran.stderr[-3000:]
    outcomes = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [outcome["kind"] for outcome in outcomes] == list(fuzz.KINDS)
    for outcome in outcomes:
        assert outcome["read"] + outcome["refused"] == damaged + outcome.get("made", 0), outcome
        assert min(outcome["read"], outcome["refused"]) >= damaged // 20, outcome
        assert outcome["peak_mib"] < 2048, outcome
