"""Logarithms of sums of exponentials, by Taylor's expansion at x, as a softmax (`ops.softmax`).

y = log sum_i exp(x_i) has the slopes A = softmax(x): R_i = x_i A_i R / y. What they do not explain, y - sum_i A_i x_i,
comes from no input: it is a bias, summed by that formula, so that the ledger tells a mistake.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from relprop.ops.bounds import FREE, of_argument
from relprop.ops.divided import divided
from relprop.ops.fold import fold
from relprop.ops.softmax import axis_of
from relprop.rules.layer import Rule, Share
from relprop.tape.axes import axes_of
from relprop.tape.tape import Bounds, Node, Slot
from relprop.tape.visit import Visit


def log_sum(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """R_i = x_i A_i R / (y + eps sign(y)) along axes."""
    x, y = node.inputs[0].data.to(visit.dtype), node.outputs[0].data.to(visit.dtype)
    axes = axes_of(node, x.ndim)
    wide = [1 if axis in axes else n for axis, n in enumerate(x.shape)]
    s, took = divided(R[0], y, node.outputs[0], rule)
    A = (x - y.reshape(wide)).exp()
    shares = x.masked_fill(A == 0, 0.0) * A  # of a mask: no -inf times 0
    rest = y - shares.sum(axes).reshape(y.shape)
    return Share((s.reshape(len(s), *wide) * shares,), node.outputs[0].owners.total(s * rest), took)


def log_softmax(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """R_i = x_i (s_i - A_i sum_j s_j) for y = x - log sum exp(x) and s = R / (y + eps sign(y))."""
    axis = axis_of(node)
    x, y = node.inputs[0].data.to(visit.dtype), node.outputs[0].data.to(visit.dtype)
    s, took = divided(R[0], y.masked_fill(y.isinf(), 0.0), node.outputs[0], rule)
    A = y.exp()
    x = x.masked_fill(A == 0, 0.0)
    below = x * (s - A * s.sum(axis, keepdim=True))
    rest = y.masked_fill(y.isinf(), 0.0) - x + (A * x).sum(axis, keepdim=True)
    return Share((below,), node.outputs[0].owners.total(s * rest), took)


def running_log_sum(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """R_i = x_i sum_j>=i exp(x_i - y_j) R_j / (y_j + eps sign(y_j))."""
    x, y = node.inputs[0].data.to(visit.dtype), node.outputs[0].data.to(visit.dtype)
    s, took = divided(R[0], y, node.outputs[0], rule)
    if x.ndim == 0:
        return Share((s * x,), node.outputs[0].owners.total(s * (y - x)), took)
    (axis,) = axes_of(node, x.ndim)
    below, rest = torch.zeros_like(s), torch.zeros_like(s)
    for j in range(x.shape[axis]):  # no exponential leaves its range, as exp(x_i - y_j) <= 1
        y_j = y.narrow(axis, j, 1)
        shares = x.narrow(axis, 0, j + 1) * (x.narrow(axis, 0, j + 1) - y_j).exp()
        s_j = s.narrow(axis + 1, j, 1)
        below.narrow(axis + 1, 0, j + 1).add_(s_j * shares)
        rest.narrow(axis + 1, j, 1).copy_(s_j * (y_j - shares.sum(axis, keepdim=True)))
    return Share((below,), node.outputs[0].owners.total(rest), took)


def log_of_two(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """R_a = a A_a R / (y + eps sign(y)) for y = log(exp(a) + exp(b)), to base 2 likewise; a constant's is bias."""
    y = node.outputs[0].data.to(visit.dtype)
    s, took = divided(R[0], y, node.outputs[0], rule)
    below: list[Tensor | None] = [None] * len(node.inputs)
    rest = y
    power = torch.exp2 if node.op.name == "logaddexp2" else torch.exp
    for name, position in (("input", 0), ("other", 1)):
        term = node.argument(name, position)
        if isinstance(term, Slot):
            x = node.inputs[term.k].data.to(visit.dtype)
            share = x * power(x - y)
            below[term.k] = fold(s * share, node.inputs[term.k].shape)
            rest = rest - share
    return Share(tuple(below), node.outputs[0].owners.total(s * rest), took)


# -- bounds ------------------------------------------------------------------------------------------------


def of_log_sum(node: Node) -> Bounds:
    """At least the largest term, at most that and the logarithm of how many there are."""
    value = node.inputs[0]
    terms = math.prod(value.shape[axis] for axis in axes_of(node, len(value.shape)))
    few = 0.0 if node.op.name == "logcumsumexp" else math.log(max(terms, 1))
    return value.low + few, value.high + math.log(max(terms, 1))


def of_log_of_two(node: Node) -> Bounds:
    """Likewise, of two terms."""
    ends = [of_argument(node, node.argument(name, k)) for k, name in enumerate(("input", "other"))]
    if any(low == math.inf for low, _ in ends):  # whole numbers, of which nothing is known
        return FREE
    more = 1.0 if node.op.name == "logaddexp2" else math.log(2)
    return max(low for low, _ in ends), max(high for _, high in ends) + more
