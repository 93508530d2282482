"""ImageNet's validation pictures (ILSVRC 2012) with their boxes, in the layouts in which they are handed around.

Boxes count rows and columns from 0, the last one included. The development kit does not say so; the files do:
of 387 boxes of 250 validation pictures, 30 begin in column 0, 36 end in column width - 1, none later.

Three orders of the thousand classes are in use. ILSVRC2012_ID (from 1, `meta.mat` of the development kit) is
what the official ground truth file holds. The order of the wnids is that of the outputs of nearly all
networks, torchvision's too. Keras and Caffe share the latter. Nothing here guesses one from the other.

Source: Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge" (2015).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from relprop.data.annotations import Annotation, entry_of, read_annotation, read_names
from relprop.data.entries import DataError, Entry, Listing, demand_folder, read_text
from relprop.data.pictures import list_pictures

_WNID = re.compile(r"\bn\d{8}\b")
_NUMBER = re.compile(r"ILSVRC2012_val_(\d{8})")


def imagenet(
    images: str | Path,
    annotations: str | Path | None = None,
    index: str | Path | None = None,
    ground_truth: str | Path | None = None,
    synsets: str | Path | None = None,
) -> Listing:
    """Open pictures of ImageNet. Things are named by wnid.

    Args:
        images: a folder of pictures, or of a folder of pictures per class, named by wnid. A wnid at the end of
            a file's name (``ILSVRC2012_val_00000001_n01751748.JPEG``) is the picture's label, no part of its id.
        annotations: the folder of XML files, and of folders of such; None: ``Annotations`` beside `images`.
        index: JSON, ``{"0": ["n01440764", "tench, ..."], ...}``: `classes` then is in the order of the network's
            outputs, and other classes are problems. None: the sorted names that the annotations hold.
        ground_truth: the label of each picture: ``ILSVRC2012_validation_ground_truth.txt`` (this needs
            `synsets`), a list of a wnid a line in the pictures' official order, or lines (CSV for instance) of a
            file name and a wnid. None: the folder's or the file's name, if one holds a wnid. Objects of other
            classes than the label are left out, as a problem.
        synsets: what ILSVRC2012_ID means: a wnid a line from ID 1 on, or lines of wnid and ID, such as
            ``map_clsloc.txt`` of the development kits of 2014 and 2015.

    Raises:
        DataError: a file or folder is missing or is not what it should be, or there are no pictures.
    """
    root = demand_folder(images)
    files = list_pictures(root)
    classes = wnids(index) if index else ()
    labels = {_plain(file.stem): wnid for file in files for wnid in _WNID.findall(f"{file.parent.name} {_tail(file)}")}
    if ground_truth:
        labels |= _ground_truth(Path(ground_truth), synsets, [_plain(file.stem) for file in files])
    _demand_known(labels.values(), classes)
    boxes = _annotations(root, annotations)
    sources = {_plain(file.stem): file for file in files}
    if len(sources) < len(files):
        raise DataError(f"{root}: two pictures of one name; name the folder of one set of pictures")
    reader = _Reader(sources, boxes, labels, classes)
    more = {"labels": _digest(labels.get(id_, "") for id_ in sources)}
    place = sources.__getitem__
    return Listing("imagenet", str(root), "val", tuple(sources), reader.entry, reader.classes, more, reader.file, place)


def wnids(index: str | Path) -> tuple[str, ...]:
    """Return the wnids in the order of the network's outputs.

    Args:
        index: a JSON file, ``{"0": ["n01440764", "tench, ..."], ...}``.

    Raises:
        DataError: it is missing or says something else.
    """
    try:
        table = {int(number): names[0] for number, names in json.loads(read_text(index)).items()}
        found = tuple(str(table[number]) for number in range(len(table)))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        found = ()
    if not found or not all(map(_WNID.fullmatch, found)):
        raise DataError(f'{index}: no index of classes; give JSON like {{"0": ["n01440764", "tench"], ...}}')
    return found


@dataclass(frozen=True)
class _Reader:
    """Where everything is, by id."""

    sources: dict[str, Path]
    boxes: dict[str, Path]
    labels: dict[str, str]
    known: tuple[str, ...]

    def entry(self, id_: str) -> Entry:
        found = Annotation(problem=f"{id_}: no annotation")
        if id_ in self.boxes:
            found = _labelled(read_annotation(self.boxes[id_], first=0, classes=self.known), self.labels.get(id_))
        return entry_of(id_, self.sources[id_], found)

    def file(self, id_: str) -> Path:
        return self.boxes.get(id_, Path())

    def classes(self) -> tuple[str, ...]:
        if self.known:
            return self.known
        files = (self.boxes[id_] for id_ in self.sources if id_ in self.boxes)
        return tuple(sorted(set(self.labels.values()).union(*map(read_names, files))))


def _labelled(found: Annotation, label: str | None) -> Annotation:
    """Leave out objects of classes that are not the picture's."""
    others = sorted({thing.name for thing in found.things} - {label})
    if label is None or not others:
        return found
    problem = f"boxes of {', '.join(others)} in a picture of {label}"
    things = tuple(thing for thing in found.things if thing.name == label)
    return replace(found, things=things, problem="; ".join(filter(None, (found.problem, problem))))


def _digest(labels: Iterable[str]) -> str:
    """Return a hash of the pictures' labels: which boxes count depends on them."""
    return hashlib.sha256("\n".join(labels).encode()).hexdigest()[:16]


def _tail(file: Path) -> str:
    """Return the wnid at the end of a file's name, or nothing."""
    return file.stem[-9:] if _plain(file.stem) != file.stem else ""


def _plain(stem: str) -> str:
    """Return a file's name without the wnid that some copies append."""
    return re.sub(r"_n\d{8}$", "", stem)


def _annotations(images: Path, folder: str | Path | None) -> dict[str, Path]:
    beside = images.parent / "Annotations"
    if folder is None and not beside.is_dir():
        raise DataError(f"{images}: no folder Annotations beside it; name the folder of the boxes' XML files")
    place = demand_folder(beside if folder is None else folder)
    found = {_plain(path.stem): path for path in place.rglob("[!.]*.[xX][mM][lL]")}
    if not found:
        raise DataError(f"{place}: no XML files; name the folder of the boxes' XML files")
    return found


def _demand_known(labels: Iterable[str], classes: tuple[str, ...]) -> None:
    unknown = sorted(set(labels) - set(classes))
    if classes and unknown:
        raise DataError(f"label {unknown[0]}: not in the index of classes ({len(unknown)} such); use one that fits")


# The labels


def _ground_truth(file: Path, synsets: str | Path | None, stems: list[str]) -> dict[str, str]:
    """Return the label of each picture that the file knows, by id."""
    lines = [line.strip() for line in read_text(file).splitlines() if line.strip()]
    if lines and all(line.isdecimal() for line in lines):
        if synsets is None:
            raise DataError(f"{file}: holds ILSVRC2012_IDs, not a network's classes; give synsets: a wnid a line by ID")
        return _by_number(file, _translated(lines, _by_id(Path(synsets))), stems)
    if lines and all(map(_WNID.fullmatch, lines)):
        return _by_number(file, lines, stems)
    rows = (re.split(r"[,\s]+", line, maxsplit=1) for line in lines)
    found = {_plain(Path(row[0].strip('"')).stem): _WNID.findall(row[1]) for row in rows if len(row) == 2}
    labels = {name: wnid[0] for name, wnid in found.items() if wnid}  # a header has none
    if not labels:
        raise DataError(f"{file}: no labels; give the official ground truth, a wnid a line, or file names and wnids")
    return labels


def _by_number(file: Path, labels: list[str], stems: list[str]) -> dict[str, str]:
    """Label pictures by the number in their name, from 1 on."""
    numbers = {stem: int(match[1]) for stem in stems if (match := _NUMBER.fullmatch(stem))}
    if len(numbers) < len(stems):
        raise DataError(f"{file}: a label a line needs pictures named ILSVRC2012_val_00000001 and so on")
    last = max(numbers.values(), default=0)
    if last > len(labels):
        raise DataError(f"{file}: {len(labels)} labels, but there is a picture {last}; get the whole file")
    return {stem: labels[number - 1] for stem, number in numbers.items()}


def _translated(ids: list[str], table: dict[int, str]) -> list[str]:
    missing = sorted({int(id_) for id_ in ids} - set(table))
    if missing:
        raise DataError(f"synsets: no ILSVRC2012_ID {missing[0]} in a list of {len(table)}; give the whole list")
    return [table[int(id_)] for id_ in ids]


def _by_id(file: Path) -> dict[int, str]:
    """Return wnids by ILSVRC2012_ID."""
    rows = [line.split() for line in read_text(file).splitlines() if line.strip()]
    if not all(_WNID.fullmatch(row[0]) for row in rows):
        raise DataError(f"{file}: not a list of synsets; give a wnid a line, in the order of ILSVRC2012_ID")
    if all(len(row) > 1 and row[1].isdecimal() for row in rows):
        return {int(row[1]): row[0] for row in rows}
    names = [row[0] for row in rows]
    if len(names) > 2 and names == sorted(names):
        raise DataError(f"{file}: sorted by wnid, as networks' outputs are; ILSVRC2012_ID has another order (meta.mat)")
    return dict(enumerate(names, start=1))
