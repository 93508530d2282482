"""Logarithms of sums of exponentials: Taylor's expansion at x, whose remainder is a bias."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import relprop as rp
from more_ops import D, assert_bounds, assert_definition, assert_equal, explained

OTHER = torch.randn(3, 4, dtype=D, generator=torch.Generator().manual_seed(5))


def log_sum(y, R, axis=-1):
    """x_i A_i R / y."""
    A, value = y.softmax(axis), y.logsumexp(axis, keepdim=True)
    return y * A / value * R.reshape(value.shape)


def log_softmax(y, R):
    """x_i (s_i - A_i sum s)."""
    s = R / y.log_softmax(-1)
    return y * (s - y.softmax(-1) * s.sum(-1, keepdim=True))


def running(y, R):
    """Of the first, of the first two, ..."""
    below = torch.zeros_like(y)
    for j in range(4):
        below[..., : j + 1] += log_sum(y[..., : j + 1], R[..., j])
    return below


def of_two(y, R, base=torch.e):
    power = base**y / (base**y + base**OTHER)
    value = torch.logaddexp(y, OTHER) if base == torch.e else torch.logaddexp2(y, OTHER)
    return y * power / value * R


DEFINED = {
    "logsumexp": (lambda y: y.logsumexp(2), log_sum),
    "logsumexp, kept": (lambda y: torch.logsumexp(y, (-1,), keepdim=True), log_sum),
    "logsumexp along two": (
        lambda y: y.logsumexp((1, 2))[:, None],
        lambda y, R: log_sum(y.flatten(1), R).view_as(y),
    ),
    "log_softmax": (lambda y: y.log_softmax(2), log_softmax),
    "log_softmax of nn": (lambda y: F.log_softmax(y, dim=-1), log_softmax),
    "logcumsumexp": (lambda y: y.logcumsumexp(2), running),
    "logaddexp": (lambda y: torch.logaddexp(y, OTHER), of_two),
    "logaddexp, turned": (lambda y: torch.logaddexp(OTHER, y), of_two),
    "logaddexp2": (lambda y: torch.logaddexp2(y, OTHER), lambda y, R: of_two(y, R, 2.0)),
}


@pytest.mark.parametrize("name", DEFINED)
def test_each_number_gets_its_slope(name):
    f, expected = DEFINED[name]
    assert_definition(f, expected, rtol=1e-11)


PAIRS = {
    "logaddexp is the sum of two": (
        lambda y: torch.logaddexp(y, y.flip(1)),
        lambda y: torch.logsumexp(torch.stack([y, y.flip(1)], 3), 3),
    ),
    "a log-softmax is a difference": (
        lambda y: y.log_softmax(2),
        lambda y: y - y.logsumexp(2, keepdim=True),
    ),
    "a softmin is a softmax": (
        lambda y: F.softmin(y, 2) @ y.transpose(1, 2),
        lambda y: torch.softmax(-y, 2) @ y.transpose(1, 2),
    ),
    "a softmin that is reached": (lambda y: F.softmin(y, 2), lambda y: torch.softmax(-y, 2)),
    "a running sum ends with all": (
        lambda y: y.logcumsumexp(2)[..., -1],
        lambda y: y.logsumexp(2),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_two_spellings_give_one_map(name):
    one, other = (explained(f) for f in PAIRS[name])
    assert one.relevance["it"].abs().max() > 0
    assert_equal(one.relevance["it"], other.relevance["it"], 1e-9)


def test_what_slopes_do_not_explain_is_a_bias():
    e = explained(lambda y: y.logsumexp(2))

    row = next(row for row in e.ledger["it"] if row.op == "logsumexp")
    assert row.bias.abs().max() > 0
    assert_equal(row.relevance_in, row.relevance_out + row.bias, 1e-12)


def test_a_masked_number_gets_none():
    def f(y):
        return y.masked_fill(torch.tensor([False, True, False, False]), -torch.inf).logsumexp(2)

    def expected(y, R):
        below = torch.zeros_like(y)
        below[..., [0, 2, 3]] = log_sum(y[..., [0, 2, 3]], R)
        return below

    assert_definition(f, expected, rtol=1e-11)


def test_in_single_precision_nothing_overflows():
    x = torch.randn(2, 5) * 100
    net = nn.Linear(5, 12).eval()
    e = rp.explain(lambda x: net(x).view(2, 3, 4).logcumsumexp(2).flatten(1), x, [3], ["lrp-z"])
    assert e.relevance["lrp-z"].isfinite().all()
    assert e.ledger["lrp-z"].error < 1e-5


BOUNDED = {
    "logsumexp": lambda y: y.sigmoid().logsumexp(2),
    "logcumsumexp": lambda y: y.tanh().logcumsumexp(2),
    "log_softmax": lambda y: y.log_softmax(2),
    "logaddexp": lambda y: torch.logaddexp(y.tanh(), OTHER),
    "logaddexp2": lambda y: torch.logaddexp2(y.tanh(), y.sigmoid()),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_bounds_hold(name):
    assert_bounds(BOUNDED[name])


def test_along_the_batch_is_refused():
    for f in (lambda y: y - y.logsumexp(0), lambda y: y.log_softmax(0), lambda y: y.logcumsumexp(0)):
        with pytest.raises(rp.UnsupportedOp, match="mixes the pictures"):
            explained(f)
