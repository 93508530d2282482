"""One figure per method, as a dot with its interval: what the paper says of two classes in one picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from relprop.plots.named import on_a_line
from relprop.plots.palette import FAINT, FAMILIES, FAMILY_COLOURS, INK, STYLE, family
from relprop.plots.style import style

Triple = tuple[float, float, float]

_ABOVE: dict[str, Any] = {"loc": "outside upper center", "ncols": 4, "handletextpad": 0.2, "columnspacing": 1.4}


def similarity(cosines: Mapping[str, Triple]) -> Figure:
    """Draw how alike the maps of two classes of one picture are (claim 8).

    Args:
        cosines: by method, from top to bottom, the mean cosine and its interval's ends.
    """
    with style(STYLE):
        figure, axis = _rows(list(cosines))
        _dots(axis, cosines)
        axis.legend(
            handles=_families(cosines), loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3, handletextpad=0.2
        )
        axis.set_xlabel("cosine similarity of the maps of two classes in one picture")
        left = min([0.0, *(low for _, low, _ in cosines.values())])
        axis.set_xlim(left if left == 0 else left - 0.05, 1.02)
    return figure


def contradiction(inside: Mapping[str, Triple], area: Mapping[str, float]) -> Figure:
    """Draw the share of negative relevance inside other classes' boxes, beside those boxes' area (claim 11).

    Args:
        inside: by method, from top to bottom, the mean share and its interval's ends.
        area: by method, the mean share of the picture that the boxes cover.
    """
    with style(STYLE):
        figure, axis = _rows(list(inside))
        _dots(axis, inside)
        for row, (method, (mean, _, _)) in enumerate(inside.items()):
            axis.plot((area[method], mean), (row, row), color=FAINT, linewidth=0.8, zorder=1)
            axis.plot(area[method], row, marker="|", color=INK, markersize=11, markeredgewidth=1.2, linestyle="none")
        bar = Line2D([], [], marker="|", color=INK, markersize=9, linestyle="none", label="share of the area")
        figure.legend(handles=[bar, *_families(inside)], **_ABOVE)
        axis.set_xlabel("share of negative relevance inside the boxes of the picture's other classes")
        axis.set_xlim(left=0)
    return figure


def _rows(methods: list[str]) -> tuple[Figure, Axes]:
    """Return a figure with a row per method."""
    figure = Figure(figsize=(6.2, 1.1 + 0.27 * max(len(methods), 1)), layout="constrained")
    axis = figure.subplots()
    axis.set_yticks(range(len(methods)), labels=[*map(on_a_line, methods)])
    axis.set_ylim(len(methods) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.grid(axis="x", color="#e6e6e6", linewidth=0.6)
    axis.set_axisbelow(True)
    return figure, axis


def _dots(axis: Axes, values: Mapping[str, Triple]) -> None:
    for row, (method, (mean, low, high)) in enumerate(values.items()):
        colour = FAMILY_COLOURS[family(method)]
        axis.plot((low, high), (row, row), color=colour, linewidth=2.2, solid_capstyle="butt", alpha=0.55)
        axis.plot(mean, row, marker="o", color=colour, markersize=4.5, linestyle="none")


def _families(methods: Iterable[str]) -> list[Line2D]:
    """Return an entry of the legend for each family that is there."""
    there = {family(method) for method in methods}
    looks: dict[str, Any] = {"marker": "o", "markersize": 4.5, "linestyle": "none"}
    return [Line2D([], [], color=FAMILY_COLOURS[k], label=text, **looks) for k, text in FAMILIES.items() if k in there]
