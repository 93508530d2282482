"""Products. A constant factor scales, so relevance passes; of two recorded factors one may be the gate."""

from __future__ import annotations

from torch import Tensor

from relprop.ops.bounds import of_product
from relprop.ops.fold import fold
from relprop.rules.layer import Rule, Share
from relprop.tape.tape import Bounds, Node, Value
from relprop.tape.visit import Visit


def product(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """Each factor by its share: a gate gets nothing, two factors of one kind get half each."""
    del visit
    (upper,) = R
    parts = shares_by(rule, node)
    return Share(
        tuple(
            fold(upper if part == 1 else part * upper, value.shape) if part else None
            for part, value in zip(parts, node.inputs, strict=True)
        )
    )


def shares(node: Node) -> list[float]:
    """The part of the relevance that each factor receives, by what the factors are proved to be.

    The gate is the one that is proved bounded beside one that is not; of two bounded ones the one that is never
    negative, and of two such the one with the smaller upper bound. What is no gate of the other takes half.
    """
    if len(node.inputs) == 1:
        return [1.0]
    gates = _gates(*node.inputs)
    return [0.5, 0.5] if gates in ([True, True], [False, False]) else [float(not gate) for gate in gates]


def shares_by(rule: Rule, node: Node) -> list[float]:
    """The same by a rule, which may open gates: two factors then share half and half."""
    return [0.5, 0.5] if rule.opens and len(node.inputs) == 2 else shares(node)


def _gates(*factors: Value) -> list[bool]:
    """Which of two factors is more of a gate than the other."""
    bounded = [value.bounded for value in factors]
    if not all(bounded):
        return bounded
    nonneg = [value.nonneg for value in factors]
    least = min(value.high for value in factors)
    return [value.high == least for value in factors] if all(nonneg) else nonneg


def receiving_factors(node: Node) -> list[bool]:
    """Whether each factor receives relevance."""
    return [share > 0 for share in shares(node)]


def bounds_of_product(node: Node) -> Bounds:
    """What the factors can make."""
    return of_product(node, node.argument("input", 0), node.argument("other", 1))


def bounds_of_negative(node: Node) -> Bounds:
    """The other way round."""
    return -node.inputs[0].high, -node.inputs[0].low
