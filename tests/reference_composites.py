"""Composites as plain data, for the reference: what is asked for by name, and what fits what.

[(("first", 1, ("weighted",)), ("Flat",)), (("head",), ("Epsilon", 0.1)), (("weighted",), ("AlphaBeta", 2.0))]
"""

from collections.abc import Sequence
from typing import Any

import relprop as rp

Selector = tuple[Any, ...]
Rule = tuple[Any, ...]
Composite = Sequence[tuple[Selector, Rule]]


class RefusedError(Exception):
    """The composite cannot be meant: the engine must refuse it too."""


def as_relprop(composite: Composite) -> rp.Composite:
    """The same composite for the engine."""
    return rp.Composite([(_selector(selector), _rule(rule)) for selector, rule in composite])


def _selector(selector: Selector) -> Any:
    name, *rest = selector
    if name == "and":
        return _selector(rest[0]) & _selector(rest[1])
    if name == "or":
        return _selector(rest[0]) | _selector(rest[1])
    if name == "not":
        return ~_selector(rest[0])
    if name in ("first", "last"):
        return getattr(rp.on, name)(rest[0], of=_selector(rest[1]))
    return rp.on.path(rest[0]) if name == "path" else getattr(rp.on, name)


def _rule(rule: Rule) -> Any:
    name, *numbers = rule
    return getattr(rp.rules, name)(**dict(zip(ARGUMENTS[name], numbers, strict=False)))


ARGUMENTS = {
    "Z": (),
    "Epsilon": ("eps",),
    "AlphaBeta": ("alpha", "beta", "bias"),
    "ZPlus": (),
    "Gamma": ("gamma",),
    "Flat": ("padding",),
    "WSquare": ("bias",),
    "ZBox": ("low", "high"),
    "Pass": (),
}

HEAD, CONV, ANY, ALL = ("head",), ("conv",), ("any",), ("weighted",)
FIRST = ("first", 1, ALL)
FLAT = ("and", FIRST, ("not", HEAD))
STACK = ("before head",)
"""Convolutions, pools, additions and norms before the first fully connected op; no selector of the public names."""


def _composed(conv: Rule, *below: tuple[Selector, Rule], eps: float = 1e-6) -> Composite:
    return [*below, (HEAD, ("Epsilon", eps)), (ALL, conv)]


NAMED: dict[str, Composite] = {
    "lrp-z": [(ANY, ("Z",))],
    "lrp-epsilon": [(ANY, ("Epsilon", 1e-6))],
    "lrp-epsilon:eps=0.1": [(ANY, ("Epsilon", 0.1))],
    "lrp-alpha1": [(ALL, ("AlphaBeta", 1.0))],
    "lrp-alpha2": [(ALL, ("AlphaBeta", 2.0))],
    "cmp-alpha1": _composed(("AlphaBeta", 1.0)),
    "cmp-alpha2": _composed(("AlphaBeta", 2.0)),
    "cmp-alpha1-flat": _composed(("AlphaBeta", 1.0), (FLAT, ("Flat",))),
    "cmp-alpha2-flat": _composed(("AlphaBeta", 2.0), (FLAT, ("Flat",))),
    "cmp-alpha2-flat:layers=2": _composed(
        ("AlphaBeta", 2.0), (FLAT, ("Flat",)), (("first", 2, ("and", CONV, ("not", HEAD))), ("Flat",))
    ),
    "cmp-alpha1-flat:layers=stack": _composed(("AlphaBeta", 1.0), (FLAT, ("Flat",)), (STACK, ("Flat",))),
    "cmp-alpha1-zbox:low=-2,high=3": _composed(("AlphaBeta", 1.0), (FIRST, ("ZBox", -2.0, 3.0))),
    "cmp-alpha2-zbox:low=-3,high=3": _composed(("AlphaBeta", 2.0), (FIRST, ("ZBox", -3.0, 3.0))),
    "epsilon-gamma-box:low=-3,high=3": _composed(("Gamma", 0.25), (FIRST, ("ZBox", -3.0, 3.0))),
    "epsilon-plus": _composed(("ZPlus",)),
    "epsilon-plus-flat": _composed(("ZPlus",), (FLAT, ("Flat",))),
    "excitation-backprop": [(ALL, ("AlphaBeta", 1.0, 0.0, False))],
}
"""Methods of LRP by name, written out."""

STARTS_AT_ONE = ("excitation-backprop",)

FITS: dict[str, tuple[str, ...]] = {
    "Z": ("conv", "linear", "average", "interpolate", "norm", "add"),
    "Epsilon": ("conv", "linear", "average", "interpolate", "norm", "add"),
    "Flat": ("conv", "linear", "average", "interpolate", "norm", "add", "max"),
    "Pass": ("conv", "linear", "average", "interpolate", "norm", "max", "activation"),
}
"""Kinds of op that take a rule whoever hands it to them; other rules are for weighted ops alone."""

ASKED: dict[str, tuple[str, ...]] = {
    "conv": ("conv",),
    "linear": ("linear",),
    "pool": ("average", "interpolate", "max"),
    "norm": ("norm",),
    "add": ("add",),
    "activation": ("activation",),
}
"""Kinds that a selector asks for by name; averages and norms then take every rule."""


def asked_for(selector: Selector) -> set[str]:
    """The kinds of op that a selector names."""
    name, *rest = selector
    if name in ("and", "or"):
        return asked_for(rest[0]) | asked_for(rest[1])
    return set(ASKED.get(name, ()))
