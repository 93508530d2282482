"""Which way round: every picture is shown upright, as its camera noted (EXIF), and its boxes are turned with it.

Some tools draw boxes on the pixels as the file has them, some on the upright picture. The size that an annotation
states tells the two apart where they differ in it; where nothing does, the picture is no measurement's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from relprop.data.entries import WHOLE, Entry, Thing
from relprop.data.geometry import Framed, Geometry
from relprop.data.pictures import OrientationError

Size = tuple[int, int]
Corner = Callable[[float, float, float, float], tuple[float, float]]

ON_ITS_SIDE: dict[int, Corner] = {
    5: lambda x, y, width, height: (y, x),  # noqa: ARG005
    6: lambda x, y, width, height: (height - y, x),  # noqa: ARG005
    7: lambda x, y, width, height: (height - y, width - x),
    8: lambda x, y, width, height: (y, width - x),  # noqa: ARG005
}
"""Where a point (x, y) of the stored picture (width, height) is in the upright one, by EXIF's orientation.

Of those alone in which width and height change places: sizes tell nothing of the others (2 to 4).
"""


def framed(entry: Entry, geometry: Geometry) -> Framed:
    """Bring a picture of a data set and its objects to the network's input, upright.

    Raises:
        OrientationError: nothing says which way round its boxes were drawn.
        PictureError: it cannot be read.
    """
    image = entry.open()
    things, size = upright(entry.things, entry.size, image.size, entry.orientation() if entry.things else 1)
    return geometry(image, things, size)


def upright(
    things: Sequence[Thing], annotated_size: Size | None, size: Size, orientation: int
) -> tuple[tuple[Thing, ...], Size | None]:
    """Turn boxes to the upright picture, unless they were drawn on it.

    Args:
        things: objects, as annotated.
        annotated_size: width and height that the annotation states, if it does.
        size: of the upright picture.
        orientation: 1 to 8, as EXIF has it: how the file's pixels have to be turned.

    Returns:
        The objects, and the size that their boxes refer to.

    Raises:
        OrientationError: the boxes could be of either, or of neither.
    """
    if orientation == 1 or all(thing.box == WHOLE for thing in things):
        return tuple(things), annotated_size
    stored = _other_side(size, orientation)
    of_stored, of_upright = (_fits(things, annotated_size, frame) for frame in (stored, size))
    if of_stored == of_upright:
        raise OrientationError(
            f"its camera noted that it is to be turned (EXIF orientation {orientation}), and nothing says which way "
            "round its boxes were drawn; save it the way round that it was annotated, without that note"
        )
    if of_upright:
        return tuple(things), annotated_size
    drawn_on = annotated_size or stored
    turned = tuple(
        replace(
            thing,
            box=_turned(thing.box, drawn_on, orientation),
            mask=None if thing.mask is None else partial(_turned_mask, thing.mask, orientation),
        )
        for thing in things
    )
    return turned, _other_side(drawn_on, orientation)


def _other_side(size: Size, orientation: int) -> Size:
    """The size of a picture of this size once it is turned, either way."""
    return (size[1], size[0]) if orientation in ON_ITS_SIDE else size


def _fits(things: Sequence[Thing], annotated_size: Size | None, frame: Size) -> bool:
    """Whether boxes can be of a picture of this size: it is of the shape that is stated, or else holds them all."""
    if annotated_size is None:
        return all(thing.box[2] <= frame[0] + 1 and thing.box[3] <= frame[1] + 1 for thing in things)
    width, height = annotated_size
    return abs(height - width * frame[1] / frame[0]) <= 1


def _turned_mask(mask: Callable[[], NDArray[np.bool_]], orientation: int) -> NDArray[np.bool_]:
    """The mask of the upright picture, of one of the stored picture."""
    stored = mask()
    down, across = orientation in (7, 8), orientation in (6, 7)  # which axis of the upright picture is mirrored
    upright_ = stored.T
    return upright_[:: -1 if down else 1, :: -1 if across else 1]


def _turned(box: tuple[float, float, float, float], size: Size, orientation: int) -> tuple[float, float, float, float]:
    """The box in the upright picture, of one in the stored picture of this size."""
    corners = [ON_ITS_SIDE[orientation](x, y, *size) for x, y in (box[:2], box[2:])]
    (x0, x1), (y0, y1) = (sorted(axis) for axis in zip(*corners, strict=True))
    return x0, y0, x1, y1
