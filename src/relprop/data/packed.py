"""Data sets whose pictures lie in few large files: what is the same for shards, tables and folders elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any, Protocol

from PIL import Image

from relprop.data.annotations import Annotation
from relprop.data.entries import DataError, Entry, identity
from relprop.data.pictures import PictureError, decoded, orientation_of


class Source(Protocol):
    """Pictures that are known by their position, and what is said of each. It can be pickled."""

    @property
    def ids(self) -> Sequence[str]:
        """The pictures' names, in order, each once."""

    def picture(self, index: int) -> bytes:
        """Return what the picture's file holds, or held before it was packed.

        Raises:
            PictureError: there is nothing, or not all of it.
            DataError: what it is packed in cannot be read now, for which the picture is not to blame.
        """

    def annotation(self, index: int) -> Annotation:
        """Return what is said of it; no picture is read for it."""

    def classes(self) -> tuple[str, ...]:
        """Name every class that things can have."""

    def said(self, number: int) -> Iterable[bytes]:
        """Give what is said of each of the first pictures, to be hashed."""

    def changed(self) -> bool:
        """Whether the files are others than those that were opened."""

    @property
    def remote(self) -> bool:
        """Whether reading waits for more than a disk."""


@dataclass
class Packed:
    """A data set of a source: a `relprop.data.entries.Dataset`.

    Args:
        name: which kind it is.
        split: the part of it.
        reopen: opens the source; called again where its files have changed.
        more: what else identifies the data set, fit for JSON.

    Raises:
        DataError: there are no pictures, or the source cannot be opened.
    """

    name: str
    split: str
    reopen: Callable[[], Source]
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.source = self.reopen()
        self._last: tuple[int, bytes | PictureError] | None = None  # hashed and decoded one after the other
        if not len(self.source.ids):
            raise DataError(f"{self.name}: no pictures in {self.split!r}; check what was named")

    @property
    def remote(self) -> bool:
        """Whether reading a picture waits for more than a disk."""
        return self.source.remote

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Every class that things can have."""
        return self.source.classes()

    def __len__(self) -> int:
        return len(self.source.ids)

    def __getitem__(self, index: int) -> Entry:
        if not 0 <= index < len(self):
            raise IndexError(index)
        id_, said = str(self.source.ids[index]), self.source.annotation(index)
        open_, turned = partial(self._decoded, index), partial(self._orientation, index)
        return Entry(id_, open_, said.things, said.size, said.problem, turned)

    def identity(self) -> dict[str, Any]:
        """Return what `relprop.data.entries.Listing.identity` does: where the files lie is no part of it."""
        return identity(self.name, self.split, map(str, self.source.ids), self.more)

    def annotations_sha256(self, number: int) -> str:
        """Hash what is said of the first pictures now: what was edited since the files were opened is read again."""
        source = self.reopen() if self.source.changed() else self.source
        hashed = hashlib.sha256()
        for said in source.said(number):
            hashed.update(hashlib.sha256(said).digest())  # of each, so that none can run into the next
        return hashed.hexdigest()

    def picture_sha256(self, index: int) -> str | None:
        """Hash what a picture's file holds; None where there is nothing, or not all of it."""
        self._last = None  # as it is now
        try:
            return hashlib.sha256(self._bytes(index)).hexdigest()
        except PictureError:
            return None

    def _bytes(self, index: int) -> bytes:
        if self._last is None or self._last[0] != index:
            try:
                self._last = index, self.source.picture(index)
            except PictureError as error:
                self._last = index, error
        found = self._last[1]
        if isinstance(found, PictureError):
            raise found
        return found

    def _decoded(self, index: int) -> Image.Image:
        return decoded(self._bytes(index), PurePosixPath(str(self.source.ids[index])).name)

    def _orientation(self, index: int) -> int:
        return orientation_of(BytesIO(self._bytes(index)))
