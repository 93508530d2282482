"""Which numbers of a value come from the input: ones for values and zeros for constants go through the same moves.

Zeros that `F.pad` writes are no more an input of a layer than those of the layer's own padding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from relprop.rules.layer import Kind
from relprop.tape.tape import Node, OwnersGo, Value
from relprop.tape.trees import float_tensors

ONE_BY_ONE = frozenset({Kind.ACTIVATION, Kind.PRODUCT, Kind.ADD, Kind.NORM, Kind.STOP})
"""Kinds of op that leave every number in its place."""


def real_parts(node: Node, results: list[Tensor]) -> list[Tensor | None]:
    """For each result where its numbers come from the input, broadcastable to it; None: everywhere."""
    beside = node.op.loses or any(c.tensor.is_floating_point() for c in node.constants)
    if (node.kind == Kind.MOVE or copies(node) or _scatters(node)) and (
        beside or any(v.real is not None for v in node.inputs)
    ):
        return _moved(node)
    if node.kind in ONE_BY_ONE and all(v.real is not None for v in node.inputs):
        return [_either(node.inputs, result) for result in results]
    return [None] * len(results)


def copies(node: Node) -> bool:
    """Whether a call enlarges by nearest neighbours, which moves numbers though it counts as an average."""
    return node.op.name == "interpolate" and "nearest" in str(node.argument("mode", 3, "nearest"))


def _scatters(node: Node) -> bool:
    """Whether a call is a sum whose terms stand elsewhere: a sum of constants alone is a constant."""
    return node.op.owners is OwnersGo.SUMMED


def _moved(node: Node) -> list[Tensor | None]:
    """Constants are the same whether ones or zeros go in."""
    ones = [_ones(node, value) for value in node.inputs]
    if _scatters(node):  # without its factor, which could make terms cancel
        node = node.with_arguments(node.args, {name: each for name, each in node.kwargs.items() if name != "alpha"})
    filled = float_tensors(node.call(ones, ones[0].dtype))
    blank = float_tensors(node.call([torch.zeros_like(one) for one in ones], ones[0].dtype))
    masks = [one != zero for one, zero in zip(filled, blank, strict=True)]
    return [None if bool(mask.all()) else _compact(mask) for mask in masks]


def _ones(node: Node, value: Value) -> Tensor:
    """For the value's real numbers, laid out in memory like it, so that every view that it allows is allowed."""
    if node.op.name == "pad" and value.real is None and len(node.argument("pad", 1)) <= 2 * (len(value.shape) - 2):
        return value.data.new_ones(1, 1, *value.shape[2:])  # of pictures, whose channels are alike
    ones = torch.ones_like(value.data)
    return ones if value.real is None else ones.mul_(value.real)


def _either(values: tuple[Value, ...], result: Tensor) -> Tensor | None:
    real = values[0].real
    for value in values[1:]:
        real = None if real is None or value.real is None else real | value.real
    return None if real is None or real.ndim > result.ndim else real


def _compact(mask: Tensor) -> Tensor:
    """Of size 1 along each axis that does not matter."""
    for axis in range(mask.ndim if mask.numel() else 0):
        first = mask.narrow(axis, 0, 1)
        if torch.equal(first.expand_as(mask), mask):
            mask = first
    return mask.clone()
