"""Pictures of your own with boxes or masks: VOC-style XML, a file per picture, one COCO-style JSON, or PNG masks.

XML boxes count from 1, both ends included, as VOC's and those of the tools that write its format; COCO's are
x, y, width and height from 0, fractions allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from relprop.data.annotations import entry_of, read_annotation, read_names
from relprop.data.coco import Coco, coco_in
from relprop.data.entries import DataError, Entry, Listing, demand_folder, read_text
from relprop.data.masks import demand_pycocotools, folders_of, read_files
from relprop.data.pictures import list_pictures
from relprop.support.files import kind_of


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
        beside = _Json(root, Path(annotations), _coco(Path(annotations), masks=masks))
        more = {"annotated_but_absent": beside.coco.absent(ids)} | ({"masks": "coco"} if masks else {})
        return Listing("folder", str(root), "all", ids, beside.entry, beside.classes, more, beside.file, root.joinpath)
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
class _Json:
    """One file for all."""

    root: Path
    path: Path
    coco: Coco

    def entry(self, id_: str) -> Entry:
        return entry_of(id_, self.root / id_, self.coco.annotation(id_))

    def classes(self) -> tuple[str, ...]:
        return self.coco.classes

    def file(self, _: str) -> Path:
        return self.path


def _coco(file: Path, *, masks: bool) -> Coco:
    if file.exists() and not file.is_file():  # a pipe would be waited for, and its hash could not be taken
        raise DataError(f"{file}: not a regular file but {kind_of(file)}; name a JSON file in COCO's format")
    return coco_in(read_text(file), str(file), masks=masks)
