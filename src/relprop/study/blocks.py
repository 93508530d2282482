"""What does not fit into memory, gone through as often as it takes: pieces in a file without a name, one at a time."""

from __future__ import annotations

import pickle
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import IO, Any, Generic, TypeVar

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from numpy.typing import NDArray

from relprop.study.files import StudyError

IN_MEMORY = 64 << 20
"""So many bytes stay in memory; what is more lies in the folder for temporary files, which TMPDIR names."""

T = TypeVar("T")
U = TypeVar("U")


def scratch(owner: object) -> IO[bytes]:
    """Return a file without a name, in memory while it is small, which goes when its owner does."""
    file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - it lives as long as its owner
    weakref.finalize(owner, _closed, file)
    return file


def _closed(file: IO[bytes]) -> None:
    """Close it; what it has had no room for, and was told of, it tries once more to write."""
    with suppress(OSError):
        file.close()


@contextmanager
def room_told() -> Iterator[None]:
    """Say, of what the block writes to scratch files, where there is no room for it and what to do.

    Raises:
        StudyError: the system refuses to write there.
    """
    try:
        yield
    except OSError as error:
        raise StudyError(
            f"{tempfile.gettempdir()}: no room for what a large study is read back into ({error.strerror}); make room, "
            "or name another folder: TMPDIR=FOLDER relprop report ..."
        ) from None


class Blocks(Generic[T]):
    """Pieces of a whole, in order; each is read when it is its turn.

    Example:
        >>> blocks = Blocks[list[int]]()
        >>> blocks.append([1, 2])
        >>> blocks.append([3])
        >>> [len(block) for block in blocks], blocks.whole()
        ([2, 1], [1, 2, 3])
    """

    def __init__(self) -> None:
        self._file = scratch(self)
        self._starts: list[int] = []

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[T]:
        for start in self._starts:
            self._file.seek(start)
            yield pickle.load(self._file)  # noqa: S301 - of this process, in a file that no other can name

    def append(self, block: T) -> None:
        """Add the next piece: plain data, arrays, Arrow tables, or data classes of these.

        Raises:
            StudyError: there is no room for it.
        """
        with room_told():
            self._starts.append(self._file.seek(0, 2))
            pickle.dump(block, self._file, protocol=5)
            self._file.flush()

    def each(self, function: Callable[[T], U]) -> Each[U]:
        """Return what a function gives for each piece, every time that it is gone through."""
        return Each(self, function)

    def whole(self) -> T:
        """Return all pieces as one, in memory: arrays joined along their first axis, lists and tables end to end."""
        found: T = _joined(list(self))
        return found


@dataclass(frozen=True)
class Each(Generic[U]):
    """What a function gives for each of some blocks; it can be gone through again."""

    blocks: Blocks[Any]
    function: Callable[[Any], U]

    def __iter__(self) -> Iterator[U]:
        return map(self.function, self.blocks)


def columns(pieces: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """Return the columns of a matrix, each of them whole; as many are gathered at once as `IN_MEMORY` has room for.

    Args:
        pieces: its rows, some at a time, (n, K) each; they are gone through several times.
    """
    sizes = [(piece.nbytes, piece.shape[1]) for piece in pieces]
    number, times = sizes[0][1], -(-sum(size for size, _ in sizes) // IN_MEMORY)
    at_once = -(-number // max(times, 1))
    for first in range(0, number, max(at_once, 1)):
        yield from np.concatenate([piece[:, first : first + at_once] for piece in pieces]).T


def _joined(parts: Sequence[Any]) -> Any:
    first = parts[0]
    if is_dataclass(first) and not isinstance(first, type):
        by_field = {f.name: _joined([getattr(part, f.name) for part in parts]) for f in fields(first)}
        return replace(first, **by_field)
    if isinstance(first, dict):
        return {key: _joined([part[key] for part in parts]) for key in first}
    if isinstance(first, pa.Table):
        return pa.concat_tables(parts)
    return np.concatenate(parts) if isinstance(first, np.ndarray) else sum(parts[1:], first)
