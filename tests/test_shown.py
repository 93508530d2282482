"""What a notebook and a terminal show of results: short lines and tables, never a dump of numbers."""

import base64
import copy

import pytest
import torch
from matplotlib.figure import Figure

import relprop as rp


@pytest.fixture(scope="module")
def shown():
    model = rp.models.load("digits-deep")
    x, mine = torch.rand(2, 3, 64, 64), rp.Composite([(rp.on.any, rp.rules.Z())])
    explanation = rp.explain(model, x, [6, 7], {"lrp-z": "lrp-z", "<b>mine": mine, "uniform": "uniform"})
    return model, explanation, rp.plan(model, x, mine)


def test_short_lines(shown):
    model, explanation, plan = shown
    ledger = explanation.ledger["lrp-z"]
    assert repr(explanation) == "Explanation(2 targets, 2 pictures, 10 outputs: lrp-z, <b>mine, uniform)"
    assert repr(ledger) == f"Ledger({len(ledger)} ops, 2 targets and 2 pictures)"
    assert repr(plan) == f"Plan(Composite([ (on.any, Z()), ]): {len(plan)} ops)"
    for result in (explanation, ledger, ledger[0], plan, explanation.ledger, model.patterns, model.patterns.layers):
        assert "tensor(" not in repr(result)
    assert all(len(repr(result)) < 120 for result in (explanation, ledger, ledger[0], plan, model.patterns))


def test_tables(shown):
    _, explanation, plan = shown
    ledger = explanation.ledger["lrp-z"]
    for result, rows in ((explanation, 6), (ledger, len(ledger)), (plan, len(plan))):
        assert result._repr_html_().count("<tr>") == rows + 1
        assert "<b>" not in result._repr_html_()
    first = explanation._repr_html_().split("<tr>")[2]
    total, bias = (float(explanation.relevance["lrp-z"][0, 0].sum()), float(ledger.sum("bias")[0, 0]))
    assert f"<td>6</td><td>{float(explanation.outputs[0, 6]):.6g}</td><td>lrp-z</td>" in first
    numbers = [float(cell.split("<")[0]) for cell in first.split("<td>")[4:]]
    assert numbers == pytest.approx([total, bias, 0, 0], abs=1e-4)
    assert str(explanation).splitlines()[2].split() == "target logit method relevance bias eps lost".split()
    assert len(str(explanation).splitlines()) == 4 + 6
    assert str(ledger).splitlines()[1].split()[:2] == [ledger[0].op, ledger[0].path]
    assert f"<td>{ledger[0].op} {ledger[0].path}</td>" in ledger._repr_html_()
    assert f"<td>{plan[3].rule}</td>" in plan._repr_html_()


def test_results_can_be_compared_and_be_keys(shown):
    model, explanation, plan = shown
    for result in (explanation, explanation.ledger["lrp-z"], explanation.ledger["lrp-z"][0], model.patterns):
        assert result == result  # noqa: PLR0124
        assert result != copy.copy(result)
        assert len({result: 1}) == 1
    assert plan == copy.copy(plan)


def test_a_figure_without_axes_is_shown_where_pyplot_is_imported():
    formatters = pytest.importorskip("IPython.core.formatters")
    notebook = formatters.DisplayFormatter()
    notebook.formatters["image/png"].for_type(Figure, lambda _: None)  # what pyplot has notebooks do with it
    figure = rp.plots.tokens([[1.0, -2.0]], [["no", " axes"]])
    assert not figure.axes
    data, _ = notebook.format(figure)
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
