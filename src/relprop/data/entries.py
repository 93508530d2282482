"""What a study measures on: pictures, each with its annotated objects."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from relprop.support.errors import RelpropError
from relprop.support.files import file_sha256, near

WHOLE = (0.0, 0.0, inf, inf)
"""The box of an object of which nothing says where in its picture it is: the whole picture, of whatever size."""


class DataError(RelpropError):
    """A data set that is not where or what it should be; the message says what is and what to do."""


@dataclass(frozen=True)
class Thing:
    """One annotated object.

    Attributes:
        name: its class, as the data set calls it: ``"dog"``, ``"n02084071"``.
        box: ``x0, y0, x1, y1``, half-open, in pixels of the annotated picture: the upper left pixel alone is
            ``0, 0, 1, 1``. It has area, but may reach beyond the picture.
        difficult: the annotators found it hard to recognise. It counts as part of its class all the same.
        mask: where it is known to the pixel: gives (height, width) of bool, of the whole annotated picture; raises
            `relprop.data.pictures.PictureError` if it cannot be read. None: the box is all that is known.
    """

    name: str
    box: tuple[float, float, float, float]
    difficult: bool = False
    mask: Callable[[], NDArray[np.bool_]] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Entry:
    """One picture with its objects.

    Attributes:
        id: unique in the data set.
        open: decodes the picture, upright, now and at each call; raises `relprop.data.pictures.PictureError` if it
            cannot be read.
        things: the objects. A class of which one object's box is broken is left out whole: what remains
            would pass for all of it.
        size: width and height that the boxes refer to; None: those of the picture.
        problem: what is wrong with the annotation, in one line; empty if nothing is.
        orientation: tells how the camera noted that the file's pixels are to be turned, 1 (not at all) to 8 as EXIF has
            it; `open` has done so, while boxes may be of the pixels as stored (`relprop.data.orientation`).
    """

    id: str
    open: Callable[[], Image.Image]
    things: tuple[Thing, ...]
    size: tuple[int, int] | None
    problem: str = ""
    orientation: Callable[[], int] = lambda: 1


class Dataset(Protocol):
    """A sequence of entries in a fixed order; reading one is cheap and decodes no picture."""

    @property
    def name(self) -> str:
        """Say which data set this is, e.g. ``"voc2007"``."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Name every class that things can have."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Entry: ...

    def identity(self) -> dict[str, Any]:
        """Describe the data set so that another run can tell whether it has the same; fit for JSON."""

    def annotations_sha256(self, number: int) -> str:
        """Hash what the files of the first `number` pictures' annotations hold; empty where there are no files."""

    def picture_sha256(self, index: int) -> str | None:
        """Hash the file of a picture as it is now; None where there is none, or none that can be read."""


@dataclass(frozen=True)
class Listing:
    """A data set made of a list of ids and a function that reads what belongs to one.

    Args:
        name: which data set this is.
        root: where it lies; empty if nowhere.
        split: the part of it.
        ids: the pictures, in order, each once.
        read: from an id to its entry.
        name_classes: gives the classes; asked once at most, as some can only be told by reading everything.
        more: what else identifies the data set, fit for JSON.
        annotation_file: from an id to the file that its annotation is in, or files, missing or not; None: there are
            none.
        picture_file: likewise the file of the picture.

    Raises:
        DataError: there are no ids.
    """

    name: str
    root: str
    split: str
    ids: tuple[str, ...]
    read: Callable[[str], Entry]
    name_classes: Callable[[], tuple[str, ...]]
    more: Mapping[str, Any] = field(default_factory=dict)
    annotation_file: Callable[[str], Path | Sequence[Path]] | None = None
    picture_file: Callable[[str], Path] | None = None

    def __post_init__(self) -> None:
        if not self.ids:
            raise DataError(f"{self.root or self.name}: no pictures in {self.split!r}; check folder and split")

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Every class that things can have."""
        return self.name_classes()

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Entry:
        return self.read(self.ids[index])

    def identity(self) -> dict[str, Any]:
        """Return name, split, number of pictures, hash of their ids in order, and what else identifies it.

        Where it lies is left out: a folder that was moved, or that another machine has elsewhere, is the same data.
        """
        return identity(self.name, self.split, self.ids, self.more)

    def annotations_sha256(self, number: int) -> str:
        """Return the hash of the annotations' files of the first pictures, each once, in order; "" without any."""
        if self.annotation_file is None:
            return ""
        named = map(self.annotation_file, self.ids[:number])
        files = dict.fromkeys(file for some in named for file in ([some] if isinstance(some, Path) else some))
        lines = (f"{file.name} {_sha256(file) or ''}" for file in files)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def picture_sha256(self, index: int) -> str | None:
        """Return the hash of a picture's file, None where there is none or it cannot be read."""
        return None if self.picture_file is None else _sha256(self.picture_file(self.ids[index]))


def identity(name: str, split: str, ids: Iterable[str], more: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a data set of these pictures in this order: see `Listing.identity`."""
    ids = list(ids)
    digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
    return {"name": name, "split": split, "number": len(ids), "ids": digest} | dict(more)


def _sha256(file: Path) -> str | None:
    """Return a file's hash; None of one that cannot be read, which is a problem of its entry."""
    try:
        return file_sha256(file)
    except OSError:
        return None


def demand_folder(path: str | Path) -> Path:
    """Return the folder `path`, absolute.

    Raises:
        DataError: it is missing, or no folder.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such folder{near(path) or '; check the path'}")
    if not path.is_dir():
        raise DataError(f"{path}: a file, not a folder; name the folder it lies in")
    return path.resolve()


def read_text(path: str | Path) -> str:
    """Return what a text file says.

    Raises:
        DataError: it is missing, may not be read, or is no UTF-8 text.
    """
    path = Path(path)
    try:
        return path.read_text(encoding="utf-8-sig")  # some tools write a byte order mark
    except FileNotFoundError:
        raise DataError(f"{path}: no such file{near(path) or '; check the path'}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({error}); check that it is the right file") from None
