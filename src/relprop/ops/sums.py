"""Sums that torch has functions of their own for: scattered terms, running sums, overlapping windows, sampled grids."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from relprop.ops.averaging import average
from relprop.ops.bounds import FREE, hull, of_argument, of_constant
from relprop.ops.call import vjp
from relprop.ops.divided import divided
from relprop.rules.division import divide
from relprop.rules.layer import Rule, Share
from relprop.rules.lrp import Epsilon, Flat, Pass
from relprop.support.errors import RuleError
from relprop.tape.arguments import per_axis
from relprop.tape.axes import axes_of
from relprop.tape.tape import Bounds, Node, Slot, fill
from relprop.tape.visit import Visit


def scattered(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """R_a = a / (y + eps sign(y)) R for each term a that was added up to y; the share of constants goes to the bias.

    A number that nothing was added to is a sum of one term. Under flat a sum is split evenly among its recorded terms.
    """
    if isinstance(rule, Pass):
        raise RuleError(f"{rule} on {node.where}: relevance cannot be handed unchanged to terms that stand elsewhere")
    if isinstance(rule, Flat):
        return _evenly(node, R, visit)
    out = node.outputs[0]
    inputs = [value.data.to(visit.dtype) for value in node.inputs]
    y = out.data.to(visit.dtype)
    s, took = divided(R[0], y, out, rule)
    slopes = vjp(lambda *leaves: [node.call(leaves, visit.dtype)], inputs, [s])
    constant = node.call([torch.zeros_like(x) for x in inputs], visit.dtype)
    below = tuple(slope * x for slope, x in zip(slopes, inputs, strict=True))
    return Share(below, out.owners.total(s * constant), took)


def _evenly(node: Node, R: list[Tensor], visit: Visit) -> Share:
    """The same to each recorded term, but for constants such as padding, which are no real terms."""
    same = node.with_arguments(node.args, {name: each for name, each in node.kwargs.items() if name != "alpha"})
    zeros = [torch.zeros(value.shape, dtype=visit.dtype, device=value.data.device) for value in node.inputs]
    real = [
        zero + 1 if value.real is None else zero + value.real.to(visit.dtype)
        for zero, value in zip(zeros, node.inputs, strict=True)
    ]
    terms = same.call(real, visit.dtype) - same.call(zeros, visit.dtype)
    below = vjp(lambda *leaves: [same.call(leaves, visit.dtype)], zeros, [divide(R[0], terms)])
    lost = node.outputs[0].owners.total(R[0] * (terms == 0))
    return Share(tuple(s * shown for s, shown in zip(below, real, strict=True)), lost=lost)


def sampled(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """A grid gives averages; the nearest are copies, and what is outside is lost.

    The weights are bounded whatever the grid is made of: they are a gate, and what is sampled takes all.
    """
    others = [None] * (len(node.inputs) - 1)
    node = _held(node)
    if not isinstance(rule, (Epsilon, Pass)):
        raise RuleError(f"{rule} on {node.where}: sampling takes the epsilon rule alone")
    if node.argument("mode", 2, "bilinear") != "nearest":
        share = average(node, rule, R, visit)
        share.relevance = (*share.relevance, *others)
        return share
    x = node.inputs[0].data.to(visit.dtype)
    inside = node.call([torch.ones_like(x)], visit.dtype)
    lost = node.outputs[0].owners.total(R[0] * (inside == 0))
    below = vjp(lambda leaf: [node.call([leaf], visit.dtype)], [x], R[:1])
    return Share((*below, *others), lost=lost)


def _held(node: Node) -> Node:
    """The same call with its grid as a constant."""
    if len(node.inputs) == 1:
        return node
    args, kwargs = fill((node.args, node.kwargs), [Slot(0), node.inputs[1].data])  # type: ignore[list-item]
    return node.with_arguments(args, kwargs)


def leaves_out(node: Node) -> str | None:
    """Why a sum without what is no number is not a sum, or None."""
    if bool(node.inputs[0].data.isnan().any()):
        return "some numbers are none (NaN), and whose share that would be is not told; use x.nan_to_num().sum(dim)"
    return None


def the_first_alone(node: Node) -> list[bool]:
    """What is sampled receives, the grid does not."""
    return [k == 0 for k in range(len(node.inputs))]


def variable_grid(node: Node) -> str | None:
    """Why a call samples no value, or None."""
    if not isinstance(node.argument("input", 0), Slot):
        return "it samples a constant at places that depend on the input, which no rule tells apart from what it finds"
    return None


# -- bounds ----------------------------------------------------------------------------------------------


def of_running_sum(node: Node) -> Bounds:
    """One term at the least, all at the most."""
    value = node.inputs[0]
    axes = axes_of(node, len(value.shape))
    terms = math.prod(value.shape[axis] for axis in axes)
    low, high = value.low, value.high
    return min(low, low * terms), max(high, high * terms)


def of_windows(node: Node) -> Bounds:
    """As many terms as a window has places, or none."""
    value = node.inputs[0]
    terms = math.prod(per_axis(node.argument("kernel_size", 2), 2))
    return min(0.0, value.low * terms), max(0.0, value.high * terms)


def of_sampled(node: Node) -> Bounds:
    """Of averages, among them zeros outside of the picture; bicubic ones overshoot."""
    if node.argument("mode", 2, "bilinear") == "bicubic":
        return FREE
    value = node.inputs[0]
    return hull(((value.low, value.high), (0.0, 0.0)))


def of_scattered(node: Node) -> Bounds:
    """Of sums of any number of terms: nothing but the sign."""
    alpha = node.argument("alpha", 4, 1)
    terms = [of_argument(node, node.argument("input", 0)), *((v.low, v.high) for v in node.inputs)]
    terms += [of_constant(c.tensor) for c in node.constants if c.tensor.is_floating_point()]
    if not isinstance(alpha, (int, float)) or alpha < 0:
        return FREE
    low, high = hull(terms)
    return (0.0 if low >= 0 else -math.inf), (0.0 if high <= 0 else math.inf)
