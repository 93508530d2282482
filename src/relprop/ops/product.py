"""Products. A constant factor scales, so relevance passes; of two recorded factors one is the gate."""

from __future__ import annotations

from torch import Tensor

from relprop.ops.addition import fold
from relprop.ops.nonneg import where_inputs_are
from relprop.rules.layer import Kind, Rule, Share
from relprop.tape.tape import Node, Slot, Value
from relprop.tape.visit import Visit

GATES = frozenset({"sigmoid", "hardsigmoid"})


def product(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """All to the factor that is not broadcast; of equal shapes the sigmoid's side is the gate, else half each."""
    del rule, visit
    (upper,) = R
    parts = shares(node)
    return Share(
        tuple(
            fold(upper if part == 1 else part * upper, value.shape) if part else None
            for part, value in zip(parts, node.inputs, strict=True)
        )
    )


def shares(node: Node) -> list[float]:
    """The part of the relevance that each factor receives."""
    if len(node.inputs) == 1:
        return [1.0]
    whole = [value.shape == node.outputs[0].shape for value in node.inputs]
    if sum(whole) == 1:
        return [float(w) for w in whole]
    gate = [_is_gate(value) for value in node.inputs]
    if sum(gate) == 1:
        return [float(not g) for g in gate]
    return [0.5, 0.5]


def receiving_factors(node: Node) -> list[bool]:
    """Whether each factor receives relevance."""
    return [share > 0 for share in shares(node)]


def _is_gate(value: Value) -> bool:
    """Whether a value is a sigmoid's output, perhaps moved into another shape."""
    node = value.source
    while node is not None and node.kind == Kind.MOVE and len(node.inputs) == 1:
        node = node.inputs[0].source
    return node is not None and node.op.name in GATES


def variable_divisor(node: Node) -> str | None:
    """Why a division is no product with a constant, or None."""
    if len(node.inputs) > 1 or not isinstance(node.argument("input", 0), Slot):
        return "a division by a value that depends on the input has no rule; divide by a constant"
    if node.argument("rounding_mode", 2) is not None:
        return "rounding has no rule; explain the model without it"
    return None


def nonneg_product(node: Node) -> bool:
    """Whether a product of recorded values is proved to hold no negative number."""
    return len(node.inputs) == 2 and where_inputs_are(node)
