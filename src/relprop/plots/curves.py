"""The study's curves over the area of the boxes: Figures 2 and 3 of the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from relprop.plots.named import on_a_line
from relprop.plots.palette import BLUE, FAINT, INK, PAPER, STYLE, VERMILION
from relprop.plots.style import style

Floats = NDArray[np.float64]

BOUNDS = (0.25, 0.5)
"""The paper's bounds of S_in / S_tot, drawn as upright lines."""
_AREA = "area of the boxes, $S_{in}/S_{tot}$ (%)"
_GHOST = "#c4c4c4"


@dataclass(frozen=True)
class Bins:
    """Neighbouring ranges of S_in / S_tot.

    Attributes:
        ends: (K + 1,) where they begin and end, from 0 to 1.
        centres: (K,) the mean of what each holds, where its point is drawn; NaN where it holds nothing.
        numbers: (K,) how many pairs of a picture and a class each holds.
    """

    ends: Floats
    centres: Floats
    numbers: Sequence[int]


@dataclass(frozen=True)
class Curve:
    """A mean in each of K bins, with a band around it.

    Attributes:
        mean, low, high: (K,) NaN where a bin is empty.
    """

    mean: Floats
    low: Floats
    high: Floats


def localisation(curves: Mapping[str, Curve], bins: Bins) -> Figure:
    """Draw mean mu against the boxes' area (Figure 3) in one axis, and beneath it how many pairs there are.

    The paper's methods are coloured, with bands; others are grey ghosts that the legend names together. Dashed in ink
    is what a uniform map has, which is the area itself.

    Args:
        curves: by method, best first; the band is an interval of the mean.
        bins: what the curves are over.
    """
    with style(STYLE):
        figure, axis, strip_of_counts = _with_counts((7.6, 5.2), bins)
        ghosts = [method for method in curves if method not in PAPER]
        for method in ghosts:
            _line(axis, curves[method], bins, _GHOST, "-", 1.0)
        (even,) = axis.plot((0, 100), (0, 1), color=INK, linestyle=(0, (2, 2)), linewidth=0.9, label="uniform map")
        lines = []
        for method, curve in curves.items():
            if method in PAPER:
                look = PAPER[method]
                lines.append(_banded(axis, curve, bins, on_a_line(method), look.colour, look.stroke, 0.10))
        if ghosts:
            lines.append(Line2D([], [], color=_GHOST, linewidth=1.0, label=_few(ghosts)))
        axis.legend(
            handles=[*lines, even], loc="upper left", bbox_to_anchor=(1.01, 1.02), handlelength=2.6, labelspacing=0.5
        )
        axis.set_ylim(0, 1)
        axis.set_ylabel("share of positive relevance inside, $\\mu$")
        strip_of_counts.set_xlabel(_AREA)
    return figure


def occlusion(thing: Curve, context: Curve, bins: Bins) -> Figure:
    """Draw what occluding the object, or all but the object, does to the logit (Figure 2).

    Args:
        thing: mean delta f by the boxes' area; the band is a standard deviation up and down.
        context: likewise.
        bins: what both are over.
    """
    with style(STYLE):
        figure, axis, strip_of_counts = _with_counts((5.6, 4.4), bins)
        axis.axhline(0, color=FAINT, linewidth=0.6)
        _banded(axis, thing, bins, "object occluded", VERMILION, "-")
        _banded(axis, context, bins, "context occluded", BLUE, (0, (5, 1.6)))
        axis.set_ylabel("change of the class's logit, $\\Delta f$")
        axis.legend(loc="best", handlelength=2.6)
        strip_of_counts.set_xlabel(_AREA)
    return figure


def _with_counts(size: tuple[float, float], bins: Bins) -> tuple[Figure, Axes, Axes]:
    """Return a figure, its axis over the area, and the strip beneath it, filled: how many pairs each bin holds."""
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.03))
    axis, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 0.13))
    for each in (axis, below):
        each.set_xlim(0, 100)
        each.set_xticks((0, 25, 50, 75, 100))
        for bound in BOUNDS:
            each.axvline(100 * bound, color=FAINT, linewidth=0.6, zorder=0)
    ends = 100 * bins.ends
    below.bar(ends[:-1], bins.numbers, np.diff(ends), align="edge", color="#d9d9d9", edgecolor="#8c8c8c", linewidth=0.5)
    below.set_ylim(0, max([*bins.numbers, 1]) * 1.08)
    below.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    below.set_ylabel("pairs")
    return figure, axis, below


def _line(axis: Axes, curve: Curve, bins: Bins, colour: str, stroke: Any, width: float | None = None) -> Line2D:
    """Draw a line with a point for each bin, across empty bins too: a gap would hide a bin that stands alone."""
    filled = np.isfinite(curve.mean)
    above = 2 if stroke == "-" else 3  # through a broken line another can be seen
    (line,) = axis.plot(
        100 * bins.centres[filled],
        curve.mean[filled],
        color=colour,
        linestyle=stroke,
        zorder=1 if colour == _GHOST else above,
        linewidth=width,
        marker="o",
        markersize=2.4,
    )
    return line


def _banded(
    axis: Axes, curve: Curve, bins: Bins, label: str, colour: str, stroke: Any, opacity: float = 0.14
) -> Line2D:
    """Draw a line and its band."""
    line = _line(axis, curve, bins, colour, stroke)
    filled = np.isfinite(curve.mean)
    x = 100 * bins.centres[filled]
    axis.fill_between(x, curve.low[filled], curve.high[filled], color=colour, alpha=opacity, linewidth=0)
    line.set_label(label)
    return line


def _few(names: Sequence[str], most: int = 6) -> str:
    """Return the ghosts' names, a line each; of many the first."""
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return "\n".join([*map(on_a_line, names[:most]), *more])


def strip(means: Sequence[tuple[float, float, float]]) -> Curve:
    """Return the curve of (mean, low, high) triples, one per bin."""
    return Curve(*np.array(means, dtype=np.float64).reshape(-1, 3).T)
