"""Pictures of your own with boxes: VOC-style XML, a file per picture, or one COCO-style JSON.

XML boxes count from 1, both ends included, as VOC's and those of the tools that write its format; COCO's are
x, y, width and height from 0, fractions allowed. Objects that COCO calls crowds count as difficult.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import Any

from relprop.data.annotations import Annotation, read_annotation, read_names
from relprop.data.entries import DataError, Entry, Listing, Thing, demand_folder, read_text
from relprop.data.pictures import list_pictures, open_annotated


def folder(pictures: str | Path, annotations: str | Path | None = None) -> Listing:
    """Open a folder of pictures, those in folders within it too. An id is the file's name within the folder.

    Args:
        pictures: the folder.
        annotations: a folder of XML files that are named (and sorted into folders) as the pictures are; a
            ``.json`` file in COCO's format; None: XML files beside the pictures.

    Raises:
        DataError: a file or folder is missing, there are no pictures, or the JSON is not COCO's.
    """
    root = demand_folder(pictures)
    ids = tuple(path.relative_to(root).as_posix() for path in list_pictures(root))
    if annotations is not None and Path(annotations).suffix.lower() == ".json":
        coco = _coco(root, Path(annotations))
        absent = len(set(coco.annotations) - set(map(coco.name, ids)))
        more = {"annotations": str(Path(annotations).resolve()), "annotated_but_absent": absent}
        return Listing("folder", str(root), "all", ids, coco.entry, coco.classes, more)
    place = root if annotations is None else demand_folder(annotations)
    xml = _Xml(root, place, ids)
    return Listing("folder", str(root), "all", ids, xml.entry, xml.classes, {"annotations": str(place)})


@dataclass(frozen=True)
class _Xml:
    """A file per picture."""

    root: Path
    place: Path
    ids: tuple[str, ...]

    def entry(self, id_: str) -> Entry:
        found = read_annotation((self.place / id_).with_suffix(".xml"), first=1)
        return _entry(self.root, id_, found)

    def classes(self) -> tuple[str, ...]:
        files = ((self.place / id_).with_suffix(".xml") for id_ in self.ids)
        return tuple(sorted(set[str]().union(*map(read_names, files))))


@dataclass(frozen=True)
class _Coco:
    """One file for all: annotations by file name, and by the name's last part where that is unique."""

    root: Path
    categories: tuple[str, ...]
    annotations: Mapping[str, Annotation]
    last_parts: Mapping[str, str]

    def name(self, id_: str) -> str:
        return id_ if id_ in self.annotations else self.last_parts.get(PurePosixPath(id_).name, "")

    def entry(self, id_: str) -> Entry:
        missing = Annotation(problem=f"{id_}: no annotation")
        return _entry(self.root, id_, self.annotations.get(self.name(id_), missing))

    def classes(self) -> tuple[str, ...]:
        return self.categories


def _entry(root: Path, id_: str, found: Annotation) -> Entry:
    return Entry(id_, partial(open_annotated, root / id_, found.size), found.things, found.size, found.problem)


# COCO


def _coco(root: Path, file: Path) -> _Coco:
    try:
        content = json.loads(read_text(file))
        names = {category["id"]: str(category["name"]) for category in content["categories"]}
        objects: dict[Any, list[dict[str, Any]]] = {image["id"]: [] for image in content["images"]}
        for one in content["annotations"]:
            objects.setdefault(one["image_id"], []).append(one)
        found = {_posix(image): _annotation(image, objects[image["id"]], names) for image in content["images"]}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{file}: not COCO's format ({reason}); give images, annotations and categories") from None
    counts = Counter(PurePosixPath(name).name for name in found)
    last_parts = {PurePosixPath(name).name: name for name in found if counts[PurePosixPath(name).name] == 1}
    return _Coco(root, tuple(names.values()), found, last_parts)


def _posix(image: dict[str, Any]) -> str:
    return str(image["file_name"]).replace("\\", "/")


def _annotation(image: dict[str, Any], objects: list[dict[str, Any]], names: Mapping[Any, str]) -> Annotation:
    """Read the objects of one picture; a class with a broken one is left out."""
    things: list[Thing] = []
    broken: set[str] = set()
    problems: list[str] = []
    for one in objects:
        name = names.get(one.get("category_id"), "")
        try:
            things.append(_thing(one, name))
        except (ValueError, TypeError):
            broken.add(name)
            problems.append(f"object {one.get('id')}: box {one.get('bbox')}, category {one.get('category_id')}")
    if not objects:
        problems.append("no objects in it")
    whole = tuple(thing for thing in things if thing.name not in broken)
    size = (image.get("width") or 0, image.get("height") or 0)
    problem = f"{_posix(image)}: {'; '.join(problems)}" if problems else ""
    return Annotation(whole, size if min(size) > 0 else None, problem)


def _thing(one: dict[str, Any], name: str) -> Thing:
    x, y, width, height = map(float, one.get("bbox", ()))
    box = (x, y, x + width, y + height)
    if not (name and all(map(isfinite, box)) and width > 0 and height > 0):
        raise ValueError
    return Thing(name, box, bool(one.get("iscrowd")))
