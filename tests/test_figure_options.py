"""What figures of the command line say: under each map what is true of its method, and every option's effect."""

import numpy as np
import pytest
import torch

import relprop as rp
from relprop.commands.asked import Asked
from relprop.commands.look import accounts
from relprop.plots.heatmaps import below, heatmaps
from test_honest_figures import Net, photograph, texts

REFUSED = {"pattern-net", "pattern-attribution", "attention-rollout"}
"""Without patterns fitted to the network, and without attention."""
AT_ONE = "excitation-backprop"


def asked(methods):
    model = Net().eval()
    return Asked(model, "net", model.preprocess, model.classes, [0, 1, 2], methods, 1, "paper", torch.device("cpu"))


@pytest.fixture(scope="module")
def explained():
    """By method, what the command finds, and what `relprop.explain` does."""
    found = {}
    for method in rp.methods():
        question = asked([method])
        x = question.preprocess(photograph())[None]
        try:
            (each,) = question.explain(x, [np.asarray(photograph())])
        except rp.RelpropError:
            continue
        found[method] = each, rp.explain(question.model, x, [0, 1, 2], [method])
    return found


def test_what_stands_under_a_map_is_true_of_every_method(explained):
    assert set(rp.methods()) - set(explained) == REFUSED
    for method, (found, e) in explained.items():
        for row, account in enumerate(accounts(found)[method]):
            ledger = e.ledger.get(method)
            assert account.value == pytest.approx(float(e.values[row, 0]), rel=1e-5)
            assert account.total == pytest.approx(float(e.map(row, method).double().sum()), rel=1e-4, abs=1e-5)
            if ledger is None:
                assert (account.start, account.share) == (None, None)
                assert below(account).startswith("attribution: its sum is")
            else:
                assert account.start == pytest.approx(float(ledger.start[row, 0]), rel=1e-4, abs=1e-5)
                assert account.start == pytest.approx(1.0 if method == AT_ONE else account.value, rel=1e-4)
                assert ("its start" in account.words()) == (method == AT_ONE)
    assert {method for method, (_, e) in explained.items() if not e.ledger} >= {"gradient", "guided-backprop", "cam"}


def test_a_figure_says_that_relevance_starts_at_one(explained):
    found, _ = explained[AT_ONE]
    held = accounts(found)[AT_ONE]
    said = texts(heatmaps(found.seen, ["a", "b", "c"], found.maps, accounts=accounts(found)))
    assert all("of its start, 1.000, on pixels" in account.words() for account in held)
    assert all(account.words() in {words.partition("\n")[0] for words in said} for account in held)
    assert held[1].share == pytest.approx(1, abs=1e-5)
