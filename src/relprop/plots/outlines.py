"""Frames around boxes and masks that are seen on a ground of any colour."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1, half-open, in pixels of what the network saw."""
Strokes = Sequence[tuple[float, str]]
"""Widths and colours, from below to above."""

ON_PICTURES: Strokes = ((2.2, "black"), (1.0, "#ffe14d"))
ON_MAPS: Strokes = ((0.8, "#444444"),)


def demand_within(boxes: Iterable[Box], side: tuple[int, ...]) -> None:
    """Refuse boxes of which nothing could be seen.

    Args:
        boxes: to be outlined.
        side: height and width of the picture.

    Raises:
        ValueError: one lies beside the picture.
    """
    height, width = side
    for x0, y0, x1, y1 in boxes:
        if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
            raise ValueError(f"the box {x0},{y0},{x1},{y1} lies beside the picture of {width}x{height} pixels")


def outline(axis: Axes, region: Box, strokes: Strokes = ON_PICTURES) -> None:
    """Draw a frame around a box; the picture's extent stays."""
    x0, y0, x1, y1 = region
    with _extent_kept(axis):
        for width, colour in strokes:
            corner = (x0 - 0.5, y0 - 0.5)
            axis.add_patch(Rectangle(corner, x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=width))


def outline_mask(axis: Axes, mask: NDArray[np.bool_], strokes: Strokes = ON_PICTURES) -> None:
    """Draw a frame around the pixels of a mask, along their edges; the picture's extent stays."""
    if not mask.any():
        return
    wide = np.pad(mask, 1).astype(np.int8)
    y, x = np.nonzero(np.diff(wide, axis=1)[1:-1])  # edges that stand upright, left of pixel x
    upright = [((c - 0.5, r - 0.5), (c - 0.5, r + 0.5)) for r, c in zip(y, x, strict=True)]
    y, x = np.nonzero(np.diff(wide, axis=0)[:, 1:-1])
    lying = [((c - 0.5, r - 0.5), (c + 0.5, r - 0.5)) for r, c in zip(y, x, strict=True)]
    lines = [*upright, *lying]
    with _extent_kept(axis):
        for width, colour in strokes:
            axis.add_collection(LineCollection(lines, colors=colour, linewidths=width, capstyle="projecting"))


@contextmanager
def _extent_kept(axis: Axes) -> Iterator[None]:
    extent = axis.get_xlim(), axis.get_ylim()
    yield
    axis.set_xlim(extent[0])
    axis.set_ylim(extent[1])
