"""Softmax, and attention in one call.

By default attention's weights are a gate, as all that is proved bounded: the values take all relevance, and queries
and keys none (CP-LRP, Ali et al. 2022). Where relevance does come to a softmax it goes on by AttnLRP's rule.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from relprop.ops.bounds import hull
from relprop.rules.division import at_once, quotient
from relprop.rules.layer import Rule, Share
from relprop.rules.lrp import Epsilon
from relprop.tape.tape import Bounds, Node, Slot, Value
from relprop.tape.visit import Visit

AT_ONCE = 2**22
"""So many numbers of attention's weights are made at a time."""


def softmax(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """R_i = x_i (R_i - A_i sum_j R_j), 0 where A_i is 0; the rest is bias.

    Achtibat et al. (2024), proposition 3.1: Taylor's expansion at x. Its remainder sum_j R_j (1 - x_j + sum_i A_i x_i)
    is summed by that formula, so that the ledger tells a mistake.
    """
    del rule
    (upper,), (out,) = R, node.outputs
    axis = axis_of(node)
    A, x = out.data.to(visit.dtype), node.inputs[0].data.to(visit.dtype)
    x = x.masked_fill(A == 0, 0.0)  # of a mask: no -inf times 0
    below = x * (upper - A * upper.sum(axis, keepdim=True))
    rest = upper * (1.0 - x + (A * x).sum(axis, keepdim=True))
    return Share((below,), out.owners.total(rest.expand(upper.shape)))


def axis_of(node: Node) -> int:
    """The axis of a softmax, counted from the end."""
    dim = node.argument("dim", 1)
    ndim = len(node.inputs[0].shape)
    if dim is None:  # torch's old choice, which nn.functional still has
        dim = 0 if ndim in (0, 1, 3) else 1
    return int(dim) - ndim if dim >= 0 else int(dim)


def over_pictures(node: Node) -> str | None:
    """Why a softmax is none of a picture's own numbers, or None."""
    if node.inputs[0].owners.index.shape[axis_of(node)] > 1:
        return "it mixes the pictures of a batch; explain one picture at a time"
    return None


def attention(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """R_v = v (A^T s) for o = A v and s = R / (o + eps sign(o)): A, of queries and keys, is a gate.

    In blocks of queries: memory does not grow with heads x tokens^2.
    """
    (out,) = node.outputs
    eps = rule.eps if isinstance(rule, Epsilon) else Epsilon().eps
    s, took = quotient(
        R[0], out.data.to(visit.dtype), eps, 1.0, rows=out.owners.rows(out.shape), total=out.owners.total
    )
    call = AttentionCall.of(node, visit)
    heads, length = call.v.shape[:-1], call.q.shape[-2]
    slope = s.new_zeros(len(s), *s.shape[1:-2], *call.v.shape[-2:])
    rows = max(1, at_once(s, AT_ONCE) // max(1, math.prod(s.shape[1:-2]) * heads[-1]))
    for start in range(0, length, rows):
        block = slice(start, start + rows)
        slope += call.weights(block).mT @ s[..., block, :]
    below = call.v * slope
    value = value_of(node)
    given = tuple(call.folded(below, value) if v is value else None for v in node.inputs)
    return Share(given, eps=took)


class AttentionCall:
    """The numbers of one call of attention, with as many heads for keys and values as for queries."""

    def __init__(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, groups: int) -> None:
        self.q, self.k, self.v = q, k, v
        self.mask = mask
        self.scale = scale
        self.groups = groups

    @classmethod
    def of(cls, node: Node, visit: Visit) -> AttentionCall:
        """As it was recorded."""
        q, k, v = (_held(node, name, n, visit) for n, name in enumerate(("query", "key", "value")))
        scale = node.argument("scale", 6)
        groups = 1
        if node.argument("enable_gqa", 7, False):
            groups = q.shape[-3] // v.shape[-3]
            k, v = (t.repeat_interleave(q.shape[-3] // t.shape[-3], -3) for t in (k, v))
        mask = node.argument("attn_mask", 3)
        given = None if mask is None else _held(node, "attn_mask", 3, visit)
        if node.argument("is_causal", 5, False):
            given = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()
        return cls(q, k, v, given, q.shape[-1] ** -0.5 if scale is None else float(scale), groups)

    def weights(self, block: slice) -> Tensor:
        """The softmax of some queries, 0 where all is masked."""
        scores = self.scale * (self.q[..., block, :] @ self.k.mT)
        if self.mask is not None:
            mask = self.mask if self.mask.shape[-2] == 1 else self.mask[..., block, :]
            scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        return scores.softmax(-1).nan_to_num(0.0)

    def folded(self, R: Tensor, value: Value) -> Tensor:
        """Relevance of the values as they were given: heads that share one, and axes that were repeated, added up."""
        if self.groups > 1:
            R = R.unflatten(-3, (-1, self.groups)).sum(-3)
        extra = R.ndim - 1 - len(value.shape)
        R = R.sum([*range(1, 1 + extra)]) if extra else R
        repeated = [n + 1 for n, size in enumerate(value.shape) if size == 1 and R.shape[n + 1] != 1]
        return R.sum(repeated, keepdim=True) if repeated else R


def _held(node: Node, name: str, position: int, visit: Visit) -> Tensor:
    """An argument's numbers, in the precision of relevance."""
    argument: Any = node.argument(name, position)
    tensor = node.inputs[argument.k].data if isinstance(argument, Slot) else argument
    return tensor.to(visit.dtype) if tensor.is_floating_point() else tensor


def value_of(node: Node) -> Value | None:
    """The values that attention weighs; None where they are constants."""
    argument = node.argument("value", 2)
    return node.inputs[argument.k] if isinstance(argument, Slot) else None


def the_values_alone(node: Node) -> list[bool]:
    """Queries, keys and masks open a gate: the values alone receive relevance."""
    value = node.argument("value", 2)
    return [isinstance(value, Slot) and k == value.k for k in range(len(node.inputs))]


def not_understood(node: Node) -> str | None:
    """Why a call of attention cannot be explained, or None."""
    if node.argument("dropout_p", 4, 0.0) > 0:
        return "it drops weights at random; call it with dropout_p=0.0 in eval mode"
    if value_of(node) is None:
        return "its values are constants, so that relevance could come through its weights alone; they are a gate"
    return None


def bounds_of_mean(node: Node) -> Bounds:
    """A weighted mean of the values, or 0 where all is masked."""
    value = value_of(node)
    return (-math.inf, math.inf) if value is None else hull(((value.low, value.high), (0.0, 0.0)))
