"""Networks in two spellings: one that has a fast path, and one that does the same and has none."""

import torch
from torch import nn

import relprop as rp
from conftest import Calls, randomised
from kernels import kernels_of

D = torch.float64
EVERY = ["lrp-z", "lrp-epsilon", "lrp-alpha1", "lrp-alpha2", "cmp-alpha1-flat", "cmp-alpha2-flat:layers=stack"]
MIXED = {
    **{name: name for name in EVERY},
    "gamma": rp.Composite([(rp.on.weighted, rp.rules.Gamma(0.3))]),
    # what flat and w-square hand down is not 0 where a ReLU gave 0, and the layer below divides it by what stood there
    "epsilon below flat": rp.Composite([(rp.on.path("4"), rp.rules.Flat()), (rp.on.weighted, rp.rules.Epsilon(1e-3))]),
    "gamma below w-square": rp.Composite(
        [(rp.on.path("4"), rp.rules.WSquare()), (rp.on.weighted, rp.rules.Gamma(0.3))]
    ),
}


class Clamp(nn.Module):
    """A ReLU of which nothing is known but that it gives no negative number."""

    def forward(self, y):
        return y.clamp(min=0)


def inplace():
    return nn.ReLU(inplace=True)


def network(act, norm=False):
    return randomised(
        nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6) if norm else nn.Identity(),
            act(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 4, 3, groups=2),
            act(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(16, 7),
            act(),
            nn.Linear(7, 5),
        )
    )


def networks(*acts, norm=False):
    """The same network with other ReLUs."""
    found = [network(act, norm) for act in acts]
    for other in found[1:]:
        other.load_state_dict(found[0].state_dict())
    return found


def twin(slow, fast, features=256):
    """Two networks of the same weights that do the same in two ways."""
    pair = [randomised(Calls(middle, features)) for middle in (slow, fast)]
    pair[1].load_state_dict(pair[0].state_dict())
    return pair


def picture(batch=2):
    """For `Calls`."""
    return torch.randn(batch, 3, 8, 8, dtype=D)


def pictures(batch=3):
    return torch.randn(batch, 3, 12, 12, dtype=D)


def beneath(model, x, targets, methods, **options):
    """What runs beneath an explanation."""
    return kernels_of(lambda: rp.explain(model, x, targets, methods, **options))


def assert_same(a, b):
    assert a.relevance.keys() == b.relevance.keys()
    for name, R in a.relevance.items():
        assert R.abs().max() > 0
        torch.testing.assert_close(R, b.relevance[name], rtol=1e-11, atol=1e-13)
    for name, ledger in a.ledger.items():
        assert ledger.error < 1e-12
        for mine, theirs in zip(ledger, b.ledger[name], strict=True):
            for column in ("relevance_in", "relevance_out", "bias", "eps", "lost", "magnitude"):
                torch.testing.assert_close(getattr(mine, column), getattr(theirs, column), rtol=1e-9, atol=1e-12)
