"""Quotients: the numerator takes all. A divisor, constant or not, scales it, as a gate does."""

from __future__ import annotations

from torch import Tensor

from relprop.ops.bounds import of_quotient
from relprop.ops.fold import fold
from relprop.ops.signal import same
from relprop.rules.layer import Rule, Share
from relprop.tape.tape import Bounds, Node, Slot, Value
from relprop.tape.visit import Visit


def receiving_numerator(node: Node) -> list[bool]:
    """Of a quotient: a divisor that depends on the input scales, as a gate does."""
    first = node.argument("input", 0)
    return [isinstance(first, Slot) and k == first.k for k in range(len(node.inputs))]


def quotient(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """The numerator takes all."""
    del rule, visit
    takes = zip(receiving_numerator(node), node.inputs, strict=True)
    return Share(tuple(fold(R[0], value.shape) if takes_all else None for takes_all, value in takes))


def bounds_of_quotient(node: Node) -> Bounds:
    """What is left of a value that is divided; numbers over their own sum are shares of it."""
    first, divisor = node.argument("input", 0), node.argument("other", 1)
    if isinstance(first, Slot) and isinstance(divisor, Slot):
        numerator, summed = node.inputs[first.k], _before(node.inputs[divisor.k], UNCHANGED).source
        if numerator.nonneg and summed is not None and summed.op.name == "sum" and same(summed.inputs[0], numerator):
            return 0.0, 1.0
    return of_quotient(node, node.argument("input", 0), node.argument("other", 1))


def variable_divisor(node: Node) -> str | None:
    """Why a division is no product with a constant or a gate, or None."""
    first, divisor = node.argument("input", 0), node.argument("other", 1)
    if isinstance(divisor, Slot):
        value = node.inputs[divisor.k]
        if not isinstance(first, Slot):
            return (
                "a constant divided by a value that depends on the input has no rule; write it as "
                "constant * torch.reciprocal(value), which has one where a function of each number begins finite"
            )
        if not (value.low >= 0 or value.high <= 0):
            return (
                "a division by a value that is not proved to have one sign has no rule; divide by a constant, or by "
                "what is proved positive, as in x / y.exp() or x / y.clamp(min=1e-6)"
            )
        if _softmax_by_hand(node.inputs[first.k], value):
            return "a softmax written by hand; use torch.softmax"
    if node.argument("rounding_mode", 2) is not None:
        return "rounding has no rule; explain the model without it"
    return None


AROUND = frozenset(
    "add clamp clamp_min expand expand_as broadcast_to view reshape unsqueeze getitem contiguous".split()
)
"""What may stand between a sum of exponentials and the division by it."""


UNCHANGED = AROUND - {"add", "clamp", "clamp_min"}
"""Those that change no number."""


def _before(value: Value, names: frozenset[str]) -> Value:
    """What a value was before calls of these names."""
    while value.source is not None and value.source.op.name in names:
        value = value.source.inputs[0]
    return value


def _softmax_by_hand(numerator: Value, divisor: Value) -> bool:
    """Whether exponentials are divided by their own sum: its slope is a softmax's, and no factor's."""
    made, summed = numerator.source, _before(divisor, AROUND).source
    if made is None or made.op.name not in ("exp", "exp2") or summed is None:
        return False
    return summed.op.name in ("sum", "mean", "norm") and same(summed.inputs[0], numerator)
