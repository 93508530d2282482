"""Files: written whole or not at all, known by their hash, and of one that is missing the likely name is given."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from relprop.support.errors import RelpropError
from relprop.support.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path


REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room"),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "get the right to write there"),
    errno.EROFS: "make that disk writable",
}
"""What would help, by the system's number of what is wrong."""
_REMOVED = ".removed"  # how the hidden name of a folder ends that is being removed


class WriteError(RelpropError):
    """A file that cannot be written; the message says why and what to do.

    Attributes:
        reason: what the system says, in its words; empty where it was not the system that refused.
        remedy: what would let it be written there after all; empty where only another place helps.
    """

    def __init__(self, message: str, reason: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.remedy = remedy


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path`, so that whoever opens it finds the old content or the new, never a part.

    Args:
        path: a file; one that exists is replaced (a symbolic link: the file it points to). Devices and
            pipes, which cannot be replaced, are written to directly.
        data: the content.

    Raises:
        WriteError: the disk is full, the folder may not be written to, `path` is a folder, and so on. What
            stood at `path` before still stands there, and nothing else is left behind.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        with _refusals_told(path):
            path.write_bytes(data)
    else:
        with replacing(path) as part:
            part.write_bytes(data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the block another place to write to, and move what it wrote there to `path` once the block has ended.

    The other place is beside `path`. Folders that are missing are made. If the block fails, nothing is moved.

    Args:
        path: as `write_whole` has it, but no device or pipe.

    Raises:
        WriteError: as `write_whole`.
    """
    resolved = path.resolve()
    part = _beside(resolved)
    with _refusals_told(path):
        try:
            resolved.parent.mkdir(parents=True, exist_ok=True)
            yield part
            _sync(part)  # some disks tell only now that they are full
            part.replace(resolved)
        finally:
            part.unlink(missing_ok=True)


def write_new(path: Path, data: bytes) -> bool:
    """Write `data` to `path` unless something is there, and return whether it was written.

    Of several processes that try at once one succeeds, where the file system has links.

    Raises:
        WriteError: as `write_whole`.
    """
    part = _beside(path)
    with _refusals_told(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)
            _sync(part)
            return _moved_to_nothing(part, path)
        finally:
            part.unlink(missing_ok=True)


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder of files that is there whole or not at all; one that is there already is left as it is.

    Args:
        path: the folder.
        files: the content of each, by name.

    Raises:
        WriteError: as `write_whole`.
    """
    with new_folder(path) as part:
        for name, data in files.items():
            (part / name).write_bytes(data)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give the block an empty folder to fill, and move it to `path` once the block has ended and all is on the disk.

    One that is there already is left as it is. If the block fails, nothing is moved.

    Args:
        path: the folder.

    Raises:
        WriteError: as `write_whole`.
    """
    part = _beside(path)
    with _refusals_told(path):
        try:
            shutil.rmtree(part, ignore_errors=True)  # of a killed process whose number we now have
            part.mkdir(parents=True)
            yield part
            for file in part.iterdir():
                _sync(file)
            _sync(part)
            part.rename(path)  # fails where another process was first: its folder is not empty
            _sync(path.parent)
        except OSError:
            if not path.is_dir():
                raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
    # Of this folder, others that run or were killed can have left only what nobody needs any more.
    for leftover in path.parent.glob(f".{path.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Remove a folder, all of it at once for whoever looks for it; one that is not there is left at that.

    What is left of it where this is interrupted has a hidden name, of which `remove_leftovers` knows.

    Raises:
        WriteError: the system refuses.
    """
    hidden = path.with_name(f".{path.name}{_REMOVED}")
    with _refusals_told(path), suppress(FileNotFoundError):
        shutil.rmtree(hidden, ignore_errors=True)
        path.rename(hidden)
        shutil.rmtree(hidden)


def remove_leftovers(folder: Path) -> None:
    """Remove what `remove_folder` left in a folder where it was interrupted."""
    for leftover in folder.glob(f".*{_REMOVED}"):
        shutil.rmtree(leftover, ignore_errors=True)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, of which little is in memory at a time.

    Raises:
        OSError: it cannot be read, or is no file but a pipe or a device, which may never end.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, f"not a regular file but {kind_of(path)}", str(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def kind_of(path: Path) -> str:
    """Say what something is that is no regular file."""
    kinds = {"is_dir": "a folder", "is_fifo": "a pipe", "is_socket": "a socket"}
    return next((kind for question, kind in kinds.items() if getattr(path, question)()), "a device")


def demand_other(path: Path, sources: Iterable[Path]) -> None:
    """Refuse to write over what is read.

    Raises:
        WriteError: `path` is one of the sources.
    """
    for source in sources:
        if path.exists() and source.exists() and path.samefile(source):
            raise WriteError(f"{path}: that is the source, which is not overwritten; name another file with --out")


def near(path: Path, words: Iterable[str] = ()) -> str:
    """Return ``"; did you mean ...?"`` with the likeliest name of what stands beside `path`, or ``""``.

    Of a symbolic link that leads nowhere: where it leads.

    Args:
        path: where nothing was found.
        words: what else could have been meant.
    """
    if path.is_symlink():
        return f"; it is a link to {path.readlink()}, which is not there: mend the link, or name the file itself"
    beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    found = nearest(path.name, [*words, *beside], most=1)
    return f"; did you mean {found[0]}?" if found else ""


def _beside(path: Path) -> Path:
    """Return a hidden place on the same disk, which no other process, on this machine or another, takes too."""
    return path.with_name(f".{path.name}.{socket.gethostname()[:16]}.{os.getpid()}.part")


def refused(path: Path, error: OSError) -> WriteError:
    """Return the error that says of a file which the system refuses to write why, and what to do."""
    reason, remedy = error.strerror or str(error), REMEDIES.get(error.errno or 0, "")
    return WriteError(
        f"{path}: not written ({reason}); {f'{remedy} or ' * bool(remedy)}choose another place", reason, remedy
    )


@contextmanager
def _refusals_told(path: Path) -> Iterator[None]:
    """Say of what the system refuses in the block which file it was to be, and what to do."""
    try:
        yield
    except OSError as error:
        raise refused(path, error) from None


def _moved_to_nothing(part: Path, path: Path) -> bool:
    """Give a file its name unless something has it, and return whether it has it now."""
    try:
        os.link(part, path)  # unlike a renaming, this fails where the file exists
    except FileExistsError:
        return False
    except OSError:
        part.replace(path)  # a file system without links
    return True


def _sync(path: Path) -> None:
    """Make sure that a file's content, or a folder's entries, are on the disk; folders where the system can."""
    if path.is_dir() and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
