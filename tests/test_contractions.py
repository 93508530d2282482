"""einsum and its kin are what they are written as."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import relprop as rp

D = torch.float64


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


W, V = torch.randn(5, 4, dtype=D), torch.randn(2, 3, 4, dtype=D)
PAIRS = {
    "a linear layer": (lambda y: torch.einsum("btc,dc->btd", y, W), lambda y: F.linear(y, W)),
    "the weight first": (lambda y: torch.einsum("dc,btc->btd", W, y), lambda y: F.linear(y, W)),
    "a list of operands": (lambda y: torch.einsum("btc,dc->bdt", [y, W]), lambda y: F.linear(y, W).transpose(1, 2)),
    "a permutation": (lambda y: torch.einsum("btc->bct", y), lambda y: y.transpose(1, 2)),
    "a sum": (lambda y: torch.einsum("btc->bt", y), lambda y: y.sum(2)),
    "without an arrow": (lambda y: torch.einsum("btc,cd", y, W.T), lambda y: F.linear(y, W).transpose(1, 2)),
    "scores": (lambda y: torch.einsum("btc,bsc->bts", y, y.tanh()), lambda y: y @ y.tanh().transpose(1, 2)),
    "attention": (
        lambda y: torch.einsum("bts,bsc->btc", torch.einsum("btc,bsc->bts", y, y).softmax(-1), y),
        lambda y: (y @ y.transpose(1, 2)).softmax(-1) @ y,
    ),
    "one by one": (lambda y: torch.einsum("btc,btc->btc", y, y.sigmoid()), lambda y: y * y.sigmoid()),
    "three operands": (
        lambda y: torch.einsum("btc,dc,de->bte", y, W, W[:, :2]),
        lambda y: F.linear(F.linear(y, W), W[:, :2].T.contiguous()),
    ),
    "tensordot": (lambda y: torch.tensordot(y, W, ([2], [1])), lambda y: F.linear(y, W)),
    "tensordot by number": (lambda y: torch.tensordot(y, W.T.contiguous(), 1), lambda y: F.linear(y, W)),
    "inner": (lambda y: torch.inner(y, W), lambda y: F.linear(y, W)),
    "cosine": (
        lambda y: F.cosine_similarity(y, V, 2),
        lambda y: (y / y.norm(dim=2, keepdim=True) * (V / V.norm(dim=2, keepdim=True))).sum(2),
    ),
    "trapezoid": (lambda y: torch.trapezoid(y, dim=2), lambda y: (y[..., 1:] + y[..., :-1]).sum(2) / 2),
    "dstack": (lambda y: torch.dstack([y, y.tanh()]), lambda y: torch.cat([y, y.tanh()], 2)),
}


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("method", ["lrp-z", "lrp-alpha1"])
def test_it_is_what_it_is_made_of(pair, method):
    one, other = PAIRS[pair]
    first = nn.Linear(4, 4).to(D)
    x = torch.randn(2, 3, 4, dtype=D)
    last = nn.Linear(other(x).flatten(1).shape[1], 3).to(D)
    torch.testing.assert_close(one(x), other(x))
    maps = [
        rp.explain(lambda x, f=f: last(f(first(x)).flatten(1)), x, [0, 2], [method], check=True) for f in (one, other)
    ]
    torch.testing.assert_close(maps[0].relevance[method], maps[1].relevance[method], rtol=1e-10, atol=1e-13)
    assert maps[0].ledger[method].error < 1e-13
    alone = None if pair == "cosine" else rp.attribute(lambda x: last(one(first(x)).flatten(1)), x[:1], 0, method)
    if alone is not None:
        torch.testing.assert_close(alone, maps[0].relevance[method][0, :1], rtol=1e-10, atol=1e-13)


def test_dots_and_diagonals_are_refused():
    x = torch.randn(2, 4, 4, dtype=D)
    for equation in ("b...->b...", "bii->bi"):
        with pytest.raises(rp.UnsupportedOp, match="name every axis once"):
            rp.attribute(lambda x, e=equation: torch.einsum(e, x).flatten(1), x, 0, "lrp-z")


def test_pictures_that_mix_are_refused():
    with pytest.raises(rp.UnsupportedOp, match="mixes the pictures"):
        rp.attribute(lambda x: torch.einsum("btc,atc->ba", x, x), torch.randn(2, 3, 4, dtype=D), 0, "lrp-z")
