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
from numpy.typing import NDArray

from relprop.plots.palette import BLUE, FAINT, FAMILIES, INK, STYLE, VERMILION, looks
from relprop.plots.style import drawable, style

Floats = NDArray[np.float64]

BOUNDS = (0.25, 0.5)
"""The paper's bounds of S_in / S_tot, drawn as upright lines."""
_AREA = "area of the boxes, $S_{in}/S_{tot}$ (%)"


@dataclass(frozen=True)
class Curve:
    """A mean over equal bins of S_in / S_tot, from 0 to 1, with a band around it.

    Attributes:
        mean, low, high: (bins,) NaN where a bin is empty.
    """

    mean: Floats
    low: Floats
    high: Floats


def localisation(curves: Mapping[str, Curve]) -> Figure:
    """Draw mean mu against the boxes' area (Figure 3): a panel per family of methods.

    Dashed in each panel is what a uniform map has, which is the area itself.

    Args:
        curves: by method, best first; the band is an interval of the mean.
    """
    look = looks(curves)
    groups = {name: [method for method in curves if look[method].family == name] for name in FAMILIES}
    groups = {name: methods for name, methods in groups.items() if methods}
    with style(STYLE):
        figure = Figure(figsize=(3.3 * max(len(groups), 1) + 0.3, 3.9), layout=ConstrainedLayoutEngine(wspace=0.05))
        panels = figure.subplots(1, max(len(groups), 1), sharex=True, sharey=True, squeeze=False)[0]
        for axis, (name, methods) in zip(panels, groups.items(), strict=False):
            axis.set_title(FAMILIES[name], loc="left", fontweight="bold")
            _over_area(axis)
            (even,) = axis.plot((0, 100), (0, 1), color=INK, linestyle=(0, (2, 2)), linewidth=0.9, label="uniform map")
            lines = [_banded(axis, curves[m], m, look[m].colour, look[m].stroke) for m in methods]
            axis.legend(handles=[*lines, even], loc="lower right", handlelength=2.6, labelspacing=0.35)
            axis.set_ylim(0, 1)
        panels[0].set_ylabel("share of positive relevance inside, $\\mu$")
    return figure


def occlusion(thing: Curve, context: Curve) -> Figure:
    """Draw what occluding the object, or all but the object, does to the logit (Figure 2).

    Args:
        thing: mean delta f by the boxes' area; the band is a standard deviation up and down.
        context: likewise.
    """
    with style(STYLE):
        figure = Figure(figsize=(5.2, 3.6), layout="constrained")
        axis = figure.subplots()
        axis.axhline(0, color=FAINT, linewidth=0.6)
        _over_area(axis)
        _banded(axis, thing, "object occluded", VERMILION, "-")
        _banded(axis, context, "context occluded", BLUE, (0, (5, 1.6)))
        axis.set_ylabel("change of the class's logit, $\\Delta f$")
        axis.legend(loc="best", handlelength=2.6)
    return figure


def _over_area(axis: Axes) -> None:
    axis.set_xlim(0, 100)
    axis.set_xticks((0, 25, 50, 75, 100))
    axis.set_xlabel(_AREA)
    for bound in BOUNDS:
        axis.axvline(100 * bound, color=FAINT, linewidth=0.6)


def _banded(axis: Axes, curve: Curve, label: str, colour: str, stroke: Any) -> Line2D:
    """Draw a line and its band, across empty bins too: a gap would hide a bin that stands alone."""
    filled = np.isfinite(curve.mean)
    x = (np.flatnonzero(filled) + 0.5) * (100 / len(filled))  # the bins' middles, in per cent
    axis.fill_between(x, curve.low[filled], curve.high[filled], color=colour, alpha=0.14, linewidth=0)
    above = 2 if stroke == "-" else 3  # through a broken line another can be seen
    (line,) = axis.plot(
        x, curve.mean[filled], color=colour, linestyle=stroke, zorder=above, label=drawable(label).replace("$", r"\$")
    )
    return line


def strip(means: Sequence[tuple[float, float, float]]) -> Curve:
    """Return the curve of (mean, low, high) triples, one per bin."""
    return Curve(*np.array(means, dtype=np.float64).reshape(-1, 3).T)
