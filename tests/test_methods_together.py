"""Several methods in one walk: each gets what it gets alone, wherever their ways part and meet again."""

import pytest
import torch
from torch import nn

import relprop as rp
from conftest import randomised

D = torch.float64
RULES = {"z": rp.rules.Z(), "eps": rp.rules.Epsilon(0.1), "a1": rp.rules.AlphaBeta(1), "a2": rp.rules.AlphaBeta(2)}


class TwoBranches(nn.Module):
    """A layer whose relevance waits while the other branch is walked."""

    def __init__(self):
        super().__init__()
        self.short, self.long1, self.long2 = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3)
        self.fc = nn.Linear(144, 5)

    def forward(self, x):
        short = self.short(x)
        return self.fc((short + self.long2(torch.relu(self.long1(x)))).flatten(1))


def composite(**by_path):
    return rp.Composite([(rp.on.path(path), RULES[rule]) for path, rule in by_path.items()])


TOGETHER = {
    "two of three go on together": [
        {"fc": "z", "long2": "z", "long1": "z", "short": "a1"},
        {"fc": "eps", "long2": "z", "long1": "z", "short": "a1"},
        {"fc": "a1", "long2": "z", "long1": "z", "short": "a2"},
    ],
    "the last two of three": [
        {"fc": "z", "long2": "z", "long1": "z", "short": "a2"},
        {"fc": "eps", "long2": "z", "long1": "z", "short": "a1"},
        {"fc": "a1", "long2": "z", "long1": "z", "short": "a1"},
    ],
    "two that parted on the other branch": [
        {"fc": "z", "long2": "a1", "long1": "z", "short": "a1"},
        {"fc": "z", "long2": "a2", "long1": "z", "short": "a1"},
        {"fc": "eps", "long2": "z", "long1": "z", "short": "a2"},
    ],
    "all that parted": [
        {"fc": "z", "long2": "a1", "long1": "eps", "short": "z"},
        {"fc": "eps", "long2": "a2", "long1": "z", "short": "z"},
        {"fc": "a1", "long2": "z", "long1": "a1", "short": "z"},
    ],
}


@pytest.mark.parametrize("targets", [[1], [0, 3]])
@pytest.mark.parametrize("case", TOGETHER)
def test_each_method_is_as_it_is_alone(case, targets):
    model, x = randomised(TwoBranches()), torch.randn(1, 3, 8, 8, dtype=D)
    methods = {str(k): composite(**rules) for k, rules in enumerate(TOGETHER[case])}
    together = rp.explain(model, x, targets, methods)
    for name, method in methods.items():
        alone = rp.explain(model, x, targets, {name: method})
        torch.testing.assert_close(together.relevance[name], alone.relevance[name], rtol=1e-12, atol=1e-14)
        for column in ("bias", "eps", "lost"):
            ours, theirs = (each.ledger[name].sum(column) for each in (together, alone))
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_methods_that_start_at_the_logit_and_at_one():
    model, x = randomised(TwoBranches()), torch.randn(2, 3, 8, 8, dtype=D)
    rules = [(rp.on.any, rp.rules.Z())]
    e = rp.explain(model, x, [2], {"logit": rp.Composite(rules), "one": rp.Composite(rules, start="one")})
    torch.testing.assert_close(e.ledger["one"].start, torch.ones(1, 2, dtype=D))
    torch.testing.assert_close(e.ledger["logit"].start, e.outputs[None, :, 2])
    logits = e.outputs[:, 2].view(1, 2, 1, 1, 1)
    torch.testing.assert_close(e.relevance["one"] * logits, e.relevance["logit"], rtol=1e-10, atol=1e-14)


def test_methods_that_never_part_have_maps_of_their_own():
    e = rp.explain(randomised(TwoBranches()), torch.randn(1, 3, 8, 8, dtype=D), [1], {"a": "lrp-z", "b": "lrp-z"})
    kept = e.relevance["b"].clone()
    assert torch.equal(e.relevance["a"], kept)
    e.relevance["a"].zero_()
    assert torch.equal(e.relevance["b"], kept)
