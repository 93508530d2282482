"""Segmentation: objects that are known to the pixel, from VOC's class PNGs, COCO's JSON, and PNG files of your own.

A mask that is missing or broken never stops a study: it becomes a `problem` of its entry, or of its picture.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from relprop.data.annotations import Annotation
from relprop.data.entries import DataError, Thing
from relprop.data.pictures import PictureError

Mask = NDArray[np.bool_]
VOID = 255
"""What VOC's PNG files have along borders, and over objects that nobody could tell: part of no class."""


# PNG files


def read_classes(path: Path, classes: Sequence[str]) -> Annotation:
    """Read a PNG whose pixels number the classes, from 1; 0 is the background and 255 part of nothing.

    Args:
        path: the file, of palette or grey pixels.
        classes: the first of them is number 1.
    """
    try:
        numbers = _pixels(path)
    except PictureError as error:
        return Annotation(problem=str(error))
    found = [int(n) for n in np.unique(numbers) if n not in (0, VOID)]
    if not found:
        return Annotation(problem=f"{path.name}: no class in it")
    if found[-1] > len(classes):
        return Annotation(problem=f"{path.name}: class {found[-1]}, and there are {len(classes)}; check the file")
    return _annotation({classes[n - 1]: numbers == n for n in found})


def read_files(paths: Mapping[str, Path], name: str) -> Annotation:
    """Read a PNG per class, whose pixels are 0 where the class is not; a class without file is not on the picture.

    Args:
        paths: by class.
        name: of the picture, for messages.
    """
    try:
        found = {class_: _pixels(path) > 0 for class_, path in paths.items() if path.exists()}
    except PictureError as error:
        return Annotation(problem=str(error))
    found = {class_: mask for class_, mask in found.items() if mask.any()}
    if not found:
        return Annotation(problem=f"{name}: no mask of any class")
    if len({mask.shape for mask in found.values()}) > 1:
        return Annotation(problem=f"{name}: masks of different sizes; draw all on one picture")
    return _annotation(found)


def _annotation(masks: Mapping[str, Mask]) -> Annotation:
    height, width = next(iter(masks.values())).shape
    things = tuple(Thing(name, _box(mask), mask=partial(_itself, mask)) for name, mask in masks.items())
    return Annotation(things, (width, height))


def _itself(mask: Mask) -> Mask:
    return mask


def _pixels(path: Path) -> NDArray[np.uint8]:
    """Return a file's numbers, (height, width): of a palette the places in it, not the colours."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                mode, numbers = image.mode, np.array(image, dtype=np.uint8)
    except FileNotFoundError:
        raise PictureError(f"{path.name}: no such mask") from None
    except Exception as error:  # on damaged bytes Pillow's readers raise anything, SyntaxError too
        raise PictureError(f"{path.name}: cut short or damaged ({error})") from error
    if mode not in ("P", "L", "1"):
        raise PictureError(f"{path.name}: a mask of mode {mode}; save it in grey, or with a palette")
    return numbers


def _box(mask: Mask) -> tuple[float, float, float, float]:
    """Return the box around a mask that is not empty."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


# COCO


def demand_pycocotools() -> None:
    """Refuse to go on without the library that reads COCO's masks.

    Raises:
        DataError: it is not installed; with what installs it.
    """
    if find_spec("pycocotools") is None:
        raise DataError('COCO\'s masks are read by pycocotools, which is not installed; pip install "relprop[coco]"')


def with_segmentation(thing: Thing, segmentation: Any, size: tuple[int, int] | None) -> Thing:
    """Return an object with its mask, which is drawn when it is asked for.

    Args:
        thing: with its box.
        segmentation: as COCO has it: polygons, or run lengths, as numbers or as a text.
        size: width and height of its picture.

    Raises:
        ValueError: there is none of these, or the picture's size is not stated.
    """
    polygons = isinstance(segmentation, list) and all(isinstance(one, list) and len(one) >= 6 for one in segmentation)
    runs = isinstance(segmentation, dict) and {"counts", "size"} <= segmentation.keys()
    if not segmentation or not (polygons or runs) or size is None:
        raise ValueError
    return Thing(thing.name, thing.box, thing.difficult, partial(_drawn, segmentation, size))


def _drawn(segmentation: Any, size: tuple[int, int]) -> Mask:
    """Draw a mask: one object's polygons together, or its run lengths."""
    coco = import_module("pycocotools.mask")
    width, height = size
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of how it makes arrays, with newer NumPy
            runs = segmentation
            if isinstance(segmentation, list):
                runs = coco.merge(coco.frPyObjects(segmentation, height, width))
            elif isinstance(segmentation["counts"], list):
                runs = coco.frPyObjects(segmentation, *segmentation["size"])
            mask: Mask = coco.decode(runs) > 0
    except Exception as error:  # what a broken text of run lengths does is for the library to say
        raise PictureError(f"its segmentation cannot be read ({error}); correct the annotation") from error
    if mask.shape != (height, width):
        raise PictureError(f"its segmentation is of {mask.shape[1]}x{mask.shape[0]} pixels, and it of {width}x{height}")
    return mask


def folders_of(place: Path) -> list[str]:
    """Return the classes that a folder of masks has folders for.

    Raises:
        DataError: it has none.
    """
    names = sorted(each.name for each in _folders(place) if each.name[0] != ".")
    if not names:
        raise DataError(f"{place}: no folders in it; masks lie in one for each class, named as the pictures are")
    return names


def _folders(place: Path) -> Iterable[Path]:
    return (each for each in place.iterdir() if each.is_dir())
