"""Pictures of your own with boxes or masks: VOC-style XML, a file per picture, one COCO-style JSON, or PNG masks.

XML boxes count from 1, both ends included, as VOC's and those of the tools that write its format; COCO's are
x, y, width and height from 0, fractions allowed. Objects that COCO calls crowds count as difficult.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from relprop.data.annotations import Annotation, entry_of, read_annotation, read_names
from relprop.data.entries import DataError, Entry, Listing, Thing, demand_folder, read_text
from relprop.data.masks import demand_pycocotools, folders_of, read_files, with_segmentation
from relprop.data.pictures import list_pictures
from relprop.support.files import kind_of

Value = TypeVar("Value")


def folder(pictures: str | Path, annotations: str | Path | None = None, *, masks: bool = False) -> Listing:
    """Open a folder of pictures, those in folders within it too. An id is the file's name within the folder.

    Args:
        pictures: the folder.
        annotations: a folder of XML files that are named (and sorted into folders) as the pictures are; a
            ``.json`` file in COCO's format; None: XML files beside the pictures.
        masks: take objects from COCO's segmentation (polygons or run lengths; extra ``coco``) instead of its boxes; or,
            where `annotations` is a folder, from PNG files in it, in a folder for each class, named as the pictures
            are, with 0 where the class is not: ``masks/dog/walk.png`` of ``walk.jpg``.

    Raises:
        DataError: a file or folder is missing, there are no pictures, or the JSON is not COCO's.
    """
    root = demand_folder(pictures)
    ids = tuple(path.relative_to(root).as_posix() for path in list_pictures(root))
    if annotations is not None and Path(annotations).suffix.lower() == ".json":
        if masks:
            demand_pycocotools()
        coco = _coco(root, Path(annotations), masks=masks)
        absent = len(set(coco.annotations) - set(map(coco.name, ids)))
        more = {"annotated_but_absent": absent} | ({"masks": "coco"} if masks else {})
        return Listing("folder", str(root), "all", ids, coco.entry, coco.classes, more, coco.file, root.joinpath)
    place = root if annotations is None else demand_folder(annotations)
    if masks:
        if annotations is None:
            raise DataError("where are the masks? Name a COCO JSON file, or a folder with a folder for each class")
        drawn = _Masks(root, place, tuple(folders_of(place)))
        more = {"masks": "png"}
        return Listing("folder", str(root), "all", ids, drawn.entry, drawn.names, more, drawn.files, root.joinpath)
    xml = _Xml(root, place, ids)
    return Listing("folder", str(root), "all", ids, xml.entry, xml.classes, {}, xml.file, root.joinpath)


@dataclass(frozen=True)
class _Xml:
    """A file per picture."""

    root: Path
    place: Path
    ids: tuple[str, ...]

    def entry(self, id_: str) -> Entry:
        return entry_of(id_, self.root / id_, read_annotation(self.file(id_), first=1))

    def classes(self) -> tuple[str, ...]:
        return tuple(sorted(set[str]().union(*map(read_names, map(self.file, self.ids)))))

    def file(self, id_: str) -> Path:
        """Return where the annotation of a picture is, or should be; Windows writes .XML too."""
        usual, other = ((self.place / id_).with_suffix(suffix) for suffix in (".xml", ".XML"))
        return other if other.exists() and not usual.exists() else usual


@dataclass(frozen=True)
class _Masks:
    """A PNG file per picture and class."""

    root: Path
    place: Path
    classes: tuple[str, ...]

    def entry(self, id_: str) -> Entry:
        paths = dict(zip(self.classes, self.files(id_), strict=True))
        return entry_of(id_, self.root / id_, read_files(paths, id_))

    def names(self) -> tuple[str, ...]:
        return self.classes

    def files(self, id_: str) -> list[Path]:
        return [(self.place / name / id_).with_suffix(".png") for name in self.classes]


@dataclass(frozen=True)
class _Coco:
    """One file for all: annotations by file name, and by the name's last part where that is unique."""

    root: Path
    path: Path
    categories: tuple[str, ...]
    annotations: Mapping[str, Annotation]
    last_parts: Mapping[str, str]

    def file(self, _: str) -> Path:
        return self.path

    def name(self, id_: str) -> str:
        return id_ if id_ in self.annotations else self.last_parts.get(PurePosixPath(id_).name, "")

    def entry(self, id_: str) -> Entry:
        missing = Annotation(problem=f"{id_}: no annotation")
        return entry_of(id_, self.root / id_, self.annotations.get(self.name(id_), missing))

    def classes(self) -> tuple[str, ...]:
        return self.categories


# COCO


def _coco(root: Path, file: Path, *, masks: bool) -> _Coco:
    if file.exists() and not file.is_file():  # a pipe would be waited for, and its hash could not be taken
        raise DataError(f"{file}: not a regular file but {kind_of(file)}; name a JSON file in COCO's format")
    try:
        content = json.loads(read_text(file))
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
    return _Coco(root, file, tuple(dict.fromkeys(names.values())), found, last_parts)


def _by_id(file: Path, what: str, pairs: Iterable[tuple[Any, Value]]) -> dict[Any, Value]:
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
