"""Rules, selectors and composites are data: they compare by what they say, and go into sets and other processes."""

import pickle

import pytest
import torch
from torch import nn

import relprop as rp
from conftest import randomised

D = torch.float64


class Scaled(rp.rules.Rule):
    """A rule of a user's own, in a class that is no dataclass: its number stands in an attribute."""

    def __init__(self, factor):
        object.__setattr__(self, "factor", factor)

    def share(self, layer, R):
        share = layer.ratio(R, [(layer.x, layer.w)], layer.b)
        kept = share.relevance[0] * self.factor
        return rp.rules.Share((kept,), share.bias, share.eps, lost=layer.total(R) * 0 + self.lost(share))

    def lost(self, share):
        return share.relevance[0].flatten(2).sum(2) * (1 - self.factor)


def test_two_rules_of_one_plain_class_with_other_numbers_are_two_rules():
    assert Scaled(0.5) == Scaled(0.5)
    assert Scaled(0.5) != Scaled(0.25)
    assert len({Scaled(0.5), Scaled(0.25), Scaled(0.5)}) == 2
    model = randomised(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)))
    methods = {str(f): rp.Composite([(rp.on.head, Scaled(f)), (rp.on.any, rp.rules.Z())]) for f in (1.0, 0.5, 0.25)}
    x = torch.randn(2, 3, 8, 8, dtype=D)
    e = rp.explain(model, x, [1], methods)
    whole = rp.attribute(model, x, 1, "lrp-z")
    for factor in (1.0, 0.5, 0.25):
        torch.testing.assert_close(e.relevance[str(factor)][0], factor * whole)
        assert e.ledger[str(factor)].error < 1e-12


def test_rules_of_two_classes_are_two_though_their_numbers_are_equal():
    assert rp.rules.Epsilon(0.0) != rp.rules.Z()
    assert rp.rules.AlphaBeta(1, 0.0) != rp.rules.ZPlus()
    assert rp.rules.Epsilon() == rp.rules.Epsilon(1e-6)
    assert hash(rp.rules.AlphaBeta(2)) == hash(rp.rules.AlphaBeta(2, -1))


SELECTORS = {
    "conv": lambda: rp.on.conv,
    "head": lambda: rp.on.head,
    "any": lambda: rp.on.any,
    "path": lambda: rp.on.path("features.*"),
    "another path": lambda: rp.on.path("features.1"),
    "first": lambda: rp.on.first(3, of=rp.on.conv),
    "first of others": lambda: rp.on.first(3),
    "fewer": lambda: rp.on.first(2, of=rp.on.conv),
    "last": lambda: rp.on.last(3, of=rp.on.conv),
    "before": lambda: rp.on.before(rp.on.head, of=rp.on.conv),
    "both": lambda: rp.on.conv & ~rp.on.head,
    "either": lambda: rp.on.conv | ~rp.on.head,
}


def composites():
    def made(start=None, eps=1e-6):
        entries = [(rp.on.first(2, of=rp.on.conv), rp.rules.Flat()), (rp.on.any, rp.rules.Epsilon(eps))]
        return rp.Composite(entries, start=start)

    return {"plain": made(), "from one": made("one"), "from the logit": made("logit"), "other eps": made(eps=0.1)}


@pytest.mark.parametrize("case", SELECTORS)
def test_selectors_compare_by_value(case):
    made = SELECTORS[case]
    others = [make() for name, make in SELECTORS.items() if name != case]
    assert made() == made()
    assert hash(made()) == hash(made())
    assert made() not in others
    again = pickle.loads(pickle.dumps(made()))
    assert again == made()
    assert repr(again) == repr(made())
    assert again not in others


@pytest.mark.parametrize("case", composites())
def test_composites_compare_by_value(case):
    made = composites()[case]
    others = [composite for name, composite in composites().items() if name != case]
    assert made == composites()[case]
    assert hash(made) == hash(composites()[case])
    assert made not in others  # those that differ only in where relevance starts among them
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    assert again not in others
    assert repr(again) == repr(made)


def test_a_composite_from_another_process_gives_the_same_map():
    model = randomised(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)))
    x = torch.randn(2, 3, 8, 8, dtype=D)
    composite = rp.Composite([(rp.on.first(), rp.rules.Flat()), (rp.on.any, rp.rules.Epsilon())], start="one")
    here, there = (rp.attribute(model, x, 1, each) for each in (composite, pickle.loads(pickle.dumps(composite))))
    assert torch.equal(here, there)


def test_rules_of_two_classes_are_two_whatever_their_numbers():
    class Louder(rp.rules.Epsilon):
        """The same numbers, another rule."""

    assert rp.rules.ZPlus() != rp.rules.AlphaBeta(1.0, 0.0)
    assert Louder(0.5) != rp.rules.Epsilon(0.5)
    assert rp.rules.Epsilon(0.5) != Louder(0.5)
