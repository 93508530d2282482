"""Which value a value is, but for gates and constant factors: x s, 0.5 x and x + x s are all of x."""

from __future__ import annotations

from torch import Tensor

from relprop.ops.product import shares
from relprop.rules.layer import Kind
from relprop.tape.tape import Node, Value
from relprop.tape.torch_internals import tree_leaves

FAR = 300
"""So many pairs of values are compared at the most."""


def signal_of(value: Value) -> Value:
    """The value whose multiple it is, one by one; itself if it is none."""
    below: Value | None = value
    while below is not None:
        value, node = below, below.source
        below = None if node is None or node.problem else _below(node)
    return value


def _below(node: Node) -> Value | None:
    """The input that a call gives a multiple of."""
    if node.kind == Kind.PRODUCT:
        taking = [value for value, share in zip(node.inputs, shares(node), strict=True) if share]
        return taking[0] if len(taking) == 1 else None
    if node.kind == Kind.ADD and of_one_signal(node):
        return node.inputs[0]
    return node.inputs[0] if node.op.name in ("contiguous", "dropout") else None  # clones bear the name, too


def of_one_signal(node: Node) -> bool:
    """Whether an addition's terms are all multiples of one value, so that it is one, too."""
    if len(node.inputs) < 2:
        return False
    if node.one_signal is None:
        node.one_signal = _of_one_signal(node)
    return node.one_signal


def _of_one_signal(node: Node) -> bool:
    first, *others = (signal_of(value) for value in node.inputs)
    return all(same(other, first) for other in others)


def same(a: Value, b: Value, met: set[tuple[Value, Value]] | None = None) -> bool:
    """Whether two values are one, or were made of the same values by the same calls: f(x) + f(x) s is one signal."""
    met = set() if met is None else met
    if a is b or (a, b) in met:
        return True
    met.add((a, b))  # it is so unless one of the pairs before it tells otherwise
    one, other = a.source, b.source
    if one is None or other is None or len(met) > FAR or not _same_call(one, other):
        return False
    at_same_place = one.outputs.index(a) == other.outputs.index(b)
    return at_same_place and all(same(x, y, met) for x, y in zip(one.inputs, other.inputs, strict=True))


def _same_call(one: Node, other: Node) -> bool:
    """Whether two calls are of one function with the same constants."""
    if one.func is not other.func or one.inplace or other.inplace or len(one.inputs) != len(other.inputs):
        return False
    arguments, others = tree_leaves((one.args, one.kwargs)), tree_leaves((other.args, other.kwargs))
    return len(arguments) == len(others) and all(
        x is y or (not isinstance(x, Tensor) and type(x) is type(y) and x == y)
        for x, y in zip(arguments, others, strict=True)
    )
