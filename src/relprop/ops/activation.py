"""Activations work on each number alone: relevance passes them unchanged."""

from __future__ import annotations

import torch
from torch import Tensor

from relprop.rules.division import quotient
from relprop.rules.layer import Rule, Share, Zero
from relprop.rules.lrp import Epsilon
from relprop.tape.tape import Node, Slot
from relprop.tape.visit import Visit

RECTIFIERS = ("relu", "relu6")
"""What gives a positive number for a positive number alone."""

BOUNDED = ("hardtanh", "clamp", "clamp_min", "clip")
"""What has bounds that a call names."""

OFFSET = frozenset({"sigmoid", "hardsigmoid", "softplus", "logsigmoid", "threshold", *BOUNDED, "clamp_max"})
"""What may give something for nothing, f(0) != 0: that part of its output does not come from the input."""


def activation(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """R_i = R_i of the output; where f(0) is not 0, R_i = (f(x) - f(0)) / (f(x) + eps sign(f(x))) R, the rest bias."""
    del rule
    none = [None] * (len(node.inputs) - 1)
    if node.op.name in OFFSET:
        zero = torch.zeros((), dtype=visit.dtype, device=R[0].device)
        offset: Tensor = node.call([zero], visit.dtype)
        if bool(offset != 0):
            return _without_offset(node, R[0], offset, visit)
    zero_proof = Zero.AS_ABOVE if node.op.name in RECTIFIERS else Zero.UNPROVED
    return Share((R[0], *none), zero=zero_proof)


def _without_offset(node: Node, R: Tensor, offset: Tensor, visit: Visit) -> Share:
    """What comes from the input is the difference to what the activation gives for zero."""
    out = node.outputs[0]
    f = node.call([node.inputs[0].data.to(visit.dtype)], visit.dtype) if out.rectified else out.data.to(visit.dtype)
    s, took = quotient(R, f, Epsilon().eps, 1.0, rows=out.owners.rows(out.shape), total=out.owners.total)
    return Share((s * (f - offset),), out.owners.total(s * offset), took)


def depends_on_more(node: Node) -> str | None:
    """Why an activation is none of its input alone, or None."""
    if len(node.inputs) > 1 or not isinstance(node.argument("input", 0), Slot):
        return "its bounds or slopes depend on the input; only constant ones pass relevance"
    return None


def random_slopes(node: Node) -> str | None:
    """Why a leaky ReLU is random, or None."""
    drawing = node.argument("training", 3, False)
    return "rrelu draws random slopes here; call it with training=False" if drawing else None
