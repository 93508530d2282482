"""What tests of patterns share: the estimators by name, networks to fit patterns of, and how to read a pattern."""

import torch.nn.functional as F
from torch import nn

from conftest import randomised
from relprop.catalogue.patterns import ESTIMATORS

TWO, WITH_BIAS, LINEAR = ESTIMATORS


class Model(nn.Module):
    """What a function of a ModuleDict makes of x, as (B, C)."""

    def __init__(self, run, **parts):
        super().__init__()
        self.parts = nn.ModuleDict(parts)
        self.run = run

    def forward(self, x):
        return self.run(self.parts, x).flatten(1)


def learned(patterns, key):
    return patterns.layers[key].a.double().numpy()


def small():
    """Convolutions with all that a pattern has to find its way through."""
    return randomised(
        Model(
            lambda p, x: p["fc"](p["pool"](p["b"](F.relu(p["norm"](p["a"](x)))).relu()).flatten(1)),
            a=nn.Conv2d(3, 4, 3, padding=1),
            norm=nn.BatchNorm2d(4),
            b=nn.Conv2d(4, 6, 3, padding=1),
            pool=nn.MaxPool2d(2),
            fc=nn.Linear(6 * 9, 5),
        )
    )
