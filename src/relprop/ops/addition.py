"""Additions and differences: each term receives its share of the sum."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from relprop.ops.bounds import FREE, of_sum
from relprop.ops.divided import divided
from relprop.ops.fold import fold
from relprop.ops.signal import of_one_signal
from relprop.rules.division import divide
from relprop.rules.layer import Rule, Share, Zero
from relprop.rules.lrp import Flat
from relprop.tape.tape import Bounds, Node, Slot
from relprop.tape.visit import Visit


def addition(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """R_a = a / (y + eps sign(y)) R for y = a + b; the share of a constant goes to the bias.

    Where all terms are multiples of one value, it gets all. Under flat the sum is split evenly among its recorded
    terms. Before the first weighted op a constant is part of the input's normalisation and gets nothing.
    """
    (upper,), (out,) = R, node.outputs
    if of_one_signal(node):  # x + x s is x (1 + s): whichever term takes it, it goes on to x
        return Share((fold(upper, node.inputs[0].shape), *[None] * (len(node.inputs) - 1)))
    if len(node.inputs) == 1 and (isinstance(rule, Flat) or not node.inputs[0].after_weighted):
        return Share((fold(upper, node.inputs[0].shape),))
    if isinstance(rule, Flat):
        return _evenly(node, upper)
    s, took = divided(upper, _sum(node, visit), out, rule, into=upper if visit.may_overwrite else None)
    below: list[Tensor | None] = [None] * len(node.inputs)
    bias: Tensor | float = 0.0
    *first, last = terms_of(node)
    for term, factor in (*first, last):
        if isinstance(term, Slot):
            value = node.inputs[term.k]
            terms = torch.mul(s, value.data.to(visit.dtype), out=s if term is last[0] else None)
            below[term.k] = fold(terms if factor == 1 else terms.mul_(factor), value.shape)
        else:
            constant = factor * torch.as_tensor(term, dtype=s.dtype, device=s.device)
            bias = out.owners.total(s * constant.masked_fill(constant.isinf(), 0.0))  # where -inf masks, s is 0
    return Share(tuple(below), bias, took, zero=Zero.WITH_INPUT)


def _evenly(node: Node, R: Tensor) -> Share:
    """The same to each recorded term, but for constants such as padding, which are no real terms."""
    (out,) = node.outputs
    if all(value.real is None for value in node.inputs):
        even = R / len(node.inputs)
        return Share(tuple(fold(even, value.shape) for value in node.inputs))
    one = R.new_ones(out.shape)
    real = [one if value.real is None else value.real.to(R.dtype) for value in node.inputs]
    terms = sum(real[1:], start=real[0]).expand(out.shape)
    even = divide(R, terms)
    below = tuple(fold(even * each, value.shape) for each, value in zip(real, node.inputs, strict=True))
    return Share(below, lost=out.owners.total(R * (terms == 0)))


def _sum(node: Node, visit: Visit) -> Tensor:
    """The sum, made again if an in-place ReLU overwrote it and relevance may stand where that gave 0."""
    (out,) = node.outputs
    if not out.rectified or visit.vanishes:
        return out.data.to(visit.dtype)
    made: Tensor = node.call([v.data.to(visit.dtype) for v in node.inputs], visit.dtype)
    return made


def terms_of(node: Node) -> list[tuple[Any, float]]:
    """The terms of the sum, a `Slot` or a constant each, with their factors."""
    first, second = node.argument("input", 0), node.argument("other", 1)
    alpha = float(node.argument("alpha", 2, 1))
    name = node.op.name
    if name == "sub":
        return [(first, 1.0), (second, -alpha)]
    if name == "rsub":
        return [(second, 1.0), (first, -alpha)]
    return [(first, 1.0), (second, alpha)]


def receiving_terms(node: Node) -> list[bool]:
    """Whether each term receives relevance."""
    alone = of_one_signal(node)
    return [k == 0 or not alone for k in range(len(node.inputs))]


def not_two_terms(node: Node) -> str | None:
    """Why an addition is not understood, or None."""
    if not isinstance(node.argument("alpha", 2, 1), (int, float)):  # torch.add(x, 2, y), an old spelling of x + 2 y
        return "an addition of a kind that is not understood; write it as x + y"
    return None


def bounds_of_sum(node: Node) -> Bounds:
    """What the terms can add up to."""
    return of_sum(node, terms_of(node)) if not_two_terms(node) is None else FREE
