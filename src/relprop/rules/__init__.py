"""The rules of LRP, to be put into a `relprop.Composite`; one of your own subclasses `Rule`."""

from relprop.rules.attend import Attend
from relprop.rules.layer import Call, Kind, Layer, Rule, Share, Zero
from relprop.rules.lrp import AlphaBeta, Epsilon, Flat, Gamma, Pass, WSquare, Z, ZBox, ZPlus
from relprop.rules.norms import Absolute, Apart

__all__ = [
    "Absolute",
    "AlphaBeta",
    "Apart",
    "Attend",
    "Call",
    "Epsilon",
    "Flat",
    "Gamma",
    "Kind",
    "Layer",
    "Pass",
    "Rule",
    "Share",
    "WSquare",
    "Z",
    "ZBox",
    "ZPlus",
    "Zero",
]


def __dir__() -> list[str]:
    return __all__
