"""Networks in ONNX files: explained as their originals, described by a file beside them, and refused where hostile."""

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

import relprop as rp
from conftest import randomised
from loaded_networks import failure
from relprop.commands.requests import StudyRequest
from relprop.commands.study import task_of
from relprop.data.preprocess import Preprocess
from relprop.models import ModelError, load


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.norm = nn.BatchNorm2d(8)
        self.squeeze, self.excite = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)

    def forward(self, x):
        y = self.two(nn.functional.hardswish(self.norm(self.one(x))))
        gate = self.excite(self.squeeze(y.mean((2, 3), keepdim=True)).relu()).sigmoid()
        return (x + y * gate).relu()


def convolutional():
    stem = [nn.Conv2d(3, 8, 5, stride=2, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    head = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(), nn.Linear(32, 5)]
    return randomised(
        nn.Sequential(OrderedDict(stem=nn.Sequential(*stem), block=Block(), head=nn.Sequential(*head))), torch.float32
    )


def export(model, path, x=None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this exporter is an old one
        torch.onnx.export(
            model, torch.rand(1, 3, 32, 32) if x is None else x, path, dynamo=False, opset_version=13, **options
        )
    return path


@pytest.fixture(scope="module")
def onnx():
    pytest.importorskip("onnx2torch")
    return importlib.import_module("onnx")


@pytest.fixture
def exported(onnx, tmp_path):
    model = convolutional()
    return export(model, tmp_path / "net.onnx"), model


@pytest.mark.parametrize("method", ["lrp-z", "lrp-epsilon", "cmp-alpha1", "cmp-alpha2-flat", "lrp-alpha2", "gradient"])
def test_an_onnx_copy_is_explained_as_its_original(method, exported):
    path, original = exported
    copied, x = load(str(path)), torch.rand(3, 3, 32, 32)
    assert copied.classes == tuple(f"class {index}" for index in range(5))
    torch.testing.assert_close(copied(x), original(x), rtol=1e-5, atol=1e-6)
    one, other = rp.attribute(original, x, 2, method), rp.attribute(copied, x, 2, method)
    assert (one - other).abs().max() <= 1e-5 * one.abs().max()


class Moves(nn.Module):
    """Shuffled channels, halves, a gate of equal shape: as ShuffleNet has them."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8 * 16, 5)

    def forward(self, x):
        y = self.conv(x)
        first, second = y.view(y.shape[0], 2, 4, 8, 8).transpose(1, 2).flatten(1, 2).chunk(2, dim=1)
        y = torch.cat([nn.functional.hardswish(second), nn.functional.leaky_relu(first)], 1)
        return self.fc(nn.functional.avg_pool2d(y, 2).flatten(1)), y


@pytest.mark.usefixtures("onnx")
def test_an_onnx_copy_of_what_moves_numbers_and_returns_several(tmp_path):
    original = Moves().eval()
    x = torch.rand(1, 3, 8, 8)
    copied = load(str(export(original, tmp_path / "net.onnx", x)))
    one, other = (rp.attribute(model, x, 1, "cmp-alpha2-flat") for model in (original, copied))
    assert (one - other).abs().max() <= 1e-5 * one.abs().max()
    with pytest.raises(rp.InputError, match=r"takes 1 x 3 x 8 x 8 and does not run on 4 x 3 x 8 x 8.*dynamic_axes"):
        copied(x.expand(4, -1, -1, -1))


def test_a_slice_takes_what_onnx_says():
    from relprop.models.families.onnx_file import Slice  # noqa: PLC0415 - beside its test

    x, t = torch.arange(24.0).reshape(2, 3, 4), torch.tensor
    assert torch.equal(Slice()(x, t([1]), t([2])), x[1:2])
    assert torch.equal(Slice()(x, t([1, 0]), t([9, 4]), t([1, -1]), t([1, 2])), x[:, 1:, ::2])
    assert torch.equal(Slice()(x, t([-1]), t([-(2**63)]), t([2]), t([-2])), x[..., [3, 1]])
    assert torch.equal(Slice()(x, t([3]), t([0]), t([2]), t([-1])), x[..., [3, 2, 1]])


def card(path, **changes):
    told = {"preprocess": Preprocess(32, 36, (0.5,) * 3, (0.25,) * 3).as_data(), "classes": list("abcde")} | changes
    path.with_name(f"{path.name}.json").write_text(json.dumps(told))


def test_a_file_beside_tells_preprocessing_and_classes(exported):
    path, _ = exported
    card(path)
    model = load(str(path))
    assert model.classes == tuple("abcde")
    assert model.preprocess == Preprocess(32, 36, (0.5,) * 3, (0.25,) * 3)
    card(path, classes=None)
    assert load(str(path)).classes[4] == "class 4"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"classes": ["a"]}, "names 1 classes, and the network has 5"),
        ({"classes": [1, 2, 3, 4, 5]}, "classes must be names"),
        ({"preprocess": {}}, "preprocessing must say"),
        (
            {"preprocess": Preprocess(48, 48, (0.5,) * 3, (0.25,) * 3).as_data()},
            "gives . x 3 x 48 x 48.* takes 1 x 3 x 32 x 32",
        ),
    ],
)
def test_a_file_beside_that_is_wrong(changes, told, exported):
    path, _ = exported
    card(path, **changes)
    with pytest.raises(ModelError, match=told):
        load(str(path))
    path.with_name("net.onnx.json").write_text("[1")
    assert "does not tell the preprocessing" in failure(path)
    path.with_name("net.onnx.json").write_text("{}")
    assert "no 'preprocess'" in failure(path)


def test_without_that_file_commands_say_how_to_write_it(exported, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = call("explain", "--model", "net.onnx", code=1).stderr
    assert "does not tell its preprocessing; write net.onnx.json as {" in told
    assert told.count("\n") == 1
    example = json.loads(told[told.index("{") : told.rindex("}") + 1])
    Preprocess.from_data(example["preprocess"])
    with pytest.raises(ModelError, match="does not tell its preprocessing"):
        task_of(StudyRequest(model="net.onnx", limit=1))
    assert "winner takes all" in call("plan", "--model", "net.onnx").stdout  # the file tells its size
    card(tmp_path / "net.onnx")
    assert "net.onnx" in call("explain", "--model", "net.onnx", "--target", "b").stdout


def test_what_is_no_onnx_network(onnx, tmp_path, exported):
    path, _ = exported
    assert "no such ONNX file; did you mean net.onnx?" in failure(tmp_path / "nett.onnx")
    assert "holds its own weights" in failure(path, "random")
    for content in (b"", b"\x00" * 50, b"<!DOCTYPE html>", path.read_bytes()[:1000], path.read_bytes() + b"\x07"):
        (tmp_path / "a.onnx").write_bytes(content)
        assert "not an ONNX file, cut short or damaged" in failure(tmp_path / "a.onnx")
    (tmp_path / "folder.onnx").mkdir()
    assert "no such ONNX file" in failure(tmp_path / "folder.onnx")
    two = onnx.load(path)
    two.graph.input.append(onnx.helper.make_tensor_value_info("mask", onnx.TensorProto.FLOAT, [1]))
    onnx.save(two, tmp_path / "two.onnx")
    assert "takes 2 inputs" in failure(tmp_path / "two.onnx")


def test_ops_that_cannot_be_converted_are_named_all_at_once(onnx, tmp_path, exported):
    path, _ = exported
    model = onnx.load(path)
    model.opset_import.add(domain="my.ops", version=1)
    model.graph.node[1].op_type, model.graph.node[1].domain = "Swish2", "my.ops"
    model.graph.node[-1].op_type = "Gem"
    onnx.save(model, tmp_path / "custom.onnx")
    told = failure(tmp_path / "custom.onnx")
    assert "cannot convert Gem, Swish2 of my.ops" in told
    assert "dynamo=False, opset_version=13" in told


def outside(onnx, path, location):
    """Move the weights of a file out of it, and let it say that they are at `location`."""
    model = onnx.load(path)
    onnx.save_model(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())


def test_weights_beside_an_onnx_file(onnx, exported, tmp_path):
    path, original = exported
    outside(onnx, path, "weights.bin")
    x = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(load(str(path))(x), original(x), rtol=1e-5, atol=1e-6)
    (tmp_path / "weights.bin").unlink()
    assert "'weights.bin', which is not there" in failure(path)


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "link", "sub/../../secret"])
def test_weights_outside_of_the_folder_are_refused(location, onnx, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(100_000))
    (folder / "link").symlink_to(tmp_path / "secret")
    path = export(convolutional(), folder / "net.onnx")
    outside(onnx, path, location)
    assert "outside of its folder" in failure(path)


def test_more_weights_than_there_are_are_refused(onnx, tmp_path):
    path = export(convolutional(), tmp_path / "net.onnx")
    outside(onnx, path, "weights.bin")
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        kept = [entry for entry in tensor.external_data if entry.key == "location"]
        del tensor.external_data[:]
        tensor.external_data.extend(kept)
    path.write_bytes(model.SerializeToString())
    assert "claims" in failure(path)


@pytest.mark.parametrize("field", ["name", "domain", "op_type", "output"])
def test_names_in_an_onnx_file_are_not_run_as_code(field, onnx, exported, tmp_path):
    """The converter writes names of nodes into Python code; a name may end the string that it stands in."""
    path, _ = exported
    trace = tmp_path / "trace"
    hostile = f"a\", open('{trace}', 'w')) or getattr(self, \"training"
    model = onnx.load(path)
    node = model.graph.node[0]
    if field == "output":
        for other in model.graph.node:
            names_in = [hostile if name == node.output[0] else name for name in other.input]
            del other.input[:]
            other.input.extend(names_in)
        node.output[0] = hostile
    else:
        setattr(node, field, hostile)
    path.write_bytes(model.SerializeToString())
    try:
        load(str(path))(torch.rand(1, 3, 32, 32))
    except ModelError:
        assert field in ("domain", "op_type")
    assert not trace.exists()


def test_names_of_nodes_that_are_names_of_modules_methods(onnx, exported):
    path, original = exported
    model = onnx.load(path)
    for node, name in zip(
        model.graph.node, ("forward", "training", "initializers", "forward", "", "a.b", "x" * 999), strict=False
    ):
        node.name = name
    path.write_bytes(model.SerializeToString())
    x = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(load(str(path))(x), original(x), rtol=1e-5, atol=1e-6)


HOSTILE = """
import pathlib, random, resource, sys, warnings
warnings.simplefilter("ignore")
from relprop.models import ModelError, load
source = pathlib.Path(sys.argv[1])
load(str(source))  # what the libraries need comes before the limit
used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30),) * 2)
whole, rng, told = source.read_bytes(), random.Random(0), {"loaded": 0, "refused": 0}
target = source.with_name("mutant.onnx")
for _ in range(int(sys.argv[2])):
    content = bytearray(whole)
    for _ in range(rng.choice((1, 1, 2, 8, 40))):
        kind, at = rng.randrange(4), rng.randrange(len(content))
        if kind == 0:
            content[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            content[at] = rng.choice((0, 1, 127, 128, 255))
        elif kind == 2:
            del content[at : at + rng.randrange(1, 9)]
        else:
            content[at:at] = rng.randbytes(rng.randrange(1, 9))
    if rng.random() < 0.05:
        content = content[: rng.randrange(len(content))]
    target.write_bytes(content)
    try:
        load(str(target))
        told["loaded"] += 1
    except ModelError as error:
        assert "\\n" not in str(error)
        told["refused"] += 1
print(told["loaded"], told["refused"])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits of memory are Linux's here")
def test_damaged_onnx_files_load_or_are_refused(exported, damaged):
    path, _ = exported
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", HOSTILE, path, str(damaged)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert result.returncode == 0, result.stderr[-2000:]
    loaded, refused = map(int, result.stdout.split())
    assert loaded + refused == damaged
    assert loaded > damaged // 50
    assert refused > damaged // 2
