"""Activations work on each number alone: relevance passes them unchanged."""

from __future__ import annotations

from torch import Tensor

from relprop.rules.layer import Rule, Share, Zero
from relprop.tape.tape import Node, Slot
from relprop.tape.visit import Visit

RECTIFIERS = ("relu", "relu6")
"""What gives a positive number for a positive number alone."""

BOUNDED = ("hardtanh", "clamp", "clamp_min", "clip")
"""What has bounds that a call names."""


def activation(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """R_i = R_i of the output."""
    del rule, visit
    zero = Zero.AS_ABOVE if node.op.name in RECTIFIERS else Zero.UNPROVED
    return Share((R[0], *[None] * (len(node.inputs) - 1)), zero=zero)


def bounded_by_zero(node: Node) -> bool:
    """Whether a call's lower bound lets no negative number through."""
    least, most = {"hardtanh": ("min_val", "max_val")}.get(node.op.name, ("min", "max"))
    low, high = node.argument(least, 1, -1), node.argument(most, 2)
    if not isinstance(low, (int, float)) or not isinstance(high, (int, float, type(None))):
        return False
    return low >= 0 and (high is None or high >= 0)  # where high is below low, torch gives high


def depends_on_more(node: Node) -> str | None:
    """Why an activation is none of its input alone, or None."""
    if len(node.inputs) > 1 or not isinstance(node.argument("input", 0), Slot):
        return "its bounds or slopes depend on the input; only constant ones pass relevance"
    return None


def random_slopes(node: Node) -> str | None:
    """Why a leaky ReLU is random, or None."""
    drawing = node.argument("training", 3, False)
    return "rrelu draws random slopes here; call it with training=False" if drawing else None
