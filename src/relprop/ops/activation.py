"""Activations work on each number alone: relevance passes them unchanged."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from relprop.ops.divided import divided
from relprop.ops.fold import fold
from relprop.ops.remedies import NOTHING_FINITE
from relprop.rules.layer import Rule, Share, Zero
from relprop.tape.tape import Node, Slot
from relprop.tape.visit import Visit

RECTIFIERS = ("relu", "relu6")
"""What gives a positive number for a positive number alone."""

BOUNDED = ("hardtanh", "clamp", "clamp_min", "clip")
"""What has bounds that a call names."""

OFFSET = frozenset(
    {"sigmoid", "hardsigmoid", "softplus", "logsigmoid", "threshold", *BOUNDED, "clamp_max"}
    | {"exp", "exp2", "cos", "cosh", "acos", "erfc", "sinc", "i0", "pow", "rpow"}
    | {"log", "log2", "log10", "rsqrt", "reciprocal", "logit", "polygamma"}
)
"""What may give something for nothing, f(0) != 0: that part of its output does not come from the input."""


def activation(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """R_i = R_i of the output; where f(0) is not 0, R_i = (f(x) - f(0)) / (f(x) + eps sign(f(x))) R, the rest bias."""
    del rule
    none = [None] * (len(node.inputs) - 1)
    if node.op.name in OFFSET:
        zero = torch.zeros((), dtype=visit.dtype, device=R[0].device)
        offset: Tensor = node.call([zero], visit.dtype)
        if bool((offset != 0).any()):
            return _without_offset(node, R[0], offset, visit)
    zero_proof = Zero.AS_ABOVE if node.op.name in RECTIFIERS else Zero.UNPROVED
    return Share((R[0], *none), zero=zero_proof)


def _without_offset(node: Node, R: Tensor, offset: Tensor, visit: Visit) -> Share:
    """What comes from the input is the difference to what the activation gives for zero."""
    out = node.outputs[0]
    f = node.call([node.inputs[0].data.to(visit.dtype)], visit.dtype) if out.rectified else out.data.to(visit.dtype)
    s, took = divided(R, f, out)
    return Share((s * (f - offset),), out.owners.total(s * offset), took)


def beside_constant(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """The same for a function of each number and of a constant, which may be wider than the value."""
    del rule
    value, (out,) = node.inputs[0], node.outputs
    nothing = node.call([torch.zeros_like(value.data, dtype=visit.dtype)], visit.dtype)
    if not bool(nothing.any()):
        return Share((fold(R[0], value.shape),))
    f = out.data.to(visit.dtype)
    s, took = divided(R[0], f, out)
    return Share((fold(s * (f - nothing), value.shape),), out.owners.total(s * nothing), took)


def depends_on_more(node: Node) -> str | None:
    """Why an activation is none of its input alone, or None."""
    if len(node.inputs) > 1 or not isinstance(node.argument("input", 0), Slot):
        return "its bounds or slopes depend on the input; only constant ones pass relevance"
    return None


def beside_values(node: Node) -> str | None:
    """Why a function of a number and a constant is none, or None."""
    if depends_on_more(node) is None:
        return None
    return f"it has a rule for a value and a constant beside it, in this order; write it as {OF_VALUES[node.op.name]}"


OF_VALUES = {
    "remainder": "a - b * torch.floor(a / b)",
    "fmod": "a - b * torch.trunc(a / b)",
    "copysign": "a.abs() * torch.sign(b)",
    "atan2": "torch.atan(a / b) where b is proved positive",
}
"""How functions of two values are written with rules."""


def no_constant_power(node: Node) -> str | None:
    """Why a power is no function of each number that has a value for nothing, or None."""
    base, exponent = node.argument("input", 0), node.argument("exponent", 1)
    if node.op.name == "rpow":  # of y in c ** y
        base, exponent = node.argument("other", 1), base
    if len(node.inputs) > 1 or not (_one_number(base) or _one_number(exponent)):
        return POWER
    constant = float(base if _one_number(base) else exponent)
    if _one_number(base):
        return None if constant > 0 else "a power of a base that is not positive has no rule; use torch.exp"
    return None if constant >= 0 else NOTHING_FINITE


POWER = (
    "a power has a rule where base or exponent is one constant number; write x ** y as "
    "torch.exp(y * torch.log(x + 1e-6))"
)


def _one_number(argument: Any) -> bool:
    """Whether an argument is a constant number, or a tensor that holds one."""
    return isinstance(argument, (int, float)) or (isinstance(argument, Tensor) and argument.numel() == 1)


def random_slopes(node: Node) -> str | None:
    """Why a leaky ReLU is random, or None."""
    drawing = node.argument("training", 3, False)
    return "rrelu draws random slopes here; call it with training=False" if drawing else None
