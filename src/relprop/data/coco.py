"""Annotations of many pictures in one JSON file of COCO's format.

Boxes are x, y, width and height from 0, fractions allowed. Objects that COCO calls crowds count as difficult.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import PurePosixPath
from typing import Any, TypeVar

from relprop.data.annotations import Annotation
from relprop.data.entries import DataError, Thing
from relprop.data.masks import with_segmentation

Value = TypeVar("Value")


@dataclass(frozen=True)
class Coco:
    """What the file says, by the pictures' names, and by a name's last part where that is unique.

    Attributes:
        classes: the categories' names, in order.
    """

    classes: tuple[str, ...]
    annotations: Mapping[str, Annotation]
    last_parts: Mapping[str, str]

    def annotation(self, id_: str) -> Annotation:
        """Return what is said of a picture, by its name in its folder."""
        return self.annotations.get(self._name(id_), Annotation(problem=f"{id_}: no annotation"))

    def absent(self, ids: Collection[str]) -> int:
        """Return of how many pictures something is said that are none of these."""
        return len(set(self.annotations) - set(map(self._name, ids)))

    def _name(self, id_: str) -> str:
        return id_ if id_ in self.annotations else self.last_parts.get(PurePosixPath(id_).name, "")


def coco_in(text: str, file: str, *, masks: bool) -> Coco:
    """Read what a file says.

    Args:
        text: what it holds.
        file: which it is, for messages.
        masks: take objects from their segmentation instead of their boxes.

    Raises:
        DataError: it is not COCO's format, or two things have one id.
    """
    try:
        content = json.loads(text)
        names = _by_id(file, "category", ((each["id"], str(each["name"])) for each in content["categories"]))
        images = _by_id(file, "image", ((each["id"], _posix(each)) for each in content["images"]))
        sizes = _by_id(file, "image", ((_posix(each), _size(each)) for each in content["images"]))
        objects: defaultdict[str | None, list[dict[str, Any]]] = defaultdict(list)
        for each in content["annotations"]:
            objects[images.get(_key(each["image_id"]))].append(each)
        nowhere = len(objects.pop(None, ()))
        if nowhere and not objects:
            ids = f"{content['annotations'][0]['image_id']!r} is none of {', '.join(map(repr, list(images)[:3]))}"
            raise DataError(f"{file}: none of its {nowhere} annotations names one of its images: image_id {ids}")
        found = {name: _annotation(name, size, objects[name], names, masks=masks) for name, size in sizes.items()}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{file}: not COCO's format ({reason}); give images, annotations and categories") from None
    counts = Counter(PurePosixPath(name).name for name in found)
    last_parts = {PurePosixPath(name).name: name for name in found if counts[PurePosixPath(name).name] == 1}
    return Coco(tuple(dict.fromkeys(names.values())), found, last_parts)


def _by_id(file: str, what: str, pairs: Iterable[tuple[Any, Value]]) -> dict[Any, Value]:
    """Return what each id stands for; one that stands for two, as in files that were put together, is an error."""
    found: dict[Any, Value] = {}
    for id_, value in pairs:
        other = found.setdefault(_key(id_), value)
        if other != value:
            raise DataError(f"{file}: {what} {id_!r} is both {other!r} and {value!r}; give each an id of its own")
    return found


def _key(id_: Any) -> Any:
    """Return an id as COCO has it: 1 and 1.0 are one number, "1" is a text."""
    return int(id_) if isinstance(id_, float) and id_.is_integer() else id_


def _posix(image: dict[str, Any]) -> str:
    return str(image["file_name"]).replace("\\", "/")


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    size = (image.get("width") or 0, image.get("height") or 0)
    return size if min(size) > 0 else None


def _annotation(
    name: str, size: tuple[int, int] | None, objects: list[dict[str, Any]], classes: Mapping[str, str], *, masks: bool
) -> Annotation:
    """Read the objects of one picture; a class with a broken one is left out."""
    things: list[Thing] = []
    broken: set[str] = set()
    problems: list[str] = []
    for one in objects:
        class_name = classes.get(_key(one.get("category_id")), "")
        try:
            thing = _thing(one, class_name)
            things.append(with_segmentation(thing, one.get("segmentation"), size) if masks else thing)
        except (ValueError, TypeError):
            broken.add(class_name)
            what = f"box {one.get('bbox')}, category {one.get('category_id')}"
            problems.append(f"object {one.get('id')}: {what}{', or no segmentation of it' if masks else ''}")
    if not objects:
        problems.append("no objects in it")
    whole = tuple(thing for thing in things if thing.name not in broken)
    return Annotation(whole, size, f"{name}: {'; '.join(problems)}" if problems else "")


def _thing(one: dict[str, Any], name: str) -> Thing:
    x, y, width, height = map(float, one.get("bbox", ()))
    box = (x, y, x + width, y + height)
    if not (name and all(map(isfinite, box)) and width > 0 and height > 0):
        raise ValueError
    return Thing(name, box, bool(one.get("iscrowd")))
