"""A picture beside its heat maps: what speaks for a class in red, what speaks against it in blue."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from relprop.plots.style import drawable, style

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure
    from matplotlib.image import AxesImage
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

FORMATS = ("png", "pdf", "svg", "jpg", "webp", "tif")
"""What `render` can write."""
PERCENTILE = 99.9
"""Where the colour scale ends, among a map's absolute values: the few extreme pixels that LRP tends to have
would leave all others white. Pointed ends of the colour bar show that some lie beyond."""
COLOURS = "RdBu_r"
PANEL = 2.7
"""Width and height of a panel, in inches."""
_SALT = "relprop"  # makes the ids in an SVG the same each time
_STYLE: dict[Any, Any] = {"font.size": 9, "axes.titlesize": 9, "axes.linewidth": 0.6, "svg.hashsalt": _SALT}


def heatmaps(
    picture: ArrayLike,
    titles: Sequence[str],
    relevance: Mapping[str, ArrayLike],
    region: tuple[int, int, int, int] | None = None,
) -> Figure:
    """Draw a row per target: the picture, then a map per method, each with a colour scale of its own.

    Maps are summed over the colour channels. Their scales are symmetric around zero, which is white.

    Args:
        picture: (H, W, 3) uint8, exactly what the network saw.
        titles: one per target, such as ``"otter (class 360), logit 20.8"``.
        relevance: (T, C, H, W) by method, the same T as there are titles.
        region: x0, y0, x1, y1, half-open, to be outlined on the picture.

    Returns:
        The figure, not yet written; see `render`.

    Raises:
        ValueError: the shapes do not fit each other, or a map is not finite.
    """
    picture = np.asarray(picture)
    maps = {method: np.asarray(values, dtype=np.float64).sum(axis=1) for method, values in relevance.items()}
    for method, values in maps.items():
        if values.shape != (len(titles), *picture.shape[:2]):
            shapes = f"maps {values.shape}, {len(titles)} titles, picture {picture.shape}"
            raise ValueError(f"{method}: shapes do not fit: {shapes}")
        if not np.isfinite(values).all():
            raise ValueError(f"{method}: the map is not finite")
    with style(_STYLE):
        size = (PANEL * (1 + len(maps)), (PANEL + 0.9) * len(titles))
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.07))
        rows = figure.subfigures(len(titles), 1, squeeze=False)[:, 0]
        for row, (part, title) in enumerate(zip(rows, titles, strict=True)):
            _row(part, title, picture, {method: values[row] for method, values in maps.items()}, region)
    return figure


def render(figure: Figure, kind: str = "png", dpi: int = 200) -> bytes:
    """Return the figure as a file's content; the same figure gives the same bytes.

    Args:
        figure: as `heatmaps` returns it.
        kind: one of `FORMATS`.
        dpi: pixels per inch, where the format has pixels.
    """
    undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind)
    buffer = io.BytesIO()
    with style(_STYLE):
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=undated)
    return buffer.getvalue()


def scale(values: Floats) -> float:
    """Return the largest absolute relevance that the colours tell apart; positive, also for an empty map."""
    largest = float(np.abs(values).max())
    return float(np.percentile(np.abs(values), PERCENTILE)) or largest or 1.0


def _row(
    part: SubFigure,
    title: str,
    picture: NDArray[np.uint8],
    maps: Mapping[str, Floats],
    region: tuple[int, int, int, int] | None,
) -> None:
    """Fill a row: equal panels, and under each map its colour bar."""
    part.suptitle(drawable(title), fontsize=10, parse_math=False)
    grid = part.add_gridspec(2, 1 + len(maps), height_ratios=(1, 0.04))
    shown = _panel(part.add_subplot(grid[0, 0]), "input")
    shown.imshow(picture, interpolation="nearest")
    if region:
        outline(shown, region)
    for column, (method, values) in enumerate(maps.items(), start=1):
        axis = _panel(part.add_subplot(grid[0, column]), method.replace(":", "\n", 1))
        limit = scale(values)
        image = axis.imshow(values, cmap=COLOURS, vmin=-limit, vmax=limit, interpolation="nearest")
        _bar(part.add_subplot(grid[1, column]), image, limit, _extend(values, limit))


def outline(axis: Axes, region: tuple[int, int, int, int]) -> None:
    """Draw a frame around x0, y0, x1, y1 that is seen on a ground of any colour; the picture's extent stays."""
    x0, y0, x1, y1 = region
    extent = axis.get_xlim(), axis.get_ylim()
    for width, colour in ((2.2, "black"), (1.0, "#ffe14d")):
        corner = (x0 - 0.5, y0 - 0.5)
        axis.add_patch(Rectangle(corner, x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=width))
    axis.set_xlim(extent[0])
    axis.set_ylim(extent[1])


def _panel(axis: Axes, title: str) -> Axes:
    axis.set_title(drawable(title), parse_math=False)
    axis.set_xticks([])
    axis.set_yticks([])
    return axis


def _extend(values: Floats, limit: float) -> str:
    """Which ends of the colour bar are pointed: those beyond which relevance lies."""
    below, above = bool(values.min() < -limit), bool(values.max() > limit)
    return {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")


def _bar(axis: Axes, image: AxesImage, limit: float, extend: str) -> None:
    bar = axis.figure.colorbar(image, cax=axis, orientation="horizontal", extend=extend, extendfrac=0.04)
    bar.set_ticks((-limit, 0, limit), labels=(f"\N{MINUS SIGN}{limit:.2g}", "0", f"+{limit:.2g}"))
    sides: tuple[Literal["left", "center", "right"], ...] = ("left", "center", "right")
    for label, side in zip(axis.get_xticklabels(), sides, strict=True):
        label.set_horizontalalignment(side)  # within the panel, so that all panels keep one width
    bar.set_label("relevance", labelpad=0)
