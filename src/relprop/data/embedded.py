"""The digits of `relprop.data.clutter` as a data set of a study: nothing to download, boxes exact."""

from __future__ import annotations

from functools import partial
from typing import cast

from PIL import Image

from relprop.data.clutter import CLASSES, Clutter, Split, Variant
from relprop.data.entries import DataError, Entry, Listing, Thing
from relprop.support.suggest import did_you_mean

VARIANTS = ("multi", "single")
SPLITS = ("train", "test")


def embedded(variant: str = "multi", split: str = "test", number: int = 500, seed: int = 0) -> Listing:
    """Open the embedded data.

    Args:
        variant: ``"multi"`` (one to three digits a picture) or ``"single"``.
        split: ``"test"``, of digits and textures that the embedded networks have not seen, or ``"train"``.
        number: how many pictures, from the first on.
        seed: non-negative; another seed, other pictures.

    Raises:
        DataError: there is no such variant or split, the number is not positive, or the seed negative.
    """
    if variant not in VARIANTS:
        raise DataError(f"embedded data: no variant {variant!r}{did_you_mean(variant, VARIANTS)}")
    if split not in SPLITS:
        raise DataError(f"embedded data: no split {split!r}{did_you_mean(split, SPLITS)}")
    if number < 1 or seed < 0:
        raise DataError(f"embedded data: number {number}, seed {seed}; give at least one picture and a seed from 0")
    clutter = Clutter(cast("Split", split), cast("Variant", variant), seed)
    ids = tuple(f"{variant}-{i:06d}" for i in range(number))
    return Listing(f"embedded-{variant}", "", split, ids, partial(_entry, clutter), _classes, {"seed": seed})


def _classes() -> tuple[str, ...]:
    return CLASSES


def _entry(clutter: Clutter, id_: str) -> Entry:
    """Draw the picture, in 10 to 20 milliseconds: its boxes cannot be told without it."""
    sample = clutter.sample(int(id_.rpartition("-")[2]))
    image = Image.fromarray(sample.image)
    boxes = ((float(x0), float(y0), float(x1), float(y1)) for x0, y0, x1, y1 in sample.boxes)
    things = tuple(Thing(CLASSES[label], box) for label, box in zip(sample.labels, boxes, strict=True))
    return Entry(id_, image.copy, things, image.size)
