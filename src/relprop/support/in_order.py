"""What comes numbered in no fixed order, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def in_order(numbered: Iterable[tuple[int, T]]) -> Iterator[tuple[int, T]]:
    """Yield pairs by their numbers, from 0, each as soon as all before it are there; others wait."""
    waiting: dict[int, T] = {}
    following = 0
    for number, thing in numbered:
        waiting[number] = thing
        while following in waiting:
            yield following, waiting.pop(following)
            following += 1
