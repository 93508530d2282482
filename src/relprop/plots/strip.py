"""A picture and its heat maps side by side as one small picture, without letters: hundreds of them in a second.

The colours are those of `relprop.plots.heatmaps`; letters and colour bars are for whoever shows it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from relprop.plots.view import Range, View, coloured

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

GUTTER = 2
"""White pixels to the right of each panel and below it."""


@dataclass(frozen=True)
class Strip:
    """A grid of panels: the picture at the left of the first row, maps in a row per target and a column per method.

    Attributes:
        png: the file's content.
        columns: how many panels stand beside each other, the picture's column with them.
        rows: how many stand below each other.
        pitch: from one panel's left edge to the next one's, in widths of a panel.
        limits: by method, for each target what the ends of its colours stand for.
    """

    png: bytes
    columns: int
    rows: int
    pitch: float
    limits: dict[str, list[Range]]


def strip(picture: ArrayLike, relevance: Mapping[str, ArrayLike], view: View | None = None) -> Strip:
    """Draw a grid, a pixel for each pixel.

    Args:
        picture: (H, W, 3) uint8, what the network saw.
        relevance: (T, C, H, W) finite numbers by method; each map is summed over channels.
        view: how maps are coloured; None: each with a scale of its own.

    Example:
        >>> import numpy as np
        >>> found = strip(np.zeros((8, 8, 3), np.uint8), {"lrp-z": np.ones((2, 3, 8, 8))})
        >>> found.columns, found.rows, found.limits["lrp-z"][0]
        (2, 2, Range(low=0.0, high=3.0))
    """
    view = view or View()
    shown = np.asarray(picture)
    maps = {
        method: [view.signed(each) for each in np.asarray(values, dtype=np.float64).sum(axis=1)]
        for method, values in relevance.items()
    }
    targets, (height, width) = len(next(iter(maps.values()))), shown.shape[:2]
    canvas = np.full((targets, height + GUTTER, 1 + len(maps), width + GUTTER, 3), 255, np.uint8)
    canvas[0, :height, 0, :width] = shown
    limits = view.ranges(maps)
    for column, (method, each) in enumerate(maps.items(), start=1):
        for row, values in enumerate(each):
            colours = coloured(values, limits[method][row], view, shown)
            canvas[row, :height, column, :width] = np.rint(255 * colours)
    buffer = io.BytesIO()
    Image.fromarray(canvas.reshape(targets * (height + GUTTER), -1, 3)).save(buffer, "PNG")
    return Strip(buffer.getvalue(), 1 + len(maps), targets, 1 + GUTTER / width, limits)
