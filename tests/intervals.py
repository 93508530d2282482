"""Proved bounds of numbers, as the generator writes them down and the reference reads them: intervals (low, high)."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

Interval = tuple[float, float]
FREE: Interval = (-math.inf, math.inf)
ABOVE: Interval = (0.0, math.inf)
UNIT: Interval = (0.0, 1.0)
BOTH: Interval = (-1.0, 1.0)


def hull(several: Iterable[Interval]) -> Interval:
    """What holds all of them."""
    several = list(several)
    return min(low for low, _ in several), max(high for _, high in several)


def plus(a: Interval, b: Interval) -> Interval:
    """A + b."""
    return a[0] + b[0], a[1] + b[1]


def times(a: Interval, b: Interval) -> Interval:
    """A b; nothing times something unbounded is nothing."""
    ends = [0.0 if 0.0 in (x, y) else x * y for x in a for y in b]
    return min(ends), max(ends)


def of_constant(c: float | Tensor) -> Interval:
    """From the least to the greatest of its numbers."""
    return (float(c.min()), float(c.max())) if isinstance(c, Tensor) else (float(c), float(c))


def clipped(low: float, high: float) -> Callable[[Interval], Interval]:
    """What a clamp makes of an interval."""
    return lambda a: (min(max(a[0], low), high), min(max(a[1], low), high))


def same(a: Interval) -> Interval:
    """What moves, or is the largest or the mean of several."""
    return a


def with_zero(a: Interval) -> Interval:
    """The mean of several with padding."""
    return hull([a, (0.0, 0.0)])


def signs(a: Interval) -> Interval:
    """Nothing but the sign."""
    return (0.0 if a[0] >= 0 else -math.inf), (0.0 if a[1] <= 0 else math.inf)


def finite(a: Interval) -> bool:
    """Whether it has two ends."""
    return math.isfinite(a[0]) and math.isfinite(a[1])


def given(kind: str, reads: list[Interval], about: dict[str, Any]) -> Interval:
    """The bounds of what a step gives, from those of what it reads; `about["bounds"]` is a function or an interval."""
    told = about.get("bounds")
    if told is not None:
        return told if isinstance(told, tuple) else told(*reads)
    if kind == "add":
        total = about.get("constant", (0.0, 0.0))
        for k, factor in about["terms"]:
            total = plus(total, times(reads[k], (factor, factor)))
        return total
    if kind == "product":
        return times(*reads)
    if kind == "scale":
        return times(reads[0], about["by"])
    if kind in ("move", "stop", "max", "interpolate"):
        return hull([*reads, *([about["fill"]] if "fill" in about else [])])
    return FREE
