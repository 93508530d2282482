"""``relprop testbed``: tables, figures, page, and what Python says."""

import csv
import json

import numpy as np
import pytest

from relprop.plots.examples import Row, example_grid
from relprop.plots.heatmaps import render
from relprop.support.errors import InputError
from relprop.tools.testbed import write

MEASURES = "single deletion,target sensitivity,distractibility,background,grid pointing,DiFull,mark: share,mark: AUROC"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_command_writes_what_it_tells(call, tmp_path):
    words = ("testbed", "--network", "digits-shallow", "--pictures", 4, "--methods", "lrp-z,grad-cam", "--json")
    told = json.loads(call(*words).stdout)
    (network,) = told["networks"]
    assert [measure["name"] for measure in network["measures"]] == MEASURES.split(",")
    by_name = {measure["name"]: measure["methods"] for measure in network["measures"]}
    assert by_name["DiFull"]["lrp-z"]["mean"] == 1
    assert "grad-cam" not in by_name["DiFull"]
    assert "branches" in network["left_out"]["cells apart"]["grad-cam"]
    assert by_name["single deletion"]["truth"]["mean"] == pytest.approx(1)
    with (tmp_path / "relprop-testbed/tables/testbed-digits-shallow.csv").open() as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["lrp-z", "grad-cam", "uniform", "noise", "truth"]
    assert float(rows["lrp-z"]["grid pointing"]) == by_name["grid pointing"]["lrp-z"]["mean"]
    page = (tmp_path / "relprop-testbed/testbed.html").read_text()
    assert all(fact in page for fact in network["facts"])
    assert "data:image/png" in page
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert sorted(told["files"]) == written


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--network", "digits-dep"), "did you mean digits-deep"),
        (("--network", "digits-deep", "--methods", "lrp-zz"), "did you mean lrp-z"),
    ],
)
def test_what_is_wrong_is_said_at_once(call, words, said):
    assert said in call("testbed", *words, code=1).output


def test_nothing_is_no_test_bed(tmp_path):
    with pytest.raises(InputError, match="run one first"):
        write([], tmp_path)


def test_examples_are_drawn_the_same_and_refused_where_they_do_not_fit():
    picture, R = np.zeros((8, 8, 3), dtype=np.uint8), np.eye(8) - 0.2
    rows = [Row("a", picture, [(1, 1, 4, 4)], {"x": R}), Row("b", picture, [], {"y": R})]
    assert render(example_grid(rows, ["x", "y"])) == render(example_grid(rows, ["x", "y"]))
    with pytest.raises(ValueError, match=r"x: a map \(4, 8\)"):
        example_grid([Row("a", picture, [], {"x": R[:4]})], ["x"])
    with pytest.raises(ValueError, match="not finite"):
        example_grid([Row("a", picture, [], {"x": R * np.nan})], ["x"])
