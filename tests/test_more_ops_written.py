"""y[:, a:b] += z, and what Python makes of it, gives the map of the same step without in-place."""

import pytest
import torch

import relprop as rp
from more_ops import Around, assert_equal, explained, inputs


def parts(y, middle):
    return torch.cat([y[:, :1], middle, y[:, 2:]], 1)


def add(y):
    y = y * 1
    z = y.sum(2, keepdim=True)
    y[:, 1:2] += z[:, :1]
    return y


def twice(y):
    y = y * 1
    g = torch.sigmoid(y)
    y[:, 1:2] *= g[:, :1]
    y[:, 1:2] += y[:, :1]
    return y + g


def of_one_row(y):
    y = y * 1
    y[:, 1] -= 2 * y[:, 0]
    return y


def nested(y):
    y = y * 1
    for k in range(1, 3):
        y[:, k] += y[:, k - 1]
    return y


def relu_of_a_part(y):
    y = y * 1
    z = y * 2
    y[:, 1:2] /= 2
    return y + z


WRITTEN = {
    "add": (add, lambda y: parts(y * 1, (y * 1)[:, 1:2] + (y * 1).sum(2, keepdim=True)[:, :1])),
    "twice": (
        twice,
        lambda y: parts(y, y[:, 1:2] * torch.sigmoid(y)[:, :1] + y[:, :1]) + torch.sigmoid(y),
    ),
    "of one row": (of_one_row, lambda y: parts(y, (y[:, 1] - 2 * y[:, 0])[:, None])),
    "row after row": (
        nested,
        lambda y: torch.stack([y[:, 0], y[:, 1] + y[:, 0], y[:, 2] + (y[:, 1] + y[:, 0])], 1),
    ),
    "divided": (relu_of_a_part, lambda y: parts(y, y[:, 1:2] / 2) + y * 2),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_part_that_is_written_in_place(name):
    f, other = WRITTEN[name]
    x = inputs()
    e = explained(f)
    assert e.ledger["it"].error < 1e-9
    assert_equal(e.outputs, Around(f)(x))
    assert_equal(e.relevance["it"], explained(other).relevance["it"], 1e-6)
    assert_equal(e.relevance["it"][0], torch.cat([rp.attribute(Around(f), x[b : b + 1], 0, "lrp-z") for b in range(2)]))
    assert rp.check(Around(f), x, target=0).ok


def only_through_the_view(y):
    y = y * 1
    part = y[:, 1:2]
    part += 1
    return y


def in_between(y):
    y = y * 1
    part = y[:, 1:2]
    part += 1
    z = y * 2
    y[:, 1:2] = part
    return y + z


def another_view(y):
    y = y * 1
    other = y[:, 1]
    y[:, 1:2] += 1
    return y + other[:, None]


def another_place(y):
    y = y * 1
    part = y[:, 1:2]
    part += 1
    y[:, 2:3] = part
    return y


def two_at_once(y):
    y = y * 1
    part, other = y[:, 1:2], y[:, 2:3]
    part += 1
    other *= 2
    y[:, 1:2] = part
    return y


@pytest.mark.parametrize("f", [only_through_the_view, in_between, another_view, another_place, two_at_once])
def test_other_writes_through_a_view_are_refused(f):
    with pytest.raises(rp.UnsupportedOp, match="overwritten through a view"):
        explained(f)
