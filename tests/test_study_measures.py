"""Measures as plug-ins: tables of their own, the user's too, the same bytes however they were come by."""

import json
import math
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from torch import nn

import relprop as rp
from conftest import randomised
from relprop.data.entries import Entry, Listing, Thing
from relprop.data.geometry import like
from relprop.data.preprocess import Preprocess
from relprop.study import report
from relprop.study.blocks import Blocks
from relprop.study.chosen import MEASURES, measures
from relprop.study.measure_tables import FEW, tables_of_measures
from relprop.study.results import read_study
from relprop.study.runner import run
from relprop.study.schema import TABLES
from relprop.study.store import Store, StudyError
from relprop.study.task import Task

METHODS = ("lrp-epsilon", "gradient", "uniform")
CHOSEN = ("occlusion", "flipping:region=4,steps=4", "randomisation:steps=2", "sparseness")
GUIDE = Path(__file__).parents[1] / "docs" / "measures.md"
SIDE = 16


def picture(index):
    pixels = np.random.default_rng(index).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def entry(id_):
    index = int(id_)
    things = tuple(Thing("abc"[k], (k, 2, k + 7, 9 + index % 5)) for k in range(1 + index % 2))
    return Entry(id_, lambda: picture(index), things, (SIDE, SIDE))


def task(**options):
    torch.manual_seed(1)
    layers = nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 144, 3)
    model = randomised(nn.Sequential(*layers), torch.float32)
    model.preprocess, model.classes = Preprocess(SIDE, SIDE, (0.5,) * 3, (0.25,) * 3), ("a", "b", "c")
    data = Listing("noise", "", "all", tuple(f"{k:02d}" for k in range(9)), entry, lambda: ("a", "b", "c"))
    targets = {name: (k,) for k, name in enumerate("abc")}
    settings = {"methods": METHODS, "chunk": 4, "measures": CHOSEN} | options
    return Task("noise", data, model, "net", like(model.preprocess), targets, **settings)


def rows_of(place, table):
    return Store(place).read(table).to_pylist()


def contents(place):
    return {path.relative_to(place): path.read_bytes() for path in sorted((place / "parts").rglob("*.parquet"))}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    place = tmp_path_factory.mktemp("reference")
    run(task(), place, batch=3)
    return place


def pairs():
    return [(k, thing.name) for k in range(9) for thing in entry(f"{k:02d}").things]


def test_every_measure_has_its_table_in_order(reference):
    store = Store(reference)
    assert store.tables() == [*TABLES, "flipping", "randomisation", "sparseness"]
    assert store.config()["measures"] == list(CHOSEN)
    replaced, stages = ("mean-image", "blur", "neighbours"), (1, 2)
    for table, column, values in (("flipping", "replacement", replaced), ("randomisation", "stage", stages)):
        found = [(r["image_index"], r["class_name"], r["method"], r[column]) for r in rows_of(reference, table)]
        assert found == [(*pair, method, value) for pair in pairs() for method in METHODS for value in values]
    found = [(r["image_index"], r["class_name"], r["method"]) for r in rows_of(reference, "sparseness")]
    assert found == [(*pair, method) for pair in pairs() for method in METHODS]
    described = store.read("flipping").schema.field("srg").metadata
    assert b"symmetric relevance gain" in described[b"description"]
    assert [r["part"] for r in rows_of(reference, "occlusion")[:2]] == ["context", "object"]


def test_its_rows_are_what_the_functions_say_of_the_map(reference):
    study = task()
    x, target = study.preprocess(picture(3))[None], 1
    for method in ("lrp-epsilon", "gradient"):
        R = rp.attribute(study.model, x, target, method)

        def of(table, method=method):
            about = (3, "b", method)
            return [r for r in rows_of(reference, table) if (r["image_index"], r["class_name"], r["method"]) == about]

        for row in of("flipping")[1:]:
            found = rp.metrics.flip(study.model, x, R, target, region=4, steps=4, replace=row["replacement"])
            wanted = {"morf": found.morf_area, "lerf": found.lerf_area, "srg": found.srg, "abpc": found.abpc}
            assert {name: row[name] for name in wanted} == pytest.approx(
                {name: float(value) for name, value in wanted.items()}, abs=1e-5
            )
        found = rp.metrics.randomise(study.model, x, target, method, steps=2)
        for stage, row in enumerate(of("randomisation")):
            assert row["layer"] == found.layers[stage]
            for name in ("cosine", "spearman", "ssim"):
                assert row[name] == pytest.approx(float(getattr(found, name)[stage]), abs=1e-4)
        (row,) = of("sparseness")
        assert row["gini"] == pytest.approx(float(rp.metrics.sparseness(R)), abs=1e-5)
        assert row["entropy"] == pytest.approx(float(rp.metrics.complexity(R)), abs=1e-5)


def test_a_uniform_map_has_no_order_and_is_as_spread_as_can_be(reference):
    for row in (r for r in rows_of(reference, "flipping") if r["method"] == "uniform"):
        assert row["srg"] is row["morf"] is row["lerf"] is row["abpc"] is None
    for row in (r for r in rows_of(reference, "randomisation") if r["method"] == "uniform"):
        assert (row["cosine"], row["ssim"], row["spearman"]) == (pytest.approx(1), pytest.approx(1), None)
    for row in (r for r in rows_of(reference, "sparseness") if r["method"] == "uniform"):
        assert (row["gini"], row["entropy"]) == (pytest.approx(0, abs=1e-9), pytest.approx(2 * math.log(SIDE)))


def test_shards_and_interruptions_change_no_byte_and_another_batch_rounding_alone(reference, tmp_path):
    for i in (2, 3, 1):
        run(task(), tmp_path / "shards", batch=3, shard=(i, 3))
    assert contents(tmp_path / "shards") == contents(reference)
    shutil.copytree(reference, tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut" / "parts" / "part-000001")
    run(task(), tmp_path / "cut", batch=3)
    assert contents(tmp_path / "cut") == contents(reference)
    run(task(), tmp_path / "batch", batch=9)
    for table in ("flipping", "randomisation", "sparseness", "occlusion"):
        for ours, theirs in zip(rows_of(tmp_path / "batch", table), rows_of(reference, table), strict=True):
            for column, value in theirs.items():
                close = pytest.approx(value, rel=1e-3, abs=1e-3) if isinstance(value, float) else value
                assert ours[column] == close, column
    (tmp_path / "cut" / "parts" / "part-000001" / "flipping.parquet").unlink()
    with pytest.raises(StudyError, match=r"flipping.parquet: cannot be read"):
        run(task(), tmp_path / "cut", batch=3)


@pytest.fixture
def _no_figures(monkeypatch):
    """Figures take seconds to draw, and are the same whatever the measures."""
    monkeypatch.setattr(report, "drawings", lambda study: ())


@pytest.mark.usefixtures("_no_figures")
def test_the_report_has_a_table_of_each(reference, tmp_path):
    report.report(reference, tmp_path)
    text = (tmp_path / "tables" / "flipping.md").read_text()
    assert re.search(r"\| lrp-epsilon \| blur \| -?\d", text)
    assert "| uniform | blur | – | – | – | – | 0/13 |" in text  # noqa: RUF001
    assert "symmetric relevance gain" in text
    page = (tmp_path / "report.html").read_text()
    assert all(f">{name}</h3>" in page for name in ("Flipping", "Randomisation", "Sparseness"))
    study = read_study(reference)
    gini = [r["gini"] for r in rows_of(reference, "sparseness") if r["method"] == "gradient"]
    line = next(x for x in (tmp_path / "tables" / "sparseness.md").read_text().splitlines() if "| gradient |" in x)
    assert f"{np.mean(gini):.3f}" in line
    assert set(study.later) == {"flipping", "randomisation", "sparseness"}
    gini_alone = study.later["sparseness"].whole().drop_columns(["entropy"])
    for number in (FEW, FEW + 1):  # a text of more values is no more than a remark
        remarks = pa.array([f"remark {k % number}" for k in range(gini_alone.num_rows)])
        noted = Blocks()
        noted.append(gini_alone.append_column("remark", remarks))
        (table,) = tables_of_measures(replace(study, later={"noted": noted}))
        assert ("remark" in table.columns) == (number == FEW)


def test_a_study_of_before_measures_were_chosen_is_read_and_continued(tmp_path):
    usual = task(measures=())
    assert usual.measures == ("localisation", "occlusion")
    assert task(measures=(), occlusion=False).measures == ("localisation",)
    run(usual, tmp_path / "new")
    shutil.copytree(tmp_path / "new", tmp_path / "old")
    config = json.loads((tmp_path / "old" / "run.json").read_text())
    del config["measures"]
    (tmp_path / "old" / "run.json").write_text(json.dumps(config))
    shutil.rmtree(tmp_path / "old" / "parts" / "part-000002")
    assert read_study(tmp_path / "old").later == {}
    run(usual, tmp_path / "old")
    assert contents(tmp_path / "old") == contents(tmp_path / "new")
    with pytest.raises(StudyError, match=r"measures is \[\"localisation\", \"occlusion\"\] there"):
        run(task(measures=("sparseness",)), tmp_path / "old")
    with pytest.raises(StudyError, match="no table 'sparseness' was measured"):
        Store(tmp_path / "old").read("sparseness")


@pytest.fixture
def _mine(tmp_path, monkeypatch):
    """The guide's measures, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    blocks = re.findall(r"```python\n# mine.py.*?\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(blocks) == 2
    Path("mine.py").write_text("\n".join(blocks))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    yield
    sys.modules.pop("mine", None)


@pytest.mark.usefixtures("_mine", "_no_figures")
def test_the_guide_s_measures_are_measured_and_their_source_is_recorded():
    own = task(measures=("mine:offset", "mine:Mirrored", "sparseness"), methods=("lrp-epsilon", "uniform"))
    run(own, Path("study"))
    assert set(Store(Path("study")).config()["own_measures"]) == {"mine:offset", "mine:Mirrored"}
    rows = rows_of(Path("study"), "offset")
    for row in (r for r in rows if r["method"] == "uniform"):
        (box,) = [t.box for t in entry(row["image_id"]).things if t.name == row["class_name"]]
        middle = np.array([box[1] + box[3] - 1, box[0] + box[2] - 1]) / 2
        assert row["distance"] == pytest.approx(np.linalg.norm(middle - (SIDE - 1) / 2) / (SIDE * 2**0.5))
    x = own.preprocess(picture(2))[None]
    mirrored = next(r for r in rows_of(Path("study"), "mirrored") if r["image_index"] == 2)
    wanted = (own.model(x.flip(-1)) - own.model(x))[0, mirrored["target"]].detach()
    assert mirrored["change"] == pytest.approx(float(wanted), abs=1e-5)
    assert "method" not in mirrored
    report.report(Path("study"), Path("report"))
    assert "| uniform |" in Path("report/tables/offset.md").read_text()
    assert len(Path("report/tables/mirrored.md").read_text().split("\n\n")[0].splitlines()) == 3
    Path("mine.py").write_text(Path("mine.py").read_text() + "\n# edited\n")
    with pytest.raises(StudyError, match=r"own_measures.mine:(offset|Mirrored) is"):
        run(own, Path("study"))
    shutil.move("mine.py", "elsewhere.py")
    sys.modules.pop("mine")
    assert set(read_study(Path("study")).later) == {"offset", "mirrored", "sparseness"}  # read without their code


LEAKY = """
import torch, relprop as rp

class Leaky(rp.rules.Rule):
    def share(self, layer, R):
        s, _ = layer.quotient(R, layer.z, 1e-9)
        return rp.rules.Share((layer.backward(s, layer.w).mul_(layer.x * 0.8),), bias=layer.dot(s, layer.b))

method = rp.Composite([(rp.on.first(), Leaky()), (rp.on.any, rp.rules.Z())])
"""


def test_maps_whose_ledger_is_open_are_not_measured(tmp_path, monkeypatch):
    (tmp_path / "leaking_of_a_test.py").write_text(LEAKY)
    monkeypatch.chdir(tmp_path)
    run(task(methods=("leaking_of_a_test:method", "lrp-z"), measures=("sparseness",), limit=3), tmp_path / "study")
    statuses = [row["status"] for row in rows_of(tmp_path / "study", "rows")]
    assert "ledger_open" in statuses
    for row, status in zip(rows_of(tmp_path / "study", "sparseness"), statuses, strict=True):
        assert (row["gini"] is None) == (row["entropy"] is None) == (status == "ledger_open")


WRONG = """
from relprop.study.measure import Column, OfMaps

number = 3
taken = OfMaps("rows", (), dict)
odd = OfMaps("a b", (), dict)
kind = OfMaps("kind", (Column("x", "float16", ""),), dict)
twice = OfMaps("twice", (Column("target", "float64", ""),), dict)
shy = type("Shy", (), {
    "name": "shy", "columns": (), "needs_model": False,
    "rows": lambda self, batch: iter(batch.asked() and ()),
})
x = (Column("x", "float64", "", null=True),)
broken = OfMaps("broken", x, lambda maps: {}["nowhere"])
other = OfMaps("other", x, lambda maps: {"y": maps.mu})
far = type("Far", (), {
    "name": "far", "columns": x, "needs_model": False,
    "rows": lambda self, batch: iter([(7, {"x": 1.0})]),
})
"""


def test_what_is_no_measure_is_said(tmp_path, monkeypatch):
    (tmp_path / "wrong_of_a_test.py").write_text(WRONG)
    monkeypatch.chdir(tmp_path)
    for name, message in (
        ("sparsenes", "did you mean sparseness"),
        ("flipping:regions=3", "did you mean region"),
        ("flipping:replace=grey", "must be 'mean-image'"),
        ("nowhere:thing", "no module 'nowhere'"),
        ("wrong_of_a_test:number", "it must have name, columns, needs_model and rows"),
        ("wrong_of_a_test:taken", "calls itself 'rows'"),
        ("wrong_of_a_test:odd", "calls itself 'a b'"),
        ("wrong_of_a_test:kind", "is no Column of a kind in"),
        ("wrong_of_a_test:twice", "two columns 'target'"),
    ):
        with pytest.raises(rp.InputError, match=message):
            measures([name])
    with pytest.raises(rp.InputError, match="'flipping' is there twice"):
        measures(["flipping", "flipping:region=2"])
    for name, message in (
        ("shy", r"failed: ValueError: .* must say so: needs_model"),
        ("broken", r"failed: KeyError: 'nowhere' \(wrong_of_a_test.py, line \d+\)"),
        ("other", "columns missing or unknown: x, y"),
        ("far", "a row of pair 7; the batch has 0 to 0"),
    ):
        with pytest.raises(rp.InputError, match=message):
            run(task(measures=(f"wrong_of_a_test:{name}",), limit=1), tmp_path / name)
        assert not (tmp_path / name / "parts").exists()
    assert measures(list(MEASURES)[::-1])[0].name == "localisation"


def test_the_readers_guide_has_every_column_of_further_measures():
    text = (GUIDE.parent / "rows.md").read_text()
    chosen = measures(["flipping", "randomisation", "sparseness"])[1:]
    lines = [
        f"| `{each.name}` | `{c.name}` | {c.kind} | {'yes' if c.null else ''} | {c.text} |"
        for each in chosen
        for c in each.columns
    ]
    section = text.split("### Tables of further measures")[1].split("\n## ")[0]
    assert re.findall(r"^\| `.*$", section, re.MULTILINE) == lines
    assert {f"`{name}`" for name in MEASURES} <= set(GUIDE.read_text().split())
