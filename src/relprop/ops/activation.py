"""Activations work on each number alone: relevance passes them unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relprop.ops.table import Op, always, having, never, register, spellings
from relprop.rules.layer import Rule, Share
from relprop.rules.lrp import Pass
from relprop.tape.tape import Slot

if TYPE_CHECKING:
    from torch import Tensor

    from relprop.ops.context import Context
    from relprop.tape.tape import Node


def activation(node: Node, rule: Rule, R: list[Tensor], context: Context) -> Share:
    """R_i = R_i of the output."""
    del rule, context
    return Share((R[0], *[None] * (len(node.inputs) - 1)), proportional=None if node.op.name in RECTIFIERS else False)


def _bounded_by_zero(node: Node) -> bool:
    least, most = {"hardtanh": ("min_val", "max_val")}.get(node.op.name, ("min", "max"))
    low, high = node.argument(least, 1, -1), node.argument(most, 2)
    if not isinstance(low, (int, float)) or not isinstance(high, (int, float, type(None))):
        return False
    return low >= 0 and (high is None or high >= 0)  # where high is below low, torch gives high


RECTIFIERS = ("relu", "relu6")
"""What gives a positive number for a positive number alone."""

NEVER_NEGATIVE = ("relu", "relu6", "sigmoid", "hardsigmoid")
OTHERS = (
    "leaky_relu elu selu celu gelu silu mish hardswish tanh softsign logsigmoid hardshrink softshrink "
    "tanhshrink prelu threshold clamp_max softplus"
).split()


def _one_input(node: Node) -> str | None:
    if len(node.inputs) > 1 or not isinstance(node.argument("input", 0), Slot):
        return "its bounds or slopes depend on the input; only constant ones pass relevance"
    return None


def _dropping(node: Node) -> str | None:
    return (
        "rrelu draws random slopes here; call it with training=False" if node.argument("training", 3, False) else None
    )


BOUNDED = ("hardtanh", "clamp", "clamp_min", "clip")

for _names, _positive in ((NEVER_NEGATIVE, always), (BOUNDED, _bounded_by_zero), (OTHERS, never)):
    for _name in _names:
        register(
            Op(_name, "activation", activation, Pass(), positive=_positive, refuse=_one_input),
            *spellings(_name, *having(f"{_name}_")),
        )
register(Op("rrelu", "activation", activation, Pass(), refuse=_dropping), *spellings("rrelu", "rrelu_"))
register(Op("sigmoid", "activation", activation, Pass(), positive=always), *spellings("expit"))
