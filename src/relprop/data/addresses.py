"""Where files lie: on this machine, or at any address that fsspec knows (``s3://``, ``memory://``, ``zip://...::...``).

What an address needs beyond fsspec (s3fs, gcsfs, ...) is the user's to install. A file system is opened anew in every
process: connections and places in open files do not survive a fork.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

import fsspec  # type: ignore[import-untyped]

from relprop.data.entries import DataError
from relprop.support.one_line import told_by
from relprop.support.suggest import did_you_mean, nearest

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_SPELT_OUT = 1_000_000  # so many files a range may name


Named = str | Sequence[str]
"""Files as a user names them: a path or an address, or several of one file system, in order."""


class MissingError(DataError):
    """A file that is not there."""


def is_address(text: str) -> bool:
    """Return whether a text is an address rather than a path: it names a file system."""
    return "://" in text or "::" in text


class Files:
    """The files that a path or an address means: a file, a folder, a pattern (``*``), or a range (``{000..146}``).

    Args:
        named: as the user gave it.
        endings: of a folder, how the names of the files that are meant end, in small letters.
        what: they are, for messages: "shards".

    Raises:
        DataError: there is none, no such file system, or it refuses.

    Attributes:
        paths: in their file system, sorted within folders and patterns.
    """

    def __init__(self, named: Named, endings: Collection[str], what: str) -> None:
        each = [one for address in ([named] if isinstance(named, str) else named) for one in _spelt_out(address)]
        self.address = address = named if isinstance(named, str) else each[0]
        with _told(each[0]):
            self._system, root = fsspec.core.url_to_fs(each[0])
        self.root = str(root).rstrip("/")
        self._process = os.getpid()
        self.paths: list[str] = []
        for one in each:
            with _told(one):
                self.paths += self._meant(one, endings)
        if not self.paths:
            raise DataError(f"{address}: no {what} in it ({', '.join(sorted(endings)[:4])}); check the address")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_system": pickle.dumps(self._system)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state | {"_system": pickle.loads(state["_system"])})  # noqa: S301 - made just above
        self._process = os.getpid()

    @property
    def system(self) -> Any:
        """The file system, of this process."""
        if self._process != os.getpid():
            self._system, self._process = pickle.loads(pickle.dumps(self._system)), os.getpid()  # noqa: S301
        return self._system

    @property
    def remote(self) -> bool:
        """Whether reading waits for more than a disk."""
        protocol, named, _ = self.address.rpartition("::")[2].partition("://")
        return bool(named) and protocol not in ("file", "local", "memory")

    def open(self, path: str) -> Any:
        """Open a file for reading, at its beginning.

        Raises:
            DataError: it is gone, or the file system refuses.
        """
        with _told(path):
            return self.system.open(path, "rb")

    def read(self, path: str) -> bytes:
        """Return what a file holds; raises as `open`."""
        with _told(path):
            data: bytes = self.system.cat_file(path)
            return data

    def read_all(self) -> dict[str, bytes]:
        """Return what each of the files holds, by path; many are asked for at once where the file system can."""
        with _told(self.address):
            found: dict[str, bytes] = self.system.cat(self.paths) if len(self.paths) > 1 else {}
        return {path: found[path] if path in found else self.read(path) for path in self.paths}

    def versions(self) -> dict[str, str]:
        """Return the version of each of the files, by path."""
        return {path: self.version(path) for path in self.paths}

    def version(self, path: str) -> str:
        """Return what changes when the file does: made of its size, times and tags; ``""`` where it is gone."""
        try:
            with _told(path):
                self.system.invalidate_cache()
                told = sorted((key, str(value)) for key, value in self.system.info(path).items())
        except MissingError:
            return ""
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def demand_unchanged(self, path: str, version: str) -> None:
        """Refuse a file that is not the one that was opened.

        Args:
            path: of the file.
            version: that it had then.

        Raises:
            DataError: it is gone, or another one.
        """
        if self.version(path) != version:
            name = PurePosixPath(path).name
            raise DataError(f"{name}: changed since it was opened; put it back, or run the same command again")

    def name(self, path: str) -> str:
        """Return where a file lies within the folder that was named, or its last part."""
        within = path.removeprefix(f"{self.root}/")
        return within if within != path else PurePosixPath(path).name

    def _meant(self, address: str, endings: Collection[str]) -> list[str]:
        path = str(self._system._strip_protocol(address.partition("::")[0]))  # noqa: SLF001 - what url_to_fs calls
        if any(sign in path for sign in "*?["):
            self.root = path[: min(path.find(sign) for sign in "*?[" if sign in path)].rpartition("/")[0]
            return sorted(map(str, self._system.glob(path)))
        if self._system.isdir(path):
            found = ((str(each), str(each).removeprefix(path).strip("/")) for each in self._system.find(path))
            return sorted(
                each
                for each, within in found
                if PurePosixPath(within).suffix.lower() in endings and not re.search(r"(^|/)\.", within)
            )
        if self._system.exists(path):
            self.root = path.rpartition("/")[0]
            return [path]
        raise MissingError(f"{address}: no such file or folder{self._near(path)}")

    def _near(self, path: str) -> str:
        """Say what stands beside, like `relprop.support.files.near`."""
        folder = path.rpartition("/")[0]
        try:
            beside = [PurePosixPath(each).name for each in self._system.ls(folder, detail=False)]
        except Exception:  # noqa: BLE001 - a file system that cannot list says nothing
            beside = []
        found = nearest(PurePosixPath(path).name, beside, most=1)
        return f"; did you mean {found[0]}?" if found else "; check the address"


def _spelt_out(address: str) -> Iterator[str]:
    """Return each of the addresses that a range of numbers means, as WebDataset writes it."""
    found = _RANGE.search(address)
    if found is None:
        yield address
        return
    first, last = found.groups()
    if not int(first) <= int(last) < int(first) + _SPELT_OUT:
        raise DataError(f"{address}: {found[0]} is no range; give it from low to high, such as {{000..146}}")
    for number in range(int(first), int(last) + 1):
        yield from _spelt_out(f"{address[: found.start()]}{number:0{len(first)}}{address[found.end() :]}")


@contextmanager
def _told(address: str) -> Iterator[None]:
    """Say in one line what a file system refuses, whichever library it is of."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        missing = str(error.filename or address)
        which = "" if missing in address else f" as {missing}"
        raise MissingError(f"{address}: no such file{which}; check the address") from None
    except ImportError as error:
        raise DataError(f"{address}: its file system is not installed ({error})") from None
    except ValueError as error:
        protocol = address.partition("://")[0]
        near = did_you_mean(protocol, fsspec.available_protocols())
        raise DataError(f"{address}: {error}{near or '; name a file system that fsspec knows'}") from None
    except Exception as error:
        said = told_by(error)
        raise DataError(f"{address}: cannot be read ({said}); check address, network and rights") from error
