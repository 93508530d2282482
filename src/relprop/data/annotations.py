"""Boxes in XML, as PASCAL VOC, ImageNet and the tools that copied them write them.

A file that is missing or broken never stops a study: it becomes a `problem` of its entry.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from math import isfinite
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DTDForbidden, ElementTree  # type: ignore[import-untyped]
from PIL import Image

from relprop.data.entries import Entry, Thing
from relprop.data.pictures import PictureError, open_picture, orientation_of
from relprop.support.files import kind_of
from relprop.support.suggest import did_you_mean

MOST = 2**20
"""Bytes in an annotation's file that is read; a picture's has a few thousand."""
TOO_LARGE = f"larger than {MOST} bytes: no annotation of a picture; not read"


@dataclass(frozen=True)
class Annotation:
    """What one file says: see `relprop.data.entries.Entry` for the attributes."""

    things: tuple[Thing, ...] = ()
    size: tuple[int, int] | None = None
    problem: str = ""


def entry_of(id_: str, picture: Path, found: Annotation) -> Entry:
    """Return the entry of a picture's file and its annotation."""
    open_, orientation = partial(_open, picture), partial(orientation_of, picture)
    return Entry(id_, open_, found.things, found.size, found.problem, orientation)


def _open(picture: Path) -> Image.Image:
    """Read a picture; what is wrong with it is said without its folder, on which no row may depend."""
    try:
        return open_picture(picture)
    except PictureError as error:
        raise type(error)(str(error).replace(str(picture), picture.name)) from error


def read_annotation(path: Path, first: int, classes: Collection[str] = ()) -> Annotation:
    """Read the annotation of one picture.

    Args:
        path: an XML file.
        first: the number of the first row and column: 1 for VOC, 0 for ImageNet. In both the last row and
            column belong to the box: ``(xmin - first, ymin - first, xmax - first + 1, ymax - first + 1)``.
        classes: the names that objects may have; empty: any.
    """
    try:
        data = _content(path)
    except (OSError, ValueError) as error:
        return Annotation(problem=f"{path.name}: {_reason(error)}")
    return parsed(data, path.name, first, classes)


def parsed(data: bytes, file: str, first: int, classes: Collection[str] = ()) -> Annotation:
    """Return what the annotation of one picture says.

    Args:
        data: what its file holds.
        file: its name, for messages.
        first: as `read_annotation` has it.
        classes: likewise.
    """
    try:
        root = _root(data)
    except (ParseError, ValueError, LookupError) as error:  # the last two: encodings, refusals
        return Annotation(problem=f"{file}: {_reason(error)}")
    objects = root.findall("object")  # direct children: VOC's people have parts, with boxes too
    broken: set[str] = set()
    problems: list[str] = []
    things: list[Thing] = []
    for number, element in enumerate(objects, start=1):
        name = _text(element, "name")
        try:
            things.append(Thing(_known(name, classes), _box(element, first), _flag(element, "difficult")))
        except ValueError as error:
            broken.add(name)
            problems.append(f"object {number}: {error}")
    whole = tuple(thing for thing in things if thing.name not in broken)
    if not objects:
        problems.append("no objects in it")
    return Annotation(whole, _size(root), f"{file}: {'; '.join(problems)}" if problems else "")


def read_names(path: Path) -> set[str]:
    """Return the classes that a file names, whatever else may be wrong with it."""
    try:
        return names_in(_content(path))
    except (OSError, ValueError):
        return set()


def names_in(data: bytes) -> set[str]:
    """Return the classes that an annotation names, whatever else may be wrong with it."""
    try:
        root = _root(data)
    except (ParseError, ValueError, LookupError):
        return set()
    return {_text(element, "name") for element in root.findall("object")} - {""}


def _content(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise ValueError(f"not a regular file but {kind_of(path)}")
    if path.stat().st_size > MOST:
        raise ValueError(TOO_LARGE)
    return path.read_bytes()


def _root(data: bytes) -> Element:
    # A document type can declare entities, and entities of entities: a small file that fills the memory.
    root: Element = ElementTree.fromstring(data, forbid_dtd=True)
    return root


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such annotation"
    if isinstance(error, DTDForbidden):
        return "declares a document type, which annotations have no need of; not read"
    if isinstance(error, ParseError):
        return f"broken XML ({error})"
    return str(error)


def _text(element: Element, path: str) -> str:
    """Return what stands there, in one line; nothing if nothing does."""
    return " ".join((element.findtext(path) or "").split())


def _known(name: str, classes: Collection[str]) -> str:
    if not name:
        raise ValueError("no name")
    if classes and name not in classes:
        raise ValueError(f"unknown class {name!r}{did_you_mean(name, classes)}")
    return name


def _box(element: Element, first: int) -> tuple[float, float, float, float]:
    if element.find("bndbox") is None:
        raise ValueError("no box")
    corners = [_text(element, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
    try:
        x0, y0, x1, y1 = (float(corner) - first for corner in corners)
    except ValueError:
        raise ValueError(f"a box that is no four numbers: {corners}") from None
    box = (x0, y0, x1 + 1, y1 + 1)
    if not all(map(isfinite, box)) or box[0] >= box[2] or box[1] >= box[3]:
        raise ValueError(f"a box without area: {', '.join(corners)}")
    return box


def _flag(element: Element, name: str) -> bool:
    return _text(element, name).lower() in ("1", "true")


def _size(root: Element) -> tuple[int, int] | None:
    """Return width and height; None where they are missing or senseless, as some tools write 0."""
    try:
        width, height = (int(float(_text(root, f"size/{side}"))) for side in ("width", "height"))
    except (ValueError, OverflowError):
        return None
    return (width, height) if width > 0 and height > 0 else None
