"""The command line as a user meets it: files, text, JSON, and one clear line for what goes wrong."""

import json
import os
import re
import shlex
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import relprop as rp
from relprop.catalogue.table import BEST
from relprop.data.clutter import sample_picture
from relprop.models.families import embedded
from relprop.support.arrays import array_path
from relprop.support.suggest import nearest

SMALL = "digits-shallow"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fails(call):
    """Run a command that the user can mend; return its one line on stderr."""

    def run(*words):
        told = call(*words, code=1).stderr
        assert told.startswith("error: ")
        assert told.count("\n") == 1
        return told

    return run


# explain


def test_the_sample_without_any_argument(call):
    told = call("explain").stdout
    assert "embedded sample, digits-deep" in told
    assert "wrote relprop-explain.png" in told
    assert BEST in told
    with Image.open("relprop-explain.png") as figure:
        assert figure.width > 500


def test_the_top_class_is_explained_as_attribute_does(call):
    told = json.loads(call("explain", "--model", SMALL, "--json", "--raw").stdout)
    model = rp.models.load(SMALL)
    x = model.preprocess(Image.fromarray(sample_picture().image))[None]
    with torch.no_grad():
        logits = model(x)[0]
    top = int(logits.argmax())
    assert told["picture"] == "embedded sample"
    assert [told["top"][0][key] for key in ("index", "class")] == [top, model.classes[top]]
    assert told["top"][0]["logit"] == pytest.approx(float(logits[top]), rel=1e-5)
    assert len(told["top"]) == 5
    assert told["files"] == ["relprop-explain.png", "relprop-explain.npy"]
    (only,) = told["explanations"]
    maps = np.load("relprop-explain.npy")
    assert maps.shape == (1, 3, 64, 64)
    assert np.allclose(maps, rp.attribute(model, x).numpy(), atol=1e-7)
    assert only["method"] == BEST
    assert only["relevance_sum"] == pytest.approx(maps.sum(), rel=1e-4)
    assert 0 <= only["conservation_error"] < 1e-5
    accounted = only["relevance_sum"] + only["bias"] + only["eps"] + only["lost"]
    assert accounted == pytest.approx(only["logit"], rel=1e-4)


def test_several_targets_and_methods(call):
    words = [
        "--target",
        "Seven",
        "--target",
        "2",
        "--method",
        "lrp-z",
        "--method",
        "cmp-alpha1-zbox",
        "--method",
        "lrp-z",
    ]
    told = json.loads(call("explain", "--model", SMALL, *words, "--raw", "--json", "--out", "maps").stdout)
    found = [(row["class"], row["method"]) for row in told["explanations"]]
    assert found == [(c, m) for c in ("seven", "two") for m in ("lrp-z", "cmp-alpha1-zbox")]
    assert told["files"] == [
        "maps/relprop-explain.png",
        "maps/relprop-explain.lrp-z.npy",
        "maps/relprop-explain.cmp-alpha1-zbox.npy",
    ]
    assert np.load(told["files"][1]).shape == (2, 3, 64, 64)
    assert not np.allclose(np.load(told["files"][1]), np.load(told["files"][2]))


def test_a_picture_of_ones_own_names_the_figure(call):
    Image.fromarray(np.arange(90 * 120, dtype=np.uint8).reshape(90, 120)).save("my cat.jpg")
    assert "wrote my cat-explained.png" in call("explain", "my cat.jpg", "--model", SMALL).stdout
    call("explain", "my cat.jpg", "--model", SMALL, "--out", "deep/er/map.svg")
    assert Path("deep/er/map.svg").read_text().startswith("<?xml")


def test_a_second_run_overwrites_with_the_same_bytes_and_leaves_nothing_beside(call, tmp_path):
    words = ("explain", "--model", SMALL, "--raw")
    call(*words)
    first = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    call(*words)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == first
    assert first.keys() == {"relprop-explain.png", "relprop-explain.npy"}


def test_local_weights_and_threads(call):
    state = embedded.trained(SMALL).state_dict()
    save_file(state | {"classifier.6.bias": state["classifier.6.bias"] + 100}, "mine.safetensors")
    threads = torch.get_num_threads()
    words = ("--weights", "mine.safetensors", "--threads", "1", "--json")
    told = json.loads(call("explain", "--model", SMALL, *words).stdout)
    torch.set_num_threads(threads)
    assert told["top"][0]["logit"] > 80


# explain, when something is wrong


def test_pictures_that_cannot_be_read(fails):
    assert "no such file" in fails("explain", "cat.jpg")
    assert "a folder, not a picture" in fails("explain", ".")
    Path("cats.jpg").write_bytes(b"")
    assert "did you mean cats.jpg?" in fails("explain", "cat.jpg")
    assert "empty" in fails("explain", "cats.jpg")


def test_names_that_are_wrong(fails):
    assert "did you mean digits-deep" in fails("explain", "--model", "digit-deep")
    assert "did you mean seven?" in fails("explain", "--model", SMALL, "--target", "sevn")
    assert "classes are 0 to 9" in fails("explain", "--model", SMALL, "--target", "10")
    assert "did you mean cmp-alpha2-flat" in fails("explain", "--model", SMALL, "--method", "cmp-alpha2flat")
    assert "did you mean layers?" in fails("explain", "--model", SMALL, "--method", "cmp-alpha1-flat:layer=2")
    assert "did you mean zennit?" in fails("explain", "--model", SMALL, "--profile", "zenit")
    assert "try --device cpu" in fails("explain", "--model", SMALL, "--device", "quantum")
    assert "end it with .png" in fails("explain", "--model", SMALL, "--out", "map.docx")


def test_weights_that_cannot_be_had(fails, monkeypatch, tmp_path):
    def offline(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(socket, "create_connection", offline)
    assert "--weights FILE" in fails("explain", "--model", "vgg16")
    assert "no such weight file" in fails("explain", "--model", "vgg16", "--weights", "gone.pth")
    Path("cut.safetensors").write_bytes(b"\x90\x01\0\0\0\0\0\0{" + b" " * 30)
    assert "cut short or damaged" in fails("explain", "--model", SMALL, "--weights", "cut.safetensors")


def test_weights_that_are_not_finite(fails):
    state = embedded.trained(SMALL).state_dict()
    save_file(state | {"classifier.6.bias": torch.full((10,), torch.nan)}, "nan.safetensors")
    assert "finite" in fails("explain", "--model", SMALL, "--weights", "nan.safetensors")


def test_a_file_of_the_package_that_is_gone(fails, monkeypatch):
    def load(_name):
        raise FileNotFoundError(2, "No such file or directory", "weights/digits-shallow.safetensors")

    monkeypatch.setattr(embedded, "trained", load)
    assert "digits-shallow.safetensors" in fails("explain", "--model", SMALL)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_loses_nothing_that_was_computed(call):
    result = call("explain", "--model", SMALL, "--out", "/dev/full", "--json", code=1)
    assert "/dev/full: not written (No space left on device)" in result.stderr
    told = json.loads(result.stdout)
    assert told["explanations"]
    assert told["files"] == []


def test_what_stood_there_stays_when_writing_fails(call, monkeypatch):
    Path("map.png").write_bytes(b"old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left" in call("explain", "--model", SMALL, "--out", "map.png", code=1).stderr
    assert Path("map.png").read_bytes() == b"old"
    assert [file.name for file in Path().iterdir()] == ["map.png"]


def test_a_folder_that_cannot_be_made(call):
    Path("file").write_text("in the way")
    assert "not written" in call("explain", "--model", SMALL, "--out", "file/map.png", code=1).stderr


def test_a_symbolic_link_is_written_through(call):
    Path("real").mkdir()
    Path("real/map.png").write_bytes(b"old")
    Path("link.png").symlink_to("real/map.png")
    call("explain", "--model", SMALL, "--out", "link.png")
    assert Path("link.png").is_symlink()
    assert Path("real/map.png").read_bytes() != b"old"


# plan, methods, models


def test_plan_needs_neither_weights_nor_network(call, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    table = call("plan", "--model", "squeezenet1_1").stdout
    assert "Flat()" in table
    assert "features.0" in table
    rows = json.loads(call("plan", "--model", SMALL, "--method", "cmp-alpha1", "--json").stdout)
    assert rows[0]["index"] == 0
    assert {"path", "op", "shapes", "rule", "why"} < rows[0].keys()
    assert "AlphaBeta(alpha=1" in rows[0]["rule"]


def test_plan_when_something_is_wrong(fails):
    assert "did you mean" in fails("plan", "--model", "vgg-16")
    assert "did you mean" in fails("plan", "--model", SMALL, "--method", "lrp-zed")


def test_methods_are_the_librarys(call):
    rows = json.loads(call("methods", "--json").stdout)
    assert [row["name"] for row in rows] == rp.methods()
    assert all(row["summary"] for row in rows)
    assert len(call("methods").stdout.splitlines()) == len(rows)


def test_models_tell_what_they_need(call, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    rows = {row["name"]: row for row in json.loads(call("models", "--json").stdout)}
    assert list(rows)[: len(rp.models.names())] == rp.models.names()
    assert rows["digits-deep"]["needs"].startswith("nothing")
    assert "528 MB" in rows["vgg16"]["needs"]
    assert re.search(r"^resnet50 +torchvision +a download of", call("models").stdout, re.MULTILINE)


def test_names_of_files_are_fit_for_every_file_system(tmp_path):
    for method, name in {
        "cmp-alpha1-flat:head=features.*,eps=0.1": "f.cmp-alpha1-flat_head=features._,eps=0.1.npy",
        "mine:edges": "f.mine_edges.npy",
        "pattern-net:patterns=C:\\a|b?/c": "f.pattern-net_patterns=C__a_b__c.npy",
    }.items():
        assert array_path(tmp_path / "f.png", method, 2).name == name


# What would be lost, and what is not as it should be


def test_what_is_read_is_not_written_over(fails, tmp_path):
    Image.fromarray(sample_picture().image).save("cat.png")
    before = Path("cat.png").read_bytes()
    assert "that is the source" in fails("explain", "cat.png", "--out", "cat.png", "--model", SMALL)
    Path("link.png").symlink_to("cat.png")
    assert "that is the source" in fails("explain", "cat.png", "--out", "link.png", "--model", SMALL)
    assert Path("cat.png").read_bytes() == before
    save_file(rp.models.load(SMALL).state_dict(), "w.png")
    assert "that is the source" in fails("explain", "--out", "w.png", "--model", SMALL, "--weights", "w.png")
    fitting = ("patterns", "--model", SMALL, "--limit", "2")
    assert "that is the source" in fails(*fitting, "--weights", "w.png", "--out", "w.png")
    save_file({"a": torch.ones(1)}, "others.safetensors")
    before = Path("others.safetensors").read_bytes()
    assert "holds no patterns" in fails(*fitting, "--out", "others.safetensors")
    assert Path("others.safetensors").read_bytes() == before
    Path("folder").mkdir()
    assert "a folder; name a file" in fails(*fitting, "--out", "folder")


def test_patterns_are_written_over_patterns(call):
    for _ in range(2):
        call("patterns", "--model", SMALL, "--limit", "2", "--out", "p.safetensors")


def test_how_the_picture_was_prepared_is_told(call):
    assert "\nprepared: shorter side to 64 (" in call("explain", "--model", SMALL).stdout
    assert json.loads(call("explain", "--model", SMALL, "--json").stdout)["prepared"].startswith("shorter side to 64")


OWN = """
import torch
from relprop.models import Preprocess

class Net(torch.nn.Sequential):
    def forward(self, x):
        if self.fault:
            raise ValueError("no such thing")
        return super().forward(x)

def build(classes=2, channels=3, fault=False):
    net = Net(torch.nn.Conv2d(channels, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LazyLinear(2))
    net.fault = False
    net(torch.zeros(1, channels, 8, 8))
    net.fault = fault
    net.preprocess, net.classes = Preprocess(8, 8, (0.5,) * 3, (0.5,) * 3), tuple("abc"[:classes])
    return net

def few(): return build(1)
def many(): return build(3)
def grey(): return build(channels=1)
def broken(): return build(fault=True)
def nothing(model, x, target): return x * float("nan")
"""


@pytest.fixture
def _own(monkeypatch):
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    Path("nets_of_this_test.py").write_text(OWN)
    yield
    sys.modules.pop("nets_of_this_test", None)


@pytest.mark.usefixtures("_own")
def test_a_network_that_does_not_answer_as_it_says(fails, call):
    call("explain", "--model", "nets_of_this_test:build")
    for command in ("explain", "plan", "patterns"):
        told = fails(command, "--model", "nets_of_this_test:broken")
        assert "its forward pass failed on a picture (1, 3, 8, 8): ValueError: no such thing (nets_of_this_test" in told
        assert "expected input" in fails(command, "--model", "nets_of_this_test:grey")
    for factory, names in {"few": 1, "many": 3}.items():
        told = fails("explain", "--model", f"nets_of_this_test:{factory}")
        assert f"it has names for {names} classes, and gives 2 logits" in told
    Path("map.json").write_text('{"zero": [0]}')
    words = ("study", "--model", "nets_of_this_test:many", "--class-map", "map.json", "--limit", "2")
    assert "names for 3 classes" in fails(*words)


@pytest.mark.usefixtures("_own")
def test_a_map_that_is_not_finite_names_its_method(fails):
    told = fails("explain", "--model", SMALL, "--method", "lrp-z", "--method", "nets_of_this_test:nothing")
    assert "nets_of_this_test:nothing: its map of digits-shallow is not finite" in told
    with pytest.raises(rp.RelpropError, match=r"the method: its map is not finite; .* dtype=torch.float64"):
        rp.attribute(rp.models.load(SMALL), torch.rand(1, 3, 64, 64), 0, lambda model, x, target: x / 0)


@pytest.mark.usefixtures("_own")
def test_functions_of_ones_own_take_no_options(fails):
    assert "take no options" in fails("explain", "--model", SMALL, "--method", "nets_of_this_test:nothing:k=3")


@pytest.mark.parametrize("command", ["study", "patterns"])
def test_a_folder_without_its_kind_is_not_passed_over(command, fails, tmp_path):
    assert "what kind of data is in" in fails(command, "--root", tmp_path, "--limit", "2")


def test_a_wrong_method_leaves_no_study_behind(call):
    assert "did you mean lrp-z" in call("study", "--model", SMALL, "--methods", "lrpz", "--limit", "2", code=1).stderr
    assert not any(Path().iterdir())
    call("study", "--model", SMALL, "--methods", "lrp-z", "--limit", "2", "--no-occlusion")


def test_next_commands_survive_a_shell(call):
    Path("my files").mkdir()
    told = call("patterns", "--model", SMALL, "--limit", "2", "--out", "my files/p.safetensors").stdout
    words = shlex.split(told.split("next: relprop ")[1])
    call(*words)


def test_a_class_is_found_by_one_of_its_words():
    names = ["Egyptian cat", "castle", "crate", "tiger shark, Galeocerdo", "hare", "Labrador retriever", "library"]
    assert nearest("cat", names, 1) == ["Egyptian cat"]
    assert nearest("shark", names, 1) == ["tiger shark, Galeocerdo"]
    assert nearest("labrador", names, 1) == ["Labrador retriever"]
    assert nearest("Egyptain cat", names, 1) == ["Egyptian cat"]
    assert nearest("retriev", names, 1) == ["Labrador retriever"]


def test_a_folder_is_probably_one_of_hugging_faces(fails):
    Path("downloaded").mkdir()
    assert "did you mean hf:downloaded?" in fails("explain", "--model", "downloaded")


def test_what_a_name_of_a_form_needs_is_told(call):
    assert "a function of yours" in call("models", "mine:build").stdout
    told = call("models", "convnext").stdout
    assert "convnext_base" in told
    assert "not explained" not in told  # all of torchvision's classifiers are: docs/coverage.md
    assert "LayerNorm" not in call("models", "vgg16").stdout
