"""PASCAL VOC, 2007 to 2012, in the layout of its development kit.

Objects marked difficult are kept: the paper speaks of all boxes of a class.
Source: Everingham et al., "The PASCAL Visual Object Classes Challenge" (2010).
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from relprop.data.annotations import entry_of, read_annotation
from relprop.data.entries import DataError, Entry, Listing, demand_folder, read_text
from relprop.data.masks import read_classes
from relprop.support.suggest import did_you_mean

CLASSES = tuple(
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant"
    " sheep sofa train tvmonitor".split()
)
"""The same twenty since 2007, in the order in which its masks number them."""
_MASKS = "SegmentationClass"


def voc(root: str | Path, year: str = "2007", split: str = "all", *, masks: bool = False) -> Listing:
    """Open PASCAL VOC.

    Args:
        root: the folder ``VOCdevkit``, or ``VOC2007`` itself.
        year: ``"2007"`` to ``"2012"``.
        split: ``"train"``, ``"val"``, ``"trainval"``, ``"test"`` or another list in ``ImageSets/Main``; of a list
            with labels, such as ``dog_val``, the pictures not labelled -1. ``"all"``: every annotated picture.
        masks: take objects from ``SegmentationClass`` instead of boxes, and lists from ``ImageSets/Segmentation``: a
            part of the pictures has them. Their borders, which VOC leaves open, belong to no object.

    Raises:
        DataError: there is no such folder, year or split, or it is empty.
    """
    folder = _year_folder(demand_folder(root), year)
    if masks:
        return _segmented(folder, year, split)
    ids = _ids(folder / "ImageSets" / "Main", _stems(folder / "Annotations", ".xml"), split)
    read, file, picture = partial(_entry, folder), partial(_file, folder), partial(_picture, folder)
    return Listing(f"voc{year}", str(folder), split, ids, read, _classes, {}, file, picture)


def _segmented(folder: Path, year: str, split: str) -> Listing:
    if not (folder / _MASKS).is_dir():
        raise DataError(f"{folder}: no folder {_MASKS}, where VOC's masks are; leave masks out, or get them")
    ids = _ids(folder / "ImageSets" / "Segmentation", _stems(folder / _MASKS, ".png"), split)
    mask, picture = partial(_mask, folder), partial(_picture, folder)
    read, more = partial(_segmented_entry, folder), {"masks": _MASKS}
    return Listing(f"voc{year}", str(folder), split, ids, read, _classes, more, mask, picture)


def _classes() -> tuple[str, ...]:
    return CLASSES


def _year_folder(root: Path, year: str) -> Path:
    if (root / f"VOC{year}" / "Annotations").is_dir():
        return root / f"VOC{year}"
    named = re.fullmatch(r"VOC(\d{4})", root.name)
    if named and named[1] != year:
        raise DataError(f"{root}: holds the year {named[1]}, not {year}; ask for that year, or name another folder")
    if (root / "Annotations").is_dir():
        return root
    raise DataError(f"{root}: has neither VOC{year}/Annotations nor Annotations; name the folder VOCdevkit")


def _stems(folder: Path, suffix: str) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in folder.glob(f"[!.]*{suffix}")))


def _ids(lists: Path, every: tuple[str, ...], split: str) -> tuple[str, ...]:
    """The pictures of a split: all that are annotated, or those of a list."""
    if split == "all":
        return every
    names = sorted(path.stem for path in lists.glob("*.txt"))
    if split not in names:
        raise DataError(f"{lists.parents[1]}: no split {split!r}{did_you_mean(split, ['all', *names])}")
    lines = (line.split() for line in read_text(lists / f"{split}.txt").splitlines())
    return tuple(dict.fromkeys(words[0] for words in lines if words and words[1:] != ["-1"]))


def _file(folder: Path, id_: str) -> Path:
    return folder / "Annotations" / f"{id_}.xml"


def _picture(folder: Path, id_: str) -> Path:
    return folder / "JPEGImages" / f"{id_}.jpg"


def _entry(folder: Path, id_: str) -> Entry:
    return entry_of(id_, _picture(folder, id_), read_annotation(_file(folder, id_), first=1, classes=CLASSES))


def _mask(folder: Path, id_: str) -> Path:
    return folder / _MASKS / f"{id_}.png"


def _segmented_entry(folder: Path, id_: str) -> Entry:
    return entry_of(id_, _picture(folder, id_), read_classes(_mask(folder, id_), CLASSES))
