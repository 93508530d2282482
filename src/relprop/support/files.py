"""Files: written whole or not at all, known by their hash, and of one that is missing the likely name is given."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from relprop.support.errors import RelpropError
from relprop.support.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class WriteError(RelpropError):
    """A file that cannot be written; the message says why and what to do."""


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path`, so that whoever opens it finds the old content or the new, never a part.

    The bytes go to a file beside it that is then renamed. Folders that are missing are made.

    Args:
        path: a file; one that exists is replaced (a symbolic link: the file it points to). Devices and
            pipes, which cannot be replaced, are written to directly.
        data: the content.

    Raises:
        WriteError: the disk is full, the folder may not be written to, `path` is a folder, and so on. What
            stood at `path` before still stands there, and nothing else is left behind.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            path.write_bytes(data)
        else:
            _replace(path.resolve(), data)
    except OSError as error:
        reason = f"{path}: not written ({error.strerror})"
        raise WriteError(f"{reason}; make room there or choose another place") from None


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, of which little is in memory at a time.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def demand_other(path: Path, sources: Iterable[Path]) -> None:
    """Refuse to write over what is read.

    Raises:
        WriteError: `path` is one of the sources.
    """
    for source in sources:
        if path.exists() and source.exists() and path.samefile(source):
            raise WriteError(f"{path}: that is the source, which is not overwritten; name another file with --out")


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # some disks tell only now that they are full
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def near(path: Path, words: Iterable[str] = ()) -> str:
    """Return ``"; did you mean ...?"`` with the likeliest name of what stands beside `path`, or ``""``.

    Args:
        path: where nothing was found.
        words: what else could have been meant.
    """
    beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    found = nearest(path.name, [*words, *beside], most=1)
    return f"; did you mean {found[0]}?" if found else ""
