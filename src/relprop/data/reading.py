"""Parts of large files, one file open at a time in each process; and names in order."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from relprop.data.addresses import Files
from relprop.data.entries import DataError
from relprop.data.pictures import PictureError
from relprop.support.one_line import told_by


class Reader:
    """Reads by position; forward within one file, as a study's parts go, is fastest.

    Args:
        files: where they lie.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._open: tuple[int, str, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": None}

    def read(self, path: str, version: str, start: int, size: int, name: str) -> bytes:
        """Return some bytes of a file.

        Args:
            path: of the file.
            version: that it had when positions were found out.
            start: of the first byte.
            size: how many.
            name: of what they are, for messages.

        Raises:
            PictureError: it ends before.
            DataError: it is gone or another one, or the file system refuses.
        """
        file = self._opened(path, version)
        try:
            file.seek(start)
            data: bytes = file.read(size)
        except Exception as error:  # whatever the file system's library raises
            self._open = None
            said = told_by(error)
            raise DataError(f"{path}: cannot be read now ({said}); run the same command again to continue") from error
        if len(data) < size:
            raise PictureError(f"{name}: cut short: {len(data)} of {size} bytes are there; get a whole copy")
        return data

    def _opened(self, path: str, version: str) -> Any:
        here = os.getpid()  # a file that was opened before a fork has one place for both processes
        if self._open is None or self._open[:2] != (here, path):
            self._files.demand_unchanged(path, version)
            self._open = here, path, self._files.open(path)
        return self._open[2]


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return each name once, sorted; whole numbers by their value."""
    every = set(names)
    return tuple(sorted(every, key=int) if all(map(str.isdecimal, every)) else sorted(every))
