"""The ways there are to explain a network with BatchNorm, each a composite by name.

A name is a frame, an alpha and what becomes of the bias that BatchNorm's shift is: "cmp2 in" is the paper's best,
CMP:alpha2+flat with the bias in the denominators.
"""

from __future__ import annotations

from collections.abc import Callable

import relprop as rp
from relprop import rules
from relprop.rules import Rule

BIASES: dict[str, Callable[[float], Rule]] = {
    "in": rules.AlphaBeta,
    "out": lambda alpha: rules.AlphaBeta(alpha, bias=False),
    "out, empty to other": lambda alpha: rules.AlphaBeta(alpha, bias=False, empty="other"),
    "apart, epsilon": lambda alpha: rules.Apart(rules.AlphaBeta(alpha), rules.Epsilon()),
    "apart, absolute": lambda alpha: rules.Apart(rules.AlphaBeta(alpha), rules.Absolute()),
    "apart, alpha-beta": lambda alpha: rules.Apart(rules.AlphaBeta(alpha), rules.AlphaBeta(alpha)),
}
"""What the bias of a convolution does under alpha-beta, by name."""


def everywhere(rule: Rule) -> rp.Composite:
    """One rule in every weighted op."""
    return rp.Composite([(rp.on.weighted, rule)])


def composed(conv: Rule, *, flat: bool = True) -> rp.Composite:
    """LRP_CMP: epsilon in the fully connected layers, flat in the input layer."""
    lowest = [(rp.on.first(1) & ~rp.on.head, rules.Flat())] if flat else []
    return rp.Composite([*lowest, (rp.on.head, rules.Epsilon()), (rp.on.weighted, conv)])


def ways() -> dict[str, rp.Composite | str]:
    """Every way by name."""
    found: dict[str, rp.Composite | str] = {}
    for alpha in (1, 2):
        for name, rule in BIASES.items():
            found[f"cmp{alpha} {name}"] = composed(rule(alpha))
            found[f"all{alpha} {name}"] = everywhere(rule(alpha))
    found["cmp2 in, no flat"] = composed(rules.AlphaBeta(2), flat=False)
    found["cmp2 in, empty to other"] = composed(rules.AlphaBeta(2, empty="other"))
    found["cmp2 apart, pass"] = composed(rules.Apart(rules.AlphaBeta(2), rules.Pass()))
    found["cmp gamma"] = composed(rules.Gamma(0.25))
    found["all gamma"] = everywhere(rules.Gamma(0.25))
    found["cmp absolute"] = composed(rules.Absolute())
    found["all absolute"] = everywhere(rules.Absolute())
    found["epsilon in"] = everywhere(rules.Epsilon())
    found["epsilon out"] = everywhere(rules.Epsilon(bias=False))
    found["epsilon to inputs"] = everywhere(rules.Epsilon(bias="inputs"))
    found["guided backprop"] = "guided-backprop"
    return found
