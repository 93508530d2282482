"""A picture beside its heat maps: what speaks for a class in red, what speaks against it in blue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from relprop.plots.drawn import FORMATS, SETTINGS, Drawn, render
from relprop.plots.named import plain, shown
from relprop.plots.outlines import ON_MAPS, ON_PICTURES, Box, Strokes, demand_within, outline, outline_mask
from relprop.plots.palette import ALARM, INK
from relprop.plots.style import drawable, style
from relprop.plots.view import COLOURS, Range, View, coloured, scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure
    from numpy.typing import ArrayLike, NDArray

    from relprop.support.account import Account

    Floats = NDArray[np.float64]

PANEL = 2.7
"""Width and height of a panel, in inches."""
AROUND = 1.12
"""Height of what stands above and below a panel, likewise: less would make panels narrower than their colour bars."""
ALONE = {"+": "\nshown: what is above zero", "-": "\nshown: what is below zero"}
"""What is said of maps whose other sign is hidden."""
LINE = 0.16
"""Height of a line of letters, likewise: rows with more of them are higher, so that panels are alike."""
__all__ = ["COLOURS", "FORMATS", "PANEL", "bare", "below", "heatmaps", "paint", "render", "ruler", "scale"]
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def heatmaps(
    picture: ArrayLike,
    titles: Sequence[str],
    relevance: Mapping[str, ArrayLike],
    region: tuple[int, int, int, int] | None = None,
    inside: Sequence[ArrayLike] = (),
    mu_w: Mapping[str, Sequence[float]] | None = None,
    *,
    letters: bool = False,
    view: View | None = None,
    accounts: Mapping[str, Sequence[Account]] | None = None,
    boxes: Sequence[Sequence[Box]] = (),
    panel: float = PANEL,
) -> Figure:
    """Draw a row per target: the picture, then a map per method, each with a colour scale of its own.

    Maps are summed over the colour channels. White is zero; scales are symmetric around it, but of maps of one sign
    they begin there.

    Args:
        picture: (H, W, 3) uint8, exactly what the network saw; or (T, H, W, 3), one for each row.
        titles: one per target, such as ``"otter (class 360), logit 20.8"``.
        relevance: (T, C, H, W) by method, the same T as there are titles.
        region: x0, y0, x1, y1, half-open, to be outlined on the picture.
        inside: per target (H, W) bool, such as the union of its class's boxes, to be outlined on picture and maps.
        mu_w: by method a figure per target, written under its map; NaN where it is not defined.
        letters: whether the columns are lettered, (a) the picture, as in the paper's figures.
        view: how maps are coloured and methods named.
        accounts: by method one per target: how much of the logit lies on the map is written under it, in red where
            that is less than half.
        boxes: per target x0, y0, x1, y1, half-open, to be outlined on picture and maps.
        panel: width and height of a panel, in inches.

    Returns:
        The figure, not yet written; see `render`.

    Raises:
        ValueError: the shapes do not fit each other, a map is not finite, or a box lies beside the picture.
    """
    view = view or View()
    pictures = np.asarray(picture)
    pictures = pictures if pictures.ndim == 4 else np.broadcast_to(pictures, (len(titles), *pictures.shape))
    demand_within((box for several in boxes for box in several), pictures.shape[1:3])
    maps = {method: _map(method, values, len(titles), pictures, view) for method, values in relevance.items()}
    ranges = view.ranges({method: [*values] for method, values in maps.items()})
    with style(SETTINGS):
        told = {
            method: [below(account, None, view.sign) for account in each] for method, each in (accounts or {}).items()
        }
        lines = [max((each[row].count("\n") for each in told.values()), default=0) for row in range(len(titles))]
        head = max((shown(method, view.names).count("\n") for method in maps), default=0)
        heights = [
            panel + AROUND + LINE * (head + n + title.count("\n")) for n, title in zip(lines, titles, strict=True)
        ]
        figure = Drawn(figsize=(panel * (1 + len(maps)), sum(heights)), layout=ConstrainedLayoutEngine(h_pad=0.07))
        rows = figure.subfigures(len(titles), 1, squeeze=False, height_ratios=heights)[:, 0]
        for row, (part, title) in enumerate(zip(rows, titles, strict=True)):
            own = _Row(
                pictures[row],
                {method: values[row] for method, values in maps.items()},
                {method: each[row] for method, each in ranges.items()},
                _Frames(
                    region,
                    np.asarray(inside[row], dtype=bool) if len(inside) else None,
                    boxes[row] if len(boxes) else (),
                ),
                {method: several[row] for method, several in (accounts or {}).items()},
                {method: figures[row] for method, figures in (mu_w or {}).items()},
            )
            part.suptitle(drawable(title), fontsize=10, parse_math=False)
            _fill(part, own, view, _LETTERS if letters else "")
    return figure


@dataclass(frozen=True)
class _Frames:
    """What is outlined in a row."""

    region: tuple[int, int, int, int] | None = None
    inside: NDArray[np.bool_] | None = None
    boxes: Sequence[Box] = ()

    def draw(self, axis: Axes, strokes: Strokes) -> None:
        """Draw what stands on picture and maps alike."""
        if self.inside is not None:
            outline_mask(axis, self.inside, strokes)
        for box in self.boxes:
            outline(axis, box, strokes)


@dataclass(frozen=True)
class _Row:
    """A picture and its maps."""

    picture: NDArray[np.uint8]
    maps: Mapping[str, Floats]
    ranges: Mapping[str, Range]
    frames: _Frames = field(default_factory=_Frames)
    accounts: Mapping[str, Account] = field(default_factory=dict)
    mu_w: Mapping[str, float] = field(default_factory=dict)


def _map(method: str, values: ArrayLike, rows: int, pictures: NDArray[np.uint8], view: View) -> Floats:
    """The maps (T, H, W) of a method, of the signs that are shown."""
    summed: Floats = np.asarray(values, dtype=np.float64).sum(axis=1)
    if summed.shape != (rows, *pictures.shape[1:3]):
        shapes = f"maps {summed.shape}, {rows} titles, picture {pictures.shape[1:]}"
        raise ValueError(f"{method}: shapes do not fit: {shapes}")
    if not np.isfinite(summed).all():
        raise ValueError(f"{method}: the map is not finite")
    return view.signed(summed)


def _fill(part: SubFigure, row: _Row, view: View, letters: str) -> None:
    """Fill a row: equal panels, and under each map its colour bar and what is noted of it."""
    grid = part.add_gridspec(2, 1 + len(row.maps), height_ratios=(1, 0.04))
    lettered = [f"({letter}) " for letter in letters[: 1 + len(row.maps)]] or [""] * (1 + len(row.maps))
    first = bare(part.add_subplot(grid[0, 0]), f"{lettered[0]}input")
    first.imshow(row.picture, interpolation="nearest")
    if row.frames.region:
        outline(first, row.frames.region)
    row.frames.draw(first, ON_PICTURES)
    for column, (method, values) in enumerate(row.maps.items(), start=1):
        letter = (lettered[column:] or [""])[0]
        axis = bare(part.add_subplot(grid[0, column]), letter + shown(method, view.names))
        image = paint(axis, values, row.ranges[method], view, row.picture)
        row.frames.draw(axis, ON_PICTURES if view.overlay else ON_MAPS)
        bar = part.add_subplot(grid[1, column])
        account = row.accounts.get(method)
        ruler(bar, image, row.ranges[method], values, below(account, row.mu_w.get(method), view.sign))
        if account is not None and account.low:
            bar.xaxis.label.set_color(ALARM)


def paint(
    axis: Axes, values: Floats, within: Range, view: View, picture: NDArray[np.uint8] | None = None
) -> ScalarMappable:
    """Draw a map, over its picture where the view wants that; what is returned knows its colours, for a colour bar."""
    colours, norm = within.colours(view.colours), Normalize(within.low, within.high)
    if picture is None or not view.overlay:
        return axis.imshow(values, cmap=colours, norm=norm, interpolation="nearest")
    axis.imshow(coloured(values, within, view, picture), interpolation="nearest")
    return ScalarMappable(norm, colours)


def below(account: Account | None, mu_w: float | None = None, sign: str = "both") -> str:
    """Return what stands under a map, a formula in it where mu_w is known, or not defined.

    Args:
        account: what the map holds, of whatever sign.
        mu_w: NaN where it is not defined.
        sign: which numbers are shown, as of `View`.
    """
    told = "relevance"
    if account is not None:
        told = account.words() if account.kind == "relevance" else f"{account.kind}: {account.words()}"
        told += f"\n{account.warning}" if account.warning else ""
    told += ALONE.get(sign, "")
    told = plain(told)
    if mu_w is None:
        return told
    return f"{told}; $\\mu_w$ {mu_w:.2f}" if np.isfinite(mu_w) else f"{told}; $\\mu_w$ not defined"


def bare(axis: Axes, title: str) -> Axes:
    """Give an axis a title, and no ticks."""
    axis.set_title(title)
    axis.set_xticks([])
    axis.set_yticks([])
    return axis


def ruler(axis: Axes, image: Any, within: Range, values: Floats, told: str) -> None:
    """Draw a colour bar whose ends are pointed where numbers lie beyond them, and words below it."""
    extend = within.extend(values)
    bar = axis.figure.colorbar(image, cax=axis, orientation="horizontal", extend=extend, extendfrac=0.04)
    ticks = [(within.low, f"\N{MINUS SIGN}{-within.low:.2g}"), (0.0, "0"), (within.high, f"+{within.high:.2g}")]
    ticks = ticks[(within.low == 0) : 2 + (within.high != 0)]
    bar.set_ticks([place for place, _ in ticks], labels=[text for _, text in ticks])
    sides: list[Literal["left", "center", "right"]] = ["left", "center", "right"]
    for label, side in zip(axis.get_xticklabels(), sides if len(ticks) == 3 else sides[::2], strict=True):
        label.set_horizontalalignment(side)  # within the panel, so that all panels keep one width
    axis.xaxis.label.set_color(INK)
    bar.set_label(told, labelpad=2)
