"""What is said of a picture in a JSON member or a table's row: labels, boxes, segmentation, under which names.

Two forms of boxes are told apart by their name. ``boxes`` are corners, ``[x0, y0, x1, y1]``, half-open as all boxes
here; ``bbox`` is COCO's ``[x, y, width, height]``, which the object detection data of Hugging Face has too. Both are in
pixels from 0, fractions allowed, and may stand by themselves or in ``objects``, be it a list of objects or an object of
lists. Classes are names or whole numbers; what the numbers mean is said elsewhere, or they are names themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from relprop.data.annotations import Annotation
from relprop.data.entries import WHOLE, DataError, Thing
from relprop.data.masks import with_segmentation
from relprop.support.suggest import did_you_mean

Corners = tuple[float, float, float, float]
"""``x0, y0, x1, y1``, as `relprop.data.entries.Thing` has them."""

_OF_OBJECTS = ("category", "categories", "label", "labels", "class", "classes", "name")
PLACES: dict[str, tuple[str, ...]] = {
    "image": ("image", "img", "picture"),
    "id": ("file_name", "__key__", "image_id", "id"),
    "label": ("label", "labels", "class", "category", "categories", "cls"),
    "boxes": ("boxes", "objects.boxes"),
    "bbox": ("bbox", "objects.bbox"),
    "classes": tuple(f"objects.{name}" for name in _OF_OBJECTS),
    "difficult": ("objects.difficult", "objects.iscrowd", "objects.is_crowd", "objects.crowd"),
    "segmentation": ("segmentation", "objects.segmentation"),
    "width": ("width",),
    "height": ("height",),
}
"""Where each kind of thing is looked for, in this order; a dot leads into ``objects``."""


def read_columns(text: str) -> dict[str, str]:
    """Read "image=photo,boxes=objects.corners": which names stand for those of `PLACES`.

    Raises:
        DataError: it is no such thing.
    """
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    for kind, _, name in pairs:
        if kind.strip() not in PLACES:
            raise DataError(f"columns: no kind {kind.strip()!r}{did_you_mean(kind.strip(), PLACES)}")
        if not name.strip():
            raise DataError(f"columns: which name stands for {kind.strip()}? Give {kind.strip()}=NAME")
    return {kind.strip(): name.strip() for kind, _, name in pairs}


@dataclass(frozen=True)
class Words:
    """How what is said of pictures is to be read.

    Attributes:
        columns: names that the user gave, by kind: these are looked at alone.
        classes: what whole numbers mean, from 0, and the only names there are; none: anything is a name.
        of: likewise for one place, as tables know it of each column; a number there means one of these.
        masks: whether objects are known to the pixel, by `segmentation`.
        boxless: whether nothing in the whole data set has a box: a label then means the whole picture.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    classes: Sequence[str] = ()
    of: Mapping[str, Sequence[str]] = field(default_factory=dict)
    masks: bool = False
    boxless: bool = False

    def places(self, kind: str) -> tuple[str, ...]:
        """Return where to look for a kind of thing."""
        return (self.columns[kind],) if kind in self.columns else PLACES[kind]

    def wanted(self) -> set[str]:
        """Return the names, before any dot, of all that is said of a picture."""
        return {
            place.partition(".")[0] for kind in PLACES if kind not in ("image", "id") for place in self.places(kind)
        }

    def find(self, record: Mapping[str, Any], kind: str) -> tuple[str, Any]:
        """Return where something stands and what; ``""`` and None where it does not."""
        for place in self.places(kind):
            found = _at(record, place)
            if found is not None:
                return place, found
        return "", None

    def has_boxes(self, record: Mapping[str, Any]) -> bool:
        """Whether any box is told, be it an empty list of them."""
        return any(self.find(record, kind)[0] for kind in ("boxes", "bbox"))

    def name(self, value: Any, place: str) -> str:
        """Return the class that a name or a number means.

        Raises:
            ValueError: none.
        """
        known = self.of.get(place, self.classes)
        if type(value) is int and known:
            if not 0 <= value < len(known):
                raise ValueError(f"class {value}, and there are {len(known)} names, from 0")
            return known[value]
        if type(value) not in (str, int) or not str(value).strip():
            raise ValueError("no class" if value is None else f"class {value!r}, neither a name nor a whole number")
        name = " ".join(str(value).split())
        if known and name not in known:
            raise ValueError(f"unknown class {name!r}{did_you_mean(name, known)}")
        return name


def names_in(record: Mapping[str, Any], words: Words) -> set[str]:
    """Return the classes that are named, whatever else may be wrong."""
    classes = words.find(record, "classes")
    found = set()
    for place, value in _each(classes if classes[0] else words.find(record, "label")):
        try:
            found.add(words.name(value, place))
        except ValueError:
            continue
    return found


def described(record: Mapping[str, Any], file: str, words: Words) -> Annotation:
    """Read what is said of one picture; a class of which one object is broken is left out whole.

    Args:
        record: what is said.
        file: where, for messages.
        words: how it is to be read.
    """
    size = _size(record, words)
    broken: set[str] = set()
    problems: list[str] = []
    things: list[Thing] = []
    number = 0
    for number, one in enumerate(_objects(record, words), start=1):
        name = ""
        try:
            name = words.name(one.value, one.place)
            thing = Thing(name, one.box(), bool(one.difficult))
            things.append(with_segmentation(thing, one.segmentation, size) if words.masks else thing)
        except (ValueError, TypeError) as error:
            broken.add(name)
            problems.append(f"object {number}: {str(error) or 'no segmentation, or no size of its picture'}")
    if not number:
        problems.append("no objects in it")
    whole = tuple(thing for thing in things if thing.name not in broken)
    return Annotation(whole, size, f"{file}: {'; '.join(problems)}" if problems else "")


@dataclass(frozen=True)
class _Object:
    """What is said of one object: its class, and where that stands; its box, and how to read it."""

    place: str
    value: Any
    given: Any
    corners: Callable[[float, float, float, float], Corners]
    difficult: Any = False
    segmentation: Any = None
    whole: bool = False

    def box(self) -> Corners:
        """Return its corners; raises ValueError where there are none."""
        if self.whole:
            return WHOLE
        numbers = list(self.given) if isinstance(self.given, (list, tuple)) else []
        if len(numbers) != 4 or not all(type(n) in (int, float) for n in numbers):
            raise ValueError(f"a box that is no four numbers: {self.given}")
        a, b, c, d = map(float, numbers)
        box: Corners = self.corners(a, b, c, d)
        if not all(map(isfinite, box)) or box[0] >= box[2] or box[1] >= box[3]:
            raise ValueError(f"a box without area: {', '.join(map(str, numbers))}")
        return box


def _objects(record: Mapping[str, Any], words: Words) -> Iterator[_Object]:
    classes = words.find(record, "classes")
    label = words.find(record, "label")
    kind = "boxes" if words.find(record, "boxes")[0] else "bbox"
    place, given = words.find(record, kind)
    if not place:
        if words.boxless:
            yield from (_Object(where, value, None, _as_corners, whole=True) for where, value in _each(label))
        return
    boxes = _rows(given)
    where, names = classes if classes[0] else label
    each = names if isinstance(names, (list, tuple)) else [names] * len(boxes)  # one class may be that of all
    if len(each) != len(boxes):
        each = [None] * len(boxes)
    difficult, segmentation = (_as_many(words.find(record, k)[1], len(boxes)) for k in ("difficult", "segmentation"))
    read = _as_corners if kind == "boxes" else _of_coco
    for box, name, hard, drawn in zip(boxes, each, difficult, segmentation, strict=True):
        yield _Object(where, name, box, read, hard, drawn)


def _as_corners(x0: float, y0: float, x1: float, y1: float) -> Corners:
    return x0, y0, x1, y1


def _of_coco(x: float, y: float, width: float, height: float) -> Corners:
    return x, y, x + width, y + height


def _at(record: Mapping[str, Any], place: str) -> Any:
    """Return what stands at a place; of a list of objects the list of what each has there."""
    first, dot, rest = place.partition(".")
    found = record.get(first)
    if not dot or found is None:
        return found
    if isinstance(found, (list, tuple)):
        each = [_at(one, rest) if isinstance(one, Mapping) else None for one in found]
        return each if not each or any(value is not None for value in each) else None
    return _at(found, rest) if isinstance(found, Mapping) else None


def _each(found: tuple[str, Any]) -> list[tuple[str, Any]]:
    place, value = found
    values = list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]
    return [(place, one) for one in values]


def _rows(given: Any) -> list[Any]:
    """Return boxes one by one; a single one may stand by itself."""
    if not isinstance(given, (list, tuple)):
        return [given]
    return [given] if len(given) == 4 and all(type(n) in (int, float) for n in given) else list(given)


def _as_many(given: Any, number: int) -> list[Any]:
    values = list(given) if isinstance(given, (list, tuple)) else []
    return values if len(values) == number else [None] * number


def _size(record: Mapping[str, Any], words: Words) -> tuple[int, int] | None:
    sides = [words.find(record, kind)[1] for kind in ("width", "height")]
    width, height = (int(side) if isinstance(side, (int, float)) and isfinite(side) else 0 for side in sides)
    return (width, height) if width > 0 and height > 0 else None
