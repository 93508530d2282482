"""Reading ahead: what is read next is read by other processes while what was read last is being used.

The processes are those of `torch.utils.data.DataLoader`, which keeps the order. What comes back is the same to the bit
as what reading here would give: an item depends on its number alone.
"""

from __future__ import annotations

import io
import os
import pickle
import re
import sys
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, Generic, TypeVar

import torch
from torch.utils.data import DataLoader

from relprop.data.entries import DataError
from relprop.support.errors import RelpropError
from relprop.support.one_line import told_by

T = TypeVar("T")

PIECE = 50
"""So many pictures at most are one process's in a row: what lies beside each other is read in order."""
_WAITING = 2  # pieces of each process that are read and not used yet
SMALL = 200
"""Up to so many pictures are not worth the second or two that processes take to begin."""


def chosen(workers: int | None, *, remote: bool, device: str, number: int) -> int:
    """Return how many processes are to read ahead.

    Args:
        workers: as the user said; None: where nothing is said.
        remote: whether reading waits for more than a disk.
        device: where the network is computed. A CPU has no time to spare for reading ahead.
        number: of pictures.

    Returns:
        Without a choice none for few pictures, two where they come from elsewhere, four at most beside an accelerator.
    """
    if workers is not None:
        return workers
    if number <= SMALL:
        return 0
    beside = 0 if device.partition(":")[0] == "cpu" else min(4, (os.cpu_count() or 1) // 2)
    return max(beside, 2 if remote else 0)


def read_ahead(read: Callable[[int], T], parts: Sequence[Sequence[int]], workers: int) -> Iterator[list[T]]:
    """Read items part by part, in order; arguments and errors as for `Readers`."""
    with closing(Readers(read, workers)) as readers:
        yield from readers.parts(parts)


class Readers(Generic[T]):
    """Processes that read items by their numbers; they begin when there is something to read.

    Args:
        read: reads one. It and what it gives are copied from process to process.
        workers: how many; 0: none, and each part is read when it is asked for.
    """

    def __init__(self, read: Callable[[int], T], workers: int) -> None:
        self._read = read
        self._workers = workers
        self._pieces: list[Sequence[int]] = []
        self._loader: DataLoader[Any] | None = None

    def parts(self, parts: Sequence[Sequence[int]], piece: int = PIECE) -> Generator[list[T], None, None]:
        """Read some parts, in order.

        Args:
            parts: of numbers.
            piece: so many of a part are read by one process.

        Raises:
            RelpropError: as `read` does.
            DataError: a process was killed, or `read` cannot be copied to one.
        """
        if not self._workers:
            for part in parts:
                yield [self._read(number) for number in part]
            return
        self._pieces[:] = [part[k : k + piece] for part in parts for k in range(0, len(part), piece)]
        found = self._found() if self._pieces else iter(())
        for part in parts:
            items: list[T] = []
            while len(items) < len(part):
                items += next(found)
            yield items

    def close(self) -> None:
        """End the processes."""
        self._loader = None

    def _found(self) -> Iterator[list[T]]:
        """Give what each of the pieces stands for."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of more processes than cores, and of threads, which none of them needs
            try:
                self._loader = self._loader or self._begun()
                coming = iter(self._loader)
            except (AttributeError, TypeError, pickle.PicklingError) as error:  # where processes are not forks
                raise DataError(f"this data cannot be given to other processes ({told_by(error)}); use none") from error
        try:
            for data in coming:
                found = pickle.loads(data)  # noqa: S301 - made by a process of ours
                if isinstance(found, RelpropError):
                    raise found
                yield found
        except RuntimeError as error:
            if not re.search(r"DataLoader worker \(pid", str(error)):
                raise
            raise DataError(
                f"a process that reads pictures ended ({told_by(error)}); give it more memory or use fewer, and run "
                "the same command again to continue"
            ) from error

    def _begun(self) -> DataLoader[Any]:
        return DataLoader(
            _Items(self._read),  # type: ignore[arg-type]  # torch asks for its own class and needs __getitem__ alone
            batch_size=None,
            sampler=self._pieces,
            num_workers=self._workers,
            prefetch_factor=_WAITING,
            persistent_workers=True,
            # A fork has the data set at hand, which need not be one that can be pickled; elsewhere it is not safe.
            multiprocessing_context="fork" if sys.platform == "linux" else None,
        )


class _Items(Generic[T]):
    """What each piece of numbers stands for, pickled: tensors by their numbers, as shared memory has few places."""

    def __init__(self, read: Callable[[int], T]) -> None:
        self._read = read

    def __getitem__(self, piece: Sequence[int]) -> bytes:
        found: Any
        try:
            found = [self._read(number) for number in piece]
        except RelpropError as error:
            found = error
        file = io.BytesIO()
        _Pickler(file, pickle.HIGHEST_PROTOCOL).dump(found)
        return file.getvalue()


class _Pickler(pickle.Pickler):
    """Pickles tensors as arrays, which is faster."""

    def reducer_override(self, value: Any) -> Any:
        if type(value) is torch.Tensor:
            return torch.from_numpy, (value.numpy(),)
        return NotImplemented
