"""The command that fits patterns: what it writes, what it skips, what it tells to mend."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from typer.testing import CliRunner

import relprop as rp
from pattern_networks import LINEAR, TWO, WITH_BIAS
from relprop.catalogue.patterns import Patterns
from relprop.cli import app
from relprop.commands import patterns as command
from relprop.commands.patterns import spread
from relprop.data.pictures import PictureError
from relprop.tools.patterns_by_ray import batches


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words, code=0):
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == code, result.output
        return result

    return run


def test_neurons_that_fire_by_their_bias_are_counted_and_told(call, tmp_path):
    state = rp.models.load("digits-shallow").state_dict()
    save_file({key: t + 1 if key.endswith("bias") else t for key, t in state.items()}, tmp_path / "biased.safetensors")
    fitting = ("patterns", "--model", "digits-shallow", "--weights", "biased.safetensors", "--limit", 8, "--batch", 8)
    told = json.loads(call(*fitting, "--json").stdout)
    assert told["against"] > 0
    text = call(*fitting)
    assert f"{told['against']} neurons fire by their bias" in text.stderr
    assert "two-component-bias" in text.stderr


def test_the_command_writes_a_file_that_explains(call, tmp_path):
    fitting = ("patterns", "--model", "digits-shallow", "--limit", 24, "--batch", 7)
    told = json.loads(call(*fitting, "--out", "some.safetensors", "--json").stdout)
    assert told["samples"] == 24
    assert told["layers"] == {TWO: 7, LINEAR: 1}
    assert told["against"] == 0
    text = call(*fitting)
    assert "digits-shallow.patterns.safetensors: patterns of 8 layers from 24 pictures" in text.stdout
    assert text.stderr == ""
    file = tmp_path / "some.safetensors"
    assert Patterns.load(file).digest == Patterns.load(tmp_path / "digits-shallow.patterns.safetensors").digest
    model = rp.models.load("digits-shallow")
    assert rp.attribute(model, torch.randn(1, 3, 64, 64), 2, f"pattern-attribution:patterns={file}").abs().max() > 0
    told = json.loads(call(*fitting, "--estimator", WITH_BIAS, "--json").stdout)
    assert told["against"] == 0


def test_the_command_takes_folders_and_tells_of_what_it_skipped(call, tmp_path):
    folder = tmp_path / "pictures"
    (folder / "within").mkdir(parents=True)
    for k in range(6):
        noise = np.random.default_rng(k).integers(0, 255, (70, 80, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "within" / f"{k}.png")
    (folder / "0.png").write_bytes(b"no picture")
    fitting = ("patterns", "--model", "digits-shallow", "--data", "folder", "--root", folder)
    told = call(*fitting, "--json")
    assert json.loads(told.stdout)["samples"] == 6
    assert "skipped 1 pictures" in told.stderr
    assert json.loads(call(*fitting, "--data", "imagenet", "--limit", 3, "--json").stdout)["samples"] == 2
    for path in (folder / "within").iterdir():
        path.write_bytes(b"")
    assert "none of 7 pictures can be read" in call(*fitting, code=1).stderr
    (tmp_path / "empty").mkdir()
    assert "no pictures in it" in call(*fitting[:-1], tmp_path / "empty", code=1).stderr


def test_the_command_says_what_to_mend(call):
    for words, told in {
        ("--data", "embeded"): "did you mean embedded",
        ("--data", "voc"): "--data voc --root FOLDER",
        ("--model", "digits-dep"): "did you mean digits-deep",
        ("--estimator", "two"): "did you mean two-component",
    }.items():
        line = call("patterns", "--limit", 2, *words, code=1).stderr
        assert told in line
        assert line.startswith("error: ")
        assert line.count("\n") == 1


def test_an_interrupted_command_leaves_nothing_behind(call, tmp_path):
    runs = []

    def interrupted(module, *_):
        if isinstance(module, nn.Linear):  # the last layer: a whole batch went through
            runs.append(module)
            if len(runs) == 2:
                raise KeyboardInterrupt

    handle = register_module_forward_hook(interrupted)
    try:
        line = call("patterns", "--model", "digits-shallow", "--limit", 9, "--batch", 2, code=130).stderr
    finally:
        handle.remove()
    assert len(runs) == 2
    assert line.strip().splitlines()[-1] == "interrupted"
    assert list(tmp_path.iterdir()) == []


def test_a_few_of_many_are_spread_over_all():
    assert spread(list(range(10)), 4) == [0, 2, 5, 7]
    assert spread(list(range(3)), 9) == [0, 1, 2]
    assert spread(list(range(3)), None) == [0, 1, 2]


def test_pictures_that_cannot_be_read_do_not_break_a_batch():
    def broken():
        raise PictureError("a.png: broken")

    good = [lambda: Image.new("RGB", (64, 64))] * 3
    preprocess = rp.models.load("digits-shallow").preprocess
    openers = [good[0], broken, *good[1:], broken]
    read = [command.read(openers, preprocess, numbers) for numbers in batches(range(5), 2)]
    assert [None if x is None else len(x) for x, _ in read] == [1, 2, None]
    assert [skipped for _, skipped in read] == [["a.png: broken"], [], ["a.png: broken"]]
