"""Products of two values, put together along axes: matmul and what is written with it.

A product with a constant is a linear layer (`ops.weighted`). Of two values the gate takes none, as in products one by
one (`ops.product`): weights that a softmax made are one, so the values take all (Ali et al. 2022). Two of a kind share
half and half (Achtibat et al. 2024, proposition 3.3).
"""

from __future__ import annotations

import torch
from torch import Tensor

from relprop.ops.call import Call
from relprop.ops.divided import divided
from relprop.ops.product import shares_by
from relprop.rules.layer import Rule, Share
from relprop.tape.tape import Bounds, Node, Slot
from relprop.tape.visit import Visit


def bilinear(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """R_a = 1/2 a (s b^T), R_b = 1/2 b (a^T s) for y = a b and s = R / (y + eps sign(y)).

    A gate takes none, and what it opens all, unless the rule is for gates as well.
    """
    (out,) = node.outputs
    y = out.data.to(visit.dtype)
    s, took = divided(R[0], y, out, rule)
    below = [
        value.data.to(visit.dtype) * slope * part if part else None
        for part, slope, value in zip(shares_by(rule, node), Call(node, visit).gradient([s]), node.inputs, strict=True)
    ]
    return Share(tuple(below), _share_of_constant(node, s), took)


def _share_of_constant(node: Node, s: Tensor) -> Tensor | float:
    """What a constant takes that is added in the same call: of baddbmm(c, a, b), of a bilinear layer's bias."""
    name = node.op.name
    constant = node.argument("input", 0) if name == "baddbmm" else node.argument("bias", 3)
    if name not in ("baddbmm", "bilinear") or not isinstance(constant, Tensor):
        return 0.0
    constant = constant.to(s.dtype)
    return node.outputs[0].owners.total(s * constant.masked_fill(constant.isinf(), 0.0))


def of_two_matrices(node: Node) -> str | None:
    """Why a product of two values is not understood, or None."""
    if any(len(value.shape) < 2 for value in node.inputs):
        return "a product of a vector and a matrix that both depend on the input; give the vector an axis, v[None]"
    several = len(node.inputs) > 2 or (node.op.name == "baddbmm" and isinstance(node.argument("input", 0), Slot))
    if several or {"beta", "alpha"} & set(node.kwargs):
        return "a sum and a product of values in one call; write it as c + a @ b"
    return None


def of_constant_weights(node: Node) -> str | None:
    """Why a bilinear layer is none of the numbers of one picture and constant weights, or None."""
    if any(isinstance(node.argument(name, k), Slot) for name, k in (("weight", 2), ("bias", 3))):
        return "its weight depends on the input; write it with torch.einsum"
    first, *others = (value.owners.index for value in node.inputs)
    if any(index.shape != first.shape or not torch.equal(index, first) for index in others):
        return "it mixes the pictures of a batch; explain one picture at a time"
    return None


def bounds_of_sums(node: Node) -> Bounds:
    """Each number is a sum of n products."""
    a, b = node.inputs[0], node.inputs[-1]
    n = a.shape[-1]
    if not (a.bounded and b.bounded):
        return (0.0 if a.nonneg and b.nonneg else float("-inf")), float("inf")
    ends = [n * x * y for x in (a.low, a.high) for y in (b.low, b.high)]
    return min(ends), max(ends)
