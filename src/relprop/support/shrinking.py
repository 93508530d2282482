"""Work in batches that fit into memory: where torch has none left, half as many at once, and on."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from relprop.support.errors import RelpropError
from relprop.support.one_line import told_by

T = TypeVar("T")
X = TypeVar("X")
R = TypeVar("R")

REFUSALS = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "MPS backend out of memory",
    "CUDA out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
"""What torch's RuntimeErrors say where an allocation failed; on CUDA most have a type of their own."""


class NoMemoryError(RelpropError):
    """There is no memory even for one."""


def out_of_memory(error: BaseException | None) -> bool:
    """Return whether an error, or what caused it, is that no memory was left, on whatever device.

    Example:
        >>> out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")), out_of_memory(None)
        (True, False)
    """
    while error is not None:
        if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
            return True
        if isinstance(error, RuntimeError) and any(words in str(error) for words in REFUSALS):
            return True
        error = error.__cause__
    return False


def no_memory(error: BaseException) -> str:
    """Return in one line that there was no memory, with the allocator's own words, and what may help."""
    while error.__cause__ is not None:
        error = error.__cause__
    reason = told_by(error)[:200]
    return f"there is not memory enough ({reason}); fewer methods and targets, a smaller batch or another device may do"


def to_stderr(line: str) -> None:
    """Print a line where logs go."""
    print(line, file=sys.stderr)  # noqa: T201 - what this is for


@dataclass
class Shrinking:
    """Batches whose size is halved wherever memory runs out, for good; each time it is said once how many are left.

    Attributes:
        most: so many at once have been found to be enough; None: as many as are asked for, so far.
        tell: is told, in a line, that there are fewer.
        what: what is counted, in the plural.
    """

    most: int | None = None
    tell: Callable[[str], object] = to_stderr
    what: str = "pictures"

    def at_once(self, size: int) -> int:
        """Return how many of a batch of that size are taken at once."""
        return size if self.most is None else min(size, self.most)

    def over(
        self,
        items: Sequence[T],
        size: int,
        send: Callable[[Sequence[T]], Callable[[], X]],
        work: Callable[[Sequence[T], X], R],
    ) -> Iterator[tuple[Sequence[T], R]]:
        """Yield batches with what came of each, in order: the same that a smaller size would have given.

        Args:
            items: all of them.
            size: at once, at most.
            send: begins to bring a batch to where it is computed; it is called before the batch ahead is worked on.
            work: is called again for the first half of a batch for which there was no memory; it must leave nothing
                behind where it fails.

        Raises:
            NoMemoryError: there is none for a batch of one.
        """
        start, refused = 0, 0
        following: Callable[[], X] | None = None
        while start < len(items):
            end = start + self.at_once(size)
            some, rest = items[start:end], items[end : end + self.at_once(size)]
            x: X | None = None
            try:
                x = (following or send(some))()
                following = send(rest) if rest else None
                result = work(some, x)
            except Exception as error:
                if not out_of_memory(error):
                    raise
                if len(some) == 1:
                    raise NoMemoryError(no_memory(error)) from None
            else:
                if refused:
                    self.tell(f"no memory for {refused} {self.what} at once; going on with {len(some)}")
                    refused = 0
                x = None
                yield some, result
                start = end
                continue
            # Not within the handler: as long as the error is held, its frames hold what was computed.
            x, following = None, None
            refused, self.most = refused or len(some), len(some) // 2
            gc.collect()
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
