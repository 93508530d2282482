"""What channels stand for: a row per channel, and in it the pictures that show it best, each above its map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from relprop.plots.outlines import ON_MAPS, ON_PICTURES, outline
from relprop.plots.style import drawable, style
from relprop.plots.view import COLOURS, own_range

SIDE = 1.15
"""Width and height of a picture, in inches."""
LABELS, HEAD, GAP = 1.45, 0.72, 0.06
"""Width of the rows' labels, height of the figure's title, and what lies between pictures, in inches."""
LEAST = 5.5
"""Width of a figure at least, for its title."""
ROW = 2 * (SIDE + GAP) + 0.25
"""Height of a row: a picture, its map, and the words above them."""
_STYLE: dict[Any, Any] = {"font.size": 8, "axes.titlesize": 7, "axes.linewidth": 0.4, "svg.hashsalt": "relprop"}


@dataclass(frozen=True)
class Cell:
    """A picture that shows a channel.

    Attributes:
        picture: (H, W, 3) uint8, as the network saw it.
        relevance: (H, W) through the channel alone.
        region: ((top, bottom), (left, right)), half-open, to be outlined; None: nothing is.
        title: a few words above it.
    """

    picture: ArrayLike
    relevance: ArrayLike
    region: tuple[tuple[int, int], ...] | None
    title: str


@dataclass(frozen=True)
class Row:
    """A channel: some lines of text, and the pictures that show it, best first."""

    label: str
    cells: Sequence[Cell]


def concept_grid(title: str, rows: Sequence[Row]) -> Figure:
    """Draw a row per channel: pictures with the region outlined, and beneath each its map through that channel.

    White is zero and each map has a colour scale of its own: red is for, blue against; of one sign, one colour.

    Args:
        title: above everything.
        rows: the channels, best first; rows may differ in length, and be empty.

    Returns:
        The figure, not yet written; see `relprop.plots.render`.

    Raises:
        ValueError: a map has not its picture's height and width, or is not finite.
    """
    columns = max((len(row.cells) for row in rows), default=0) or 1
    width, height = max(LABELS + (SIDE + GAP) * columns, LEAST), HEAD + ROW * max(len(rows), 1)
    with style(_STYLE):
        figure = Figure(figsize=(width, height))
        figure.text(
            GAP / width,
            1 - HEAD / 3 / height,
            drawable(title),
            fontsize=8,
            va="center",
            linespacing=1.4,
            parse_math=False,
        )
        for number, row in enumerate(rows):
            top = height - HEAD - number * ROW
            _label(figure, row.label, GAP / width, (top - ROW / 2) / height)
            for column, cell in enumerate(row.cells):
                left = LABELS + (SIDE + GAP) * column
                places = [(left / width, (top - k * (SIDE + GAP)) / height) for k in (1, 2)]
                above, below = (figure.add_axes((x, y, SIDE / width, SIDE / height)) for x, y in places)
                _cell(above, below, cell)
    return figure


def _label(figure: Figure, text: str, x: float, y: float) -> None:
    """Some lines before a row."""
    figure.text(x, y, drawable(text), va="center", fontsize=8, linespacing=1.5, parse_math=False)


def _cell(above: Axes, below: Axes, cell: Cell) -> None:
    """The picture, and beneath it the map."""
    picture, values = np.asarray(cell.picture), np.asarray(cell.relevance, dtype=np.float64)
    if values.shape != picture.shape[:2] or not np.isfinite(values).all():
        raise ValueError(f"a map {values.shape} that is not finite, or not of its picture {picture.shape}")
    within = own_range(values)
    above.imshow(picture, interpolation="nearest")
    below.imshow(values, cmap=within.colours(COLOURS), vmin=within.low, vmax=within.high, interpolation="nearest")
    above.set_title(drawable(cell.title), parse_math=False, pad=2)
    for axis in (above, below):
        axis.set_xticks([])
        axis.set_yticks([])
        if cell.region:
            (top, bottom), (left, right) = cell.region
            outline(axis, (left, top, right, bottom), ON_PICTURES if axis is above else ON_MAPS)
