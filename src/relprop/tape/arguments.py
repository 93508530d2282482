"""How torch's functions take their arguments."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from functools import lru_cache
from typing import Any


def per_axis(value: Any, axes: int) -> list[int]:
    """A setting that torch takes as one number or one per axis; NumPy's numbers and tensors of one are numbers too."""
    try:
        return [operator.index(value)] * axes
    except TypeError:
        values = [*map(operator.index, value)]
    return values * axes if len(values) == 1 else values


@lru_cache(maxsize=512)
def parameter_position(func: Callable[..., Any], name: str) -> int | None:
    """At which position a function written in Python takes a parameter; None if unknown."""
    try:
        names = list(inspect.signature(func).parameters)
    except (TypeError, ValueError):
        return None
    return names.index(name) if name in names else None
