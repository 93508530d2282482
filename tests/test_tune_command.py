"""``relprop tune`` and its document: what is printed and written, and what is told where something is wrong."""

import json
import re
from pathlib import Path

import pytest

import relprop as rp
from relprop.composites.written import read_composite
from relprop.data.embedded import embedded
from relprop.tools.tune import tune

DOCUMENT = (Path(__file__).parents[1] / "docs" / "tune.md").read_text()
SPACE = """
[[slot]]
on = "on.head"
rules = ["Epsilon"]

[[slot]]
on = "on.weighted"
rules = ["ZPlus", {rule = "AlphaBeta", alpha = 2.0, bias = [true, false]}]
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(SPACE)


ASKED = ("tune", "--model", "digits-shallow", "--space", "mine.toml", "--limit", 8, "--against", "lrp-z,lrp-alpha2")


def test_the_command_tells_what_python_tells_and_what_it_writes_is_a_method(call, tmp_path):
    told = json.loads(call(*ASKED, "--out", "best.toml", "--figure", "search.png", "--folder", "kept", "--json").stdout)
    model, against = rp.models.load("digits-shallow"), ["lrp-z", "lrp-alpha2"]
    found = tune(model, embedded(number=8), "mine.toml", against=against, folder="kept")
    assert found.maps == 0 < told["maps"]
    assert told["code"] == found.code
    assert told["finalists"] == json.loads(json.dumps(found.as_dict()["finalists"]))
    assert (told["verdict"], told["files"]) == ("undecided", ["best.toml", "search.png"])
    assert read_composite("best.toml") == found.best
    assert (tmp_path / "search.png").stat().st_size > 10_000
    plan = json.loads(call("plan", "--model", "digits-shallow", "--method", "best.toml", "--json").stdout)
    assert {step["rule"] for step in plan} & {"ZPlus()", "AlphaBeta(alpha=2.0)", "AlphaBeta(alpha=2.0, bias=False)"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--space", "smal"), "no space is named 'smal'; did you mean small?"),
        (("--by", "mu_v"), "no measure is named 'mu_v'"),
        (("--out", "best.json"), "end its name with .toml"),
        (("--out", "mine.toml"), "that is the source"),
        (("--figure", "best.doc"), "no kind of figure"),
        (("--against", "lrp-y", "--limit", 1), "data has 1 pictures"),
    ],
)
def test_the_command_says_what_to_mend(call, tmp_path, words, message):
    before = {path.name for path in tmp_path.iterdir()}
    assert message in call(*ASKED, *words, code=1).stderr
    assert {path.name for path in tmp_path.iterdir()} == before


def test_the_document_runs(capsys):
    (python,) = re.findall(r"```python\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    names = {}
    exec(python, names)
    assert names["R"].shape == (1, 3, 64, 64)
    assert names["found"].code in capsys.readouterr().out
    (toml,) = re.findall(r"```toml\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    Path("document.toml").write_text(toml)
    assert len(read_composite("document.toml").entries) == 4
