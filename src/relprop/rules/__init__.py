"""The rules of LRP, to be put into a `relprop.Composite`; one of your own subclasses `Rule`."""

from relprop.rules.layer import Layer, Rule, Share
from relprop.rules.lrp import AlphaBeta, Epsilon, Flat, Gamma, Pass, WSquare, Z, ZBox, ZPlus

__all__ = [
    "AlphaBeta",
    "Epsilon",
    "Flat",
    "Gamma",
    "Layer",
    "Pass",
    "Rule",
    "Share",
    "WSquare",
    "Z",
    "ZBox",
    "ZPlus",
]
