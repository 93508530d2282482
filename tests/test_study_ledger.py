"""The ledger in a study's rows: where relevance went, and maps that are not what they are called."""

import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

import relprop as rp
from relprop.study.results import read_study
from relprop.study.runner import run
from relprop.study.schema import LEDGER, MEASURES
from relprop.study.store import Store, StudyError
from relprop.walk.ledger import Ledger, Row
from synthetic import write_study
from test_study import METHODS, assert_close, rows_of, task

COLUMNS = [column.name for column in LEDGER]
LEAKY = """
import torch, relprop as rp

class Leaky(rp.rules.Rule):
    def share(self, layer, R):
        s, _ = layer.quotient(R, layer.z, 1e-9)
        bright = layer.x.mean((1, 2, 3), keepdim=True) > 0
        given = layer.backward(s, layer.w).mul_(layer.x)
        given = torch.where(bright & (given > 0), 0.9 * given, given)
        return rp.rules.Share((given,), bias=layer.dot(s, layer.b))

method = rp.Composite([(rp.on.first(), Leaky()), (rp.on.any, rp.rules.Z())])
"""


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    place = tmp_path_factory.mktemp("reference")
    run(task(methods=(*METHODS, "lrp-z", "excitation-backprop")), place, batch=7)
    return place


def test_relevance_and_what_the_ledger_says_add_up_to_the_logit(reference):
    for row in rows_of(reference):
        if row["method"] in ("guided-backprop", "uniform"):
            assert all(row[column] is None for column in COLUMNS)
            continue
        whole = sum(row[column] for column in ("relevance_sum", "bias", "eps", "lost"))
        start = 1 if row["method"] == "excitation-backprop" else row["logit"]
        assert whole == pytest.approx(start, rel=1e-5, abs=2e-5)
        assert 0 <= row["conservation_error"] < 1e-5
        assert row["status"] in ("ok", "no_positive_relevance")
    assert max(abs(row["bias"]) for row in rows_of(reference) if row["method"] == "lrp-z") > 0.1


def test_the_ledger_of_another_batch_size_agrees_as_the_other_columns_do(reference, tmp_path):
    run(task(methods=(*METHODS, "lrp-z", "excitation-backprop")), tmp_path, batch=1)
    for ours, theirs in zip(rows_of(tmp_path), rows_of(reference), strict=True):
        assert_close(ours, theirs)


def test_the_record_is_replayed_on_the_first_batch_and_on_no_other(tmp_path, monkeypatch):
    asked = []

    def explain(*args, check, **options):
        asked.append(check)
        return rp.explain(*args, check=check, **options)

    monkeypatch.setattr("relprop.study.runner.explain", explain)
    run(task(number=6, methods=("lrp-z",), chunk=3), tmp_path, batch=2)
    assert len(asked) > 2
    assert asked == [True] + [False] * (len(asked) - 1)


def test_rows_whose_ledger_does_not_close_say_so_and_the_others_are_measured(tmp_path, monkeypatch):
    (tmp_path / "leaky_of_a_test.py").write_text(LEAKY)
    monkeypatch.chdir(tmp_path)
    methods = ("leaky_of_a_test:method", "lrp-z")
    run(task(methods=methods), tmp_path / "study", batch=7)
    rows = rows_of(tmp_path / "study")
    leaky = [row for row in rows if row["method"] == methods[0]]
    assert {row["status"] for row in rows if row["method"] == "lrp-z"} == {"ok"}
    study = task()
    x = {entry.id: study.preprocess(entry.open()) for entry in (study.data[k] for k in range(12))}
    assert 0 < sum(row["status"] == "ledger_open" for row in leaky) < len(leaky)
    for row in leaky:
        bright = bool(x[row["image_id"]].mean() > 0)
        assert row["status"] == ("ledger_open" if bright else "ok"), row["image_id"]
        assert (row["conservation_error"] > 1e-3) == bright
        figures = [*(measure.name for measure in MEASURES), *COLUMNS[1:]]
        if bright:
            assert all(row[column] is None for column in figures)
            assert row["logit"] is not None
        else:
            assert row["mu"] is not None
    opened = {(row["image_id"], row["class_name"]) for row in leaky if row["status"] == "ledger_open"}
    pairs = [row for row in rows_of(tmp_path / "study", "pairs") if row["method"] == methods[0]]
    assert pairs
    for row in pairs:
        of_open = any((row["image_id"], row[side]) in opened for side in ("class_a", "class_b"))
        assert (row["cosine"] is None) == of_open


def test_an_account_is_of_one_target_and_one_picture():
    zeros, ones = torch.zeros(2, 3), torch.ones(2, 3)
    handed_down = ones.clone()
    handed_down[0, 1], handed_down[1, 2] = 0.9, 1 - 1e-5
    row = Row("", "linear", "z", ones, handed_down, zeros, zeros, zeros, magnitude=2 * ones)
    ledger = Ledger(ones, handed_down, [row])
    wanted = torch.tensor([[0, 0.05, 0], [0, 0, 5e-6]])
    assert torch.allclose(ledger.errors, wanted, atol=1e-7)
    assert ledger.open.tolist() == [[False, True, False], [False, False, False]]
    assert ledger.error == float(ledger.errors.max())


def without(path, *columns):
    """Write a table anew without some of its columns."""
    table = parquet.read_table(path)
    parquet.write_table(table.select([name for name in table.column_names if name not in columns]), path)


def test_studies_of_before_the_ledger_are_read(tmp_path):
    store = write_study(tmp_path, 20, chunk=10)
    before = store.read("rows")
    without(tmp_path / "parts" / "part-000000" / "rows.parquet", *COLUMNS)
    rows = Store(tmp_path).read("rows")
    assert rows.schema.equals(before.schema)
    assert rows.drop_columns(COLUMNS).equals(before.drop_columns(COLUMNS))
    old = pa.array([index < 10 for index in rows["image_index"].to_pylist()])
    assert rows["bias"].filter(old).null_count == sum(old.to_pylist())
    assert rows["bias"].null_count == sum(old.to_pylist())
    assert read_study(tmp_path).rows.values["mu"].shape[0] > 20
    without(tmp_path / "parts" / "part-000001" / "rows.parquet", "method")
    with pytest.raises(StudyError, match=r"rows\.parquet: cannot be read"):
        Store(tmp_path).read("rows")
