"""Proved bounds of a call's output, as intervals go through the ops.

A value that is proved non-negative saves passes, and of two factors the one that is proved bounded is the gate: what
the numbers are proved to be decides, not how the network is written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

from relprop.tape.tape import Bounds, Node, Slot

FREE: Bounds = (-math.inf, math.inf)


def within(low: float, high: float) -> Callable[[Node], Bounds]:
    """Whatever goes in."""
    return lambda _: (low, high)


def rectified(node: Node) -> Bounds:
    """A ReLU's."""
    low, high = node.inputs[0].low, node.inputs[0].high
    return max(low, 0.0), max(high, 0.0)


def clamped(node: Node) -> Bounds:
    """Of clamp, clip and hardtanh with bounds that are numbers."""
    first, second = {"hardtanh": ("min_val", "max_val")}.get(node.op.name, ("min", "max"))
    default = (-1.0, 1.0) if node.op.name == "hardtanh" else (None, None)
    if node.op.name == "clamp_max":
        low, high = None, node.argument("max", 1)
    else:
        low, high = node.argument(first, 1, default[0]), node.argument(second, 2, default[1])
    if not all(isinstance(bound, (int, float, type(None))) for bound in (low, high)):
        return FREE
    lowest = -math.inf if low is None else float(low)
    highest = math.inf if high is None else float(high)
    value = node.inputs[0]
    # where the lower bound is above the upper one, torch gives the upper one
    return min(max(value.low, lowest), highest), min(max(value.high, lowest), highest)


def of_inputs(node: Node) -> Bounds:
    """Of numbers that move, or a mean of which is taken: those of the inputs and of constants beside them."""
    values = node.inputs[:1] if node.op.form else node.inputs  # the others of y.expand_as(z) give but their form
    return hull((*((v.low, v.high) for v in values), *(of_constant(c.tensor) for c in node.constants)))


def with_fill(node: Node) -> Bounds:
    """Of numbers beside which a constant is written: padding, what a mask is filled with, ..."""
    return hull((of_inputs(node), *(of_constant(fill) for fill in _fills(node))))


def _fills(node: Node) -> list[Any]:
    """The numbers that a call writes beside those of its inputs."""
    written: dict[str, Callable[[], list[Any]]] = {
        "pad": lambda: [node.argument("value", 3) or 0.0],
        "masked_fill": lambda: [node.argument("value", 2)],
        "fill": lambda: [node.argument("value", 1, 0.0)],
        "fill_diagonal": lambda: [node.argument("fill_value", 1)],
        "where": lambda: [node.argument("input", 1), node.argument("other", 2)],
        "setitem": lambda: [node.args[2]],
        "scatter": lambda: [node.argument("value", 3)],
        "index_fill": lambda: [node.argument("value", 3)],
        **dict.fromkeys(("tril", "triu", "unfold", "diag_embed"), lambda: [0.0]),
        **dict.fromkeys(("max_unpool1d", "max_unpool2d", "max_unpool3d"), lambda: [0.0]),
    }
    given = written[node.op.name]() if node.op.name in written else []
    return [
        fill for fill in given if fill is not None and not isinstance(fill, (Tensor, Slot))
    ]  # those are among inputs and constants


def rounded(rounding: Callable[[float], int]) -> Callable[[Node], Bounds]:
    """Of numbers that are rounded; half a step more, as torch may round a half to the other side."""

    def bounds(node: Node) -> Bounds:
        low, high = node.inputs[0].low, node.inputs[0].high
        if node.kwargs or len(node.args) > 1:  # to decimals
            return low - 1, high + 1
        return tuple(float(rounding(end)) if math.isfinite(end) else end for end in (low, high))  # type: ignore[return-value]

    return bounds


def of_sign(node: Node) -> Bounds:
    """-1, 0 or 1, of which the proved sign leaves two."""
    return (0.0 if node.inputs[0].low >= 0 else -1.0), (0.0 if node.inputs[0].high <= 0 else 1.0)


def of_remainder(node: Node) -> Bounds:
    """Below the divisor, if that is a number."""
    by = node.argument("other", 1)
    return (-abs(float(by)), abs(float(by))) if isinstance(by, (int, float)) else FREE


def of_numbers(node: Node) -> Bounds:
    """Of numbers among which others may be put for what is none."""
    fills = [node.argument(name, k) for k, name in enumerate(("nan", "posinf", "neginf"), 1)]
    return hull(((node.inputs[0].low, node.inputs[0].high), *(of_constant(fill or 0.0) for fill in fills)))


def averaged(node: Node) -> Bounds:
    """Of an average over windows, in which padding may count as zeros, and whose divisor may be the call's own."""
    divisor = node.kwargs.get("divisor_override", node.args[6] if len(node.args) > 6 else None)
    low, high = hull(((node.inputs[0].low, node.inputs[0].high), (0.0, 0.0)))
    if divisor is None:
        return low, high
    return _signs(low, high) if divisor > 0 else FREE


def summed(node: Node) -> Bounds:
    """Of a sum over axes."""
    value = node.inputs[0]
    terms = value.shape.numel() / max(node_size(node), 1)
    return _times((value.low, value.high), (terms, terms))


def node_size(node: Node) -> int:
    """How many numbers a sum over axes gives."""
    axes = node.argument("dim", 1)
    shape = node.inputs[0].shape
    if axes is None or axes == ():
        return 1
    gone = {axis % len(shape) for axis in ([axes] if isinstance(axes, int) else axes)}
    return math.prod(n for axis, n in enumerate(shape) if axis not in gone)


def interpolated(node: Node) -> Bounds:
    """Of an enlarged picture: a bicubic one overshoots."""
    return FREE if "cubic" in str(node.argument("mode", 3, "nearest")) else of_inputs(node)


def kept_sign(node: Node) -> Bounds:
    """Of a local response normalisation, whose divisor is positive unless it was called with negative numbers."""
    alpha, beta, k = (node.argument(name, n, d) for n, (name, d) in enumerate(LRN.items(), 2))
    if alpha < 0 or k <= 0 or beta < 0:
        return FREE
    return _signs(node.inputs[0].low, node.inputs[0].high)


LRN = {"alpha": 1e-4, "beta": 0.75, "k": 1.0}


def of_sum(node: Node, terms: Iterable[tuple[Any, float]]) -> Bounds:
    """Of a sum of values and constants with their factors."""
    low = high = 0.0
    for term, factor in terms:
        least, most = _times(of_argument(node, term), (factor, factor))
        low, high = low + least, high + most
    return low, high


def of_product(node: Node, first: Any, second: Any) -> Bounds:
    """Of a product of two arguments of a call."""
    return _times(of_argument(node, first), of_argument(node, second))


def of_quotient(node: Node, first: Any, divisor: Any) -> Bounds:
    """Of a quotient by a constant that has one sign."""
    low, high = of_argument(node, divisor)
    return FREE if low <= 0 <= high else _times(of_argument(node, first), (1 / high, 1 / low))


def of_argument(node: Node, argument: Any) -> Bounds:
    """Of one argument of a call, recorded or constant."""
    if isinstance(argument, Slot):
        value = node.inputs[argument.k]
        return value.low, value.high
    free = all(-value.low == value.high == math.inf for value in node.inputs)
    return FREE if free and isinstance(argument, Tensor) else of_constant(argument)  # nothing to be gained: do not look


def of_constant(constant: Any) -> Bounds:
    """Of a number or a tensor that does not depend on the input; indices and masks have none."""
    if isinstance(constant, Tensor):
        if not constant.is_floating_point() or constant.numel() == 0:
            return math.inf, -math.inf
        low, high = (float(bound) for bound in constant.detach().aminmax())
    elif isinstance(constant, (int, float)):
        low = high = float(constant)
    else:
        return FREE
    return FREE if math.isnan(low) or math.isnan(high) else (low, high)


def hull(several: Iterable[Bounds]) -> Bounds:
    """The least interval that holds all of them."""
    lows, highs = zip(*several, strict=True)
    return min(lows), max(highs)


def _times(a: Bounds, b: Bounds) -> Bounds:
    """The product of two intervals; nothing times an unbounded number is nothing."""
    ends = [0.0 if x == 0 or y == 0 else x * y for x in a for y in b]
    return min(ends), max(ends)


def _signs(low: float, high: float) -> Bounds:
    """Nothing but the sign."""
    return (0.0 if low >= 0 else -math.inf), (0.0 if high <= 0 else math.inf)


# Of functions that relevance has no way through, but that gates are made of.


def of_power(node: Node) -> Bounds:
    """x^n, with a constant n or a constant x."""
    exponent = node.argument("exponent", 1)
    if isinstance(exponent, Slot):
        return (0.0, math.inf) if of_argument(node, node.argument("input", 0))[0] > 0 else FREE
    if not isinstance(exponent, (int, float)):
        return (0.0, math.inf) if node.inputs[0].low >= 0 else FREE
    low, high = node.inputs[0].low, node.inputs[0].high
    if exponent < 0 and low > 0:
        return (0.0 if math.isinf(high) else _power(high, exponent)), _power(low, exponent)
    even = exponent == int(exponent) and int(exponent) % 2 == 0
    if exponent < 0 and low > 0:
        return _power(high, exponent), _power(low, exponent)
    if exponent < 0 or not (even or low >= 0):
        return (0.0, math.inf) if even or low >= 0 else FREE
    ends = [_power(abs(low), exponent), _power(abs(high), exponent)]
    return (0.0 if low <= 0 <= high else min(ends)), max(ends)


def of_power_of_constant(node: Node) -> Bounds:
    """c^x with a constant c, as c ** x calls it."""
    return (0.0, math.inf) if of_argument(node, node.argument("other", 1))[0] > 0 else FREE


def _power(base: float, exponent: float) -> float:
    """Of a number that is not negative; infinity where that is beyond every number."""
    try:
        return float(base**exponent)
    except OverflowError:
        return math.inf


def of_square(node: Node) -> Bounds:
    """x^2."""
    ends = [node.inputs[0].low ** 2, node.inputs[0].high ** 2]
    return (0.0 if node.inputs[0].low <= 0 <= node.inputs[0].high else min(ends)), max(ends)


def of_root(node: Node) -> Bounds:
    """The root of x, which is none of negative numbers."""
    return math.sqrt(max(node.inputs[0].low, 0.0)), math.sqrt(max(node.inputs[0].high, 0.0))


def of_inverse(node: Node) -> Bounds:
    """1 / x."""
    low, high = node.inputs[0].low, node.inputs[0].high
    return (1 / high, 1 / low) if low > 0 else FREE


def of_inverse_root(node: Node) -> Bounds:
    """The root of 1 / x."""
    low, high = node.inputs[0].low, node.inputs[0].high
    return (0.0 if math.isinf(high) else high**-0.5), (low**-0.5 if low > 0 else math.inf)
