"""Caffe's files: read whole, and refused where they are damaged or of another kind."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import caffe_files as files
from caffe_files import CONV, FULL
from caffe_networks import SMALL, written
from relprop.models import ModelError
from relprop.models.files import caffe

log = logging.getLogger(__name__)  # figures: pytest --log-cli-level=info


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
