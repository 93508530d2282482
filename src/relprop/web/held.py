"""What is kept between requests, no more than fits: the least recently used goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Held(Generic[K, V]):
    """A mapping of bounded size.

    Args:
        most: the sum of the sizes that is kept.
        size: of a value; None: each counts one.

    Example:
        >>> held = Held[str, bytes](10, len)
        >>> held.put("a", b"12345")
        >>> held.put("b", b"12345")
        >>> held.get("a"), held.put("c", b"123"), held.get("b")
        (b'12345', None, None)
    """

    def __init__(self, most: int, size: Callable[[V], int] | None = None) -> None:
        self._most = most
        self._size = size or (lambda _: 1)
        self._there: OrderedDict[K, V] = OrderedDict()
        self._taken = 0

    def __len__(self) -> int:
        return len(self._there)

    def get(self, key: K) -> V | None:
        """Return what is kept under a key, None where there is nothing (any more)."""
        if key not in self._there:
            return None
        self._there.move_to_end(key)
        return self._there[key]

    def put(self, key: K, value: V) -> None:
        """Keep a value, and let go what there is no more room for."""
        if key in self._there:
            self._taken -= self._size(self._there.pop(key))
        self._there[key] = value
        self._taken += self._size(value)
        while self._taken > self._most and len(self._there) > 1:
            self._taken -= self._size(self._there.popitem(last=False)[1])
