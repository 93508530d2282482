"""`relprop convert`, when something is wrong: one line that says what, and a next step."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import caffe_files
from conversion import GIVEN, SMALL

pytestmark = pytest.mark.usefixtures("folder_of_its_own")


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
    assert "a web page, not a weight file" in fails("a.pth", "--model", SMALL)
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
