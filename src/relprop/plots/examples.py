"""Pictures in rows, methods in columns: in each row a picture with what is asked for outlined, then its maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from relprop.plots.named import shown
from relprop.plots.outlines import outline
from relprop.plots.style import drawable, style
from relprop.plots.view import COLOURS, own_range

SIDE, GAP, HEAD, TITLE = 1.25, 0.06, 0.46, 0.28
"""Width and height of a picture, what lies between pictures, and heights of the figure's head and a row's title, in
inches."""
_STYLE: dict[Any, Any] = {"font.size": 8, "axes.titlesize": 7, "axes.linewidth": 0.4, "svg.hashsalt": "relprop"}


@dataclass(frozen=True)
class Row:
    """A picture and its maps.

    Attributes:
        title: above the row.
        picture: (H, W, 3) uint8.
        regions: half-open boxes x0, y0, x1, y1 to be outlined on it.
        maps: (H, W) by method; a method without one leaves its place empty.
    """

    title: str
    picture: ArrayLike
    regions: Sequence[tuple[int, int, int, int]]
    maps: Mapping[str, ArrayLike]


def example_grid(rows: Sequence[Row], methods: Sequence[str]) -> Figure:
    """Draw a row per picture: the picture, then the map of each method, each with a colour scale of its own.

    White is zero; a scale is symmetric around it, but of a map of one sign it begins there.

    Args:
        rows: the pictures.
        methods: the columns.

    Returns:
        The figure, not yet written; see `relprop.plots.render`.

    Raises:
        ValueError: a map has not its picture's height and width, or is not finite.
    """
    step = TITLE + SIDE + GAP
    width, height = GAP + (SIDE + GAP) * (1 + len(methods)), HEAD + step * max(len(rows), 1)
    with style(_STYLE):
        figure = Figure(figsize=(width, height))
        for column, name in enumerate(("picture", *methods)):
            x = GAP + (SIDE + GAP) * column + SIDE / 2
            figure.text(
                x / width,
                1 - HEAD / 2 / height,
                shown(name, "paper").replace(" ", "\n"),
                ha="center",
                va="center",
                fontsize=10,
            )
        for number, row in enumerate(rows):
            top = height - HEAD - number * step
            figure.text(
                GAP / width, (top - TITLE / 2) / height, drawable(row.title), va="center", fontsize=10, parse_math=False
            )
            places = [(GAP + (SIDE + GAP) * k, top - TITLE - SIDE) for k in range(1 + len(methods))]
            axes = [figure.add_axes((x / width, y / height, SIDE / width, SIDE / height)) for x, y in places]
            _row(axes, row, methods)
    return figure


def _row(axes: Sequence[Axes], row: Row, methods: Sequence[str]) -> None:
    """Fill a row."""
    picture = np.asarray(row.picture)
    axes[0].imshow(picture, interpolation="nearest")
    for region in row.regions:
        outline(axes[0], region)
    for axis, name in zip(axes[1:], methods, strict=True):
        if name not in row.maps:
            axis.text(0.5, 0.5, "not applicable", ha="center", va="center", fontsize=9, transform=axis.transAxes)
            continue
        values = np.asarray(row.maps[name], dtype=np.float64)
        if values.shape != picture.shape[:2] or not np.isfinite(values).all():
            raise ValueError(f"{name}: a map {values.shape} that is not finite, or not of its picture {picture.shape}")
        within = own_range(values)
        axis.imshow(values, cmap=within.colours(COLOURS), vmin=within.low, vmax=within.high, interpolation="nearest")
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
