"""Functions that grow by c^d where their input grows by c: Euler's identity says exactly what each number gives.

sum_i x_i df/dx_i = d f, so R_i = x_i df/dx_i R / (d f), with nothing left over: of a norm x_i^2 / |x|^2, of a variance
x_i (x_i - mean) / sum of squares, as they would get it if it were written out as squares, sums and roots.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from relprop.ops.bounds import FREE
from relprop.ops.call import Call
from relprop.ops.divided import divided
from relprop.rules.layer import Rule, Share
from relprop.tape.axes import axes_of
from relprop.tape.tape import Bounds, HandDown, Node
from relprop.tape.visit import Visit


def of_degree(*degrees: Callable[[Node], float] | float) -> HandDown:
    """R_i = x_i sum_j df_j/dx_i R_j / (d f_j + eps): by the degree d of each output."""

    def homogeneous(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
        """By Euler's identity."""
        scaled, taken = [], torch.zeros((), dtype=visit.dtype, device=R[0].device)
        for upper, value, degree in zip(R, node.outputs, degrees, strict=True):
            d = degree(node) if callable(degree) else degree
            s, took = divided(upper, value.data.to(visit.dtype), value, rule)
            scaled.append(s / d)
            taken = taken + took
        slopes = Call(node, visit).gradient(scaled)
        below = (slope * value.data.to(visit.dtype) for slope, value in zip(slopes, node.inputs, strict=True))
        return Share(tuple(below), eps=taken)

    return homogeneous


def order_of_matrix(node: Node) -> float:
    """The degree of a determinant: the number of rows."""
    return float(node.inputs[0].shape[-1])


def no_length(node: Node) -> str | None:
    """Why a norm is no function that grows with its input, or None."""
    order = node.argument("ord", 1, node.argument("p", 1))
    if order == 0:
        return "it counts the numbers that are not 0, which carries no relevance; use another norm, such as p=1"
    return mixed_matrices(node) if isinstance(order, str) and order == "nuc" else None


def mixed_matrices(node: Node) -> str | None:
    """Why a function of matrices is none of one picture's own numbers, or None."""
    index = node.inputs[0].owners.index
    if any(n > 1 for n in index.shape[-2:]):
        return "it mixes the pictures of a batch; explain one picture at a time"
    return None


# -- products along an axis --------------------------------------------------------------------------------


def product_along(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """R_i = R / n: the factors are of one kind, and each gets as much, as two of a kind get half each."""
    del rule, visit
    x = node.inputs[0]
    axes = axes_of(node, len(x.shape))
    wide = [1 if axis in axes else n for axis, n in enumerate(x.shape)]
    factors = math.prod(x.shape[axis] for axis in axes)
    return Share(((R[0] / max(factors, 1)).reshape(len(R[0]), *wide).expand(len(R[0]), *x.shape).contiguous(),))


def running_product(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """R_i = sum_j>=i R_j / j: the j-th output has j factors."""
    del rule, visit
    x = node.inputs[0]
    if not x.shape:
        return Share((R[0],))
    (axis,) = axes_of(node, len(x.shape))
    factors = torch.arange(1, x.shape[axis] + 1, dtype=R[0].dtype, device=R[0].device)
    each = R[0] / factors.view([-1 if a == axis else 1 for a in range(len(x.shape))])
    return Share((each.flip(axis + 1).cumsum(axis + 1).flip(axis + 1),))


def bounds_of_product_along(node: Node) -> Bounds:
    """Never negative where the factors are not; of those between -1 and 1, between these."""
    low, high = node.inputs[0].low, node.inputs[0].high
    if low >= 0:
        return 0.0, max(high, 1.0) if high <= 1 else math.inf
    return (-1.0, 1.0) if low >= -1 and high <= 1 else FREE
