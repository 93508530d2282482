"""A picture beside its heat maps: what speaks for a class in red, what speaks against it in blue."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.collections import LineCollection
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
    inside: Sequence[ArrayLike] = (),
    mu_w: Mapping[str, Sequence[float]] | None = None,
    *,
    letters: bool = False,
) -> Figure:
    """Draw a row per target: the picture, then a map per method, each with a colour scale of its own.

    Maps are summed over the colour channels. Their scales are symmetric around zero, which is white.

    Args:
        picture: (H, W, 3) uint8, exactly what the network saw.
        titles: one per target, such as ``"otter (class 360), logit 20.8"``.
        relevance: (T, C, H, W) by method, the same T as there are titles.
        region: x0, y0, x1, y1, half-open, to be outlined on the picture.
        inside: per target (H, W) bool, such as the union of its class's boxes, to be outlined on picture and maps.
        mu_w: by method a figure per target, written under its map; NaN where it is not defined.
        letters: whether the columns are lettered, (a) the picture, as in the paper's figures.

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
            shown = {method: values[row] for method, values in maps.items()}
            notes = {method: _weighted(figures[row]) for method, figures in (mu_w or {}).items()}
            mask = np.asarray(inside[row], dtype=bool) if len(inside) else None
            _row(part, title, picture, shown, region, mask, notes, "abcdefghijklmnopqrstuvwxyz" if letters else "")
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
    inside: NDArray[np.bool_] | None,
    notes: Mapping[str, str],
    letters: str,
) -> None:
    """Fill a row: equal panels, and under each map its colour bar and what is noted of it."""
    part.suptitle(drawable(title), fontsize=10, parse_math=False)
    grid = part.add_gridspec(2, 1 + len(maps), height_ratios=(1, 0.04))
    lettered = [f"({letter}) " for letter in letters[: 1 + len(maps)]] or [""] * (1 + len(maps))
    shown = _panel(part.add_subplot(grid[0, 0]), f"{lettered[0]}input")
    shown.imshow(picture, interpolation="nearest")
    if region:
        outline(shown, region)
    if inside is not None:
        _outline_mask(shown, inside, ((2.2, "black"), (1.0, "#ffe14d")))
    for column, (method, values) in enumerate(maps.items(), start=1):
        title = (lettered[column:] or [""])[0] + method.replace(":", "\n", 1)
        axis = _panel(part.add_subplot(grid[0, column]), title)
        limit = scale(values)
        image = axis.imshow(values, cmap=COLOURS, vmin=-limit, vmax=limit, interpolation="nearest")
        if inside is not None:
            _outline_mask(axis, inside, ((0.8, "#444444"),))
        bar = part.add_subplot(grid[1, column])
        _bar(bar, image, limit, _extend(values, limit), notes.get(method, "relevance"))


def _weighted(mu_w: float) -> str:
    """Return what stands under a map of which mu_w is known, or not defined."""
    return f"relevance; $\\mu_w$ {mu_w:.2f}" if np.isfinite(mu_w) else "relevance; $\\mu_w$ not defined"


def _outline_mask(axis: Axes, mask: NDArray[np.bool_], strokes: Sequence[tuple[float, str]]) -> None:
    """Draw a frame around the pixels of a mask, along their edges; the picture's extent stays."""
    wide = np.pad(mask, 1).astype(np.int8)
    y, x = np.nonzero(np.diff(wide, axis=1)[1:-1])  # edges that stand upright, left of pixel x
    upright = [((c - 0.5, r - 0.5), (c - 0.5, r + 0.5)) for r, c in zip(y, x, strict=True)]
    y, x = np.nonzero(np.diff(wide, axis=0)[:, 1:-1])
    lying = [((c - 0.5, r - 0.5), (c + 0.5, r - 0.5)) for r, c in zip(y, x, strict=True)]
    extent = axis.get_xlim(), axis.get_ylim()
    for width, colour in strokes:
        axis.add_collection(LineCollection([*upright, *lying], colors=colour, linewidths=width, capstyle="projecting"))
    axis.set_xlim(extent[0])
    axis.set_ylim(extent[1])


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


def _bar(axis: Axes, image: AxesImage, limit: float, extend: str, below: str) -> None:
    bar = axis.figure.colorbar(image, cax=axis, orientation="horizontal", extend=extend, extendfrac=0.04)
    bar.set_ticks((-limit, 0, limit), labels=(f"\N{MINUS SIGN}{limit:.2g}", "0", f"+{limit:.2g}"))
    sides: tuple[Literal["left", "center", "right"], ...] = ("left", "center", "right")
    for label, side in zip(axis.get_xticklabels(), sides, strict=True):
        label.set_horizontalalignment(side)  # within the panel, so that all panels keep one width
    bar.set_label(below, labelpad=0)
