"""A file by another kind's name, a module by its file: the message says what it is, and how it is named."""

import pytest
import torch
from safetensors.torch import save_file

import relprop as rp
from relprop.models.files import checkpoints
from relprop.models.registry import family_of
from relprop.support.user_code import meant_by_path


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "inner").mkdir()
    for name in ("own_nets.py", "inner/deep.py"):
        (tmp_path / name).write_text("def two():\n    pass\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("./own_nets.py:two", "; did you mean own_nets:two?"),
        (".\\own_nets.py:two", "; did you mean own_nets:two?"),
        ("./own_nets:two", "; did you mean own_nets:two?"),
        ("inner/deep.py:two", "; did you mean inner.deep:two?"),
        ("inner/deep:two", "; did you mean inner.deep:two?"),
        ("inner/../own_nets.py:two", "; did you mean own_nets:two?"),
        ("own_nets.py", "; did you mean own_nets:FUNCTION?"),
        ("own_nets.py:", "; did you mean own_nets:FUNCTION?"),
        ("./own_nts.py:two", ": there is no file own_nts.py; did you mean own_nets.py?"),
    ],
)
def test_a_module_by_its_file(typed, meant, here):
    for name in (typed, str(here / typed)) if "\\" not in typed and "nts" not in typed else (typed,):
        with pytest.raises(rp.RelpropError) as failure:
            family_of(name)
        assert str(failure.value) == f"no model {name!r}{meant}"
        with pytest.raises(rp.RelpropError) as failure:
            rp.plan(lambda x: x, torch.ones(1, 1), name)
        assert str(failure.value) == f"no method is named {name!r}{meant}"


def test_a_module_in_another_folder(here, monkeypatch):
    monkeypatch.chdir(here / "inner")
    assert meant_by_path("../own_nets.py:two") == f"; did you mean own_nets:two, from the folder {here}?"
    assert meant_by_path("microsoft/resnet-50") == meant_by_path("timm:resnet18") == meant_by_path("lrp-zz") == ""


def test_weights_are_known_by_their_content_whatever_their_name_says(tmp_path):
    state = {"a.weight": torch.randn(3, 2), "a.bias": torch.randn(3)}
    torch.save(state, tmp_path / "torch.safetensors")
    torch.save(state, tmp_path / "torch.caffemodel")
    torch.save(state, tmp_path / "old.safetensors", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "safe.pth")
    save_file(state, tmp_path / "safe.caffemodel")
    for path in tmp_path.iterdir():
        found = checkpoints.read(path)
        assert found.keys() == state.keys(), path
        assert all(torch.equal(found[key], value) for key, value in state.items()), path


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n", "git lfs pull"),
        (b"<!DOCTYPE html><html></html>", "a web page, not a weight file"),
        (b"\n<html><body>not found", "a web page, not a weight file"),
    ],
)
def test_what_comes_in_place_of_weights(content, told, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(rp.RelpropError, match=told):
        rp.models.load("squeezenet1_1", tmp_path / "a.safetensors")
