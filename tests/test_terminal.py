"""The command line as it is met at a terminal: tables that fit, names of methods, progress, completion."""

import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import typer.main
from hypothesis import given
from hypothesis import strategies as st

from relprop.cli import app
from relprop.commands import completing, data
from relprop.commands.console import continued
from relprop.models.families import library_names, torchvision_zoo
from relprop.study.runner import run
from relprop.support.tables import columns, text_table
from test_study import task

SMALL = "digits-shallow"
CELLS = st.text("ab .,(_é", max_size=40).map(lambda text: " ".join(text.split()))


@given(st.integers(24, 90), st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=4))
def test_tables_fit_and_lose_nothing(room, rows):
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(room)
    try:
        lines = text_table(("one", "two", "three"), rows).splitlines()
        bare = columns(rows, indent=3)
    finally:
        os.environ.pop("COLUMNS") if before is None else os.environ.update(COLUMNS=before)
    assert max(map(len, lines)) <= room
    assert max(map(len, bare)) <= room
    letters = sorted("".join(cell for row in rows for cell in row).replace(" ", ""))
    assert sorted("".join(lines[2:]).replace(" ", "")) == letters
    assert sorted("".join(bare).replace(" ", "")) == letters


@pytest.mark.parametrize("room", [80, 60])
@pytest.mark.parametrize("words", [["methods"], ["models", "v"], ["plan"], ["check"]])
def test_what_commands_print_fits_the_terminal(call, monkeypatch, words, room):
    network = [] if words[0] in ("methods", "models") else ["--model", SMALL]
    wide = call(*words, *network).stdout
    monkeypatch.setenv("COLUMNS", str(room))
    narrow = call(*words, *network).stdout
    assert max(map(len, narrow.splitlines())) <= room
    assert sorted(re.sub(r"[\s-]", "", narrow)) == sorted(re.sub(r"[\s-]", "", wide))


def test_every_command_that_takes_methods_takes_both_names_and_commas(call, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    commands = typer.main.get_command(app).commands
    options = {
        name: [way for each in command.params for way in each.opts if "method" in way]
        for name, command in commands.items()
    }
    taking = {name for name, found in options.items() if found}
    assert taking == set("explain compare plan check study concepts testbed".split())
    assert all(options[name] == ["--method", "--methods"] for name in taking)
    for words in (["--methods", "lrp-z,lrp-epsilon:eps=0.1"], ["--method", "lrp-z", "--methods", "uniform,lrp-z"]):
        told = json.loads(call("explain", "--model", SMALL, *words, "--json").stdout)
        assert len(told["explanations"]) == 2


def test_plan_and_check_of_several_methods(call):
    words = ("--model", SMALL, "--methods", "lrp-z,cmp-alpha1")
    plans = json.loads(call("plan", *words, "--json").stdout)
    assert list(plans) == ["lrp-z", "cmp-alpha1"]
    assert len(plans["lrp-z"]) == len(plans["cmp-alpha1"])
    assert "cmp-alpha1\n\n#" in call("plan", *words).stdout
    assert [each["method"] for each in json.loads(call("check", *words, "--json").stdout)] == ["lrp-z", "cmp-alpha1"]
    several = ("concepts", "--layer", "features.0", "--class", "one", "--method", "lrp-z", "--method", "cmp-alpha1")
    assert "give one method" in call(*several, code=2).stderr


def test_progress_is_told_batch_by_batch(tmp_path):
    told = []
    run(task(6, methods=("uniform",)), tmp_path, batch=2, progress=told.append)
    assert told[0] == 0
    assert sum(told) == 6
    assert max(told) == 2
    again = []
    run(task(6, methods=("uniform",)), tmp_path, batch=2, progress=again.append)
    assert again == [6]


def test_a_bar_of_what_goes_on_counts_the_time_of_what_is_new(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with continued("measuring", 100) as told:
        told(40)
        told(10)
    assert "50/100" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)


def completed(words, last=""):
    """What bash is offered behind these words for the beginning of the next, and the modules that it took."""
    line = ["relprop", *words, last]
    surroundings = {
        "_RELPROP_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(line),
        "COMP_CWORD": f"{len(line) - 1}",
    }
    script = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    result = subprocess.run(
        [sys.executable, "-c", f"{script}\nfrom relprop.cli import main; main()"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | surroundings,
    )
    return result.stdout.split(), set(result.stderr.split())


def test_the_tab_key_completes_at_once():
    found, loaded = completed(["explain", "--model"], "digits-")
    assert found == ["digits-shallow", "digits-deep"]
    assert not {"torch", "torchvision", "matplotlib"} & loaded


def test_what_the_tab_key_offers():
    assert "vgg16" in completing.models("vg")
    assert {"timm:", "hf:"} <= set(completing.models(""))
    assert all(name.startswith("timm:resnet1") for name in completing.models("timm:resnet1"))
    assert "lrp-z,cmp-alpha1-flat" in completing.methods("lrp-z,cmp-alpha1")
    assert completing.methods("lrp-epsilon:") == ["lrp-epsilon:eps="]
    assert completing.classes(SimpleNamespace(params={}), "t") == ["two", "three"]
    assert completing.classes(SimpleNamespace(params={"model": "vgg16"}), "tabb") == ["tabby"]
    assert completing.classes(SimpleNamespace(params={"model": "net.onnx"}), "") == []
    assert completing.DATA == data.DATA
    assert torchvision_zoo.categories() == library_names.imagenet()
