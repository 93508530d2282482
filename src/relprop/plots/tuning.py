"""How a search went, and what came of it: every candidate beside the chosen one, and the named methods elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relprop.plots.named import on_a_line
from relprop.plots.palette import BLUE, FAINT, INK, STYLE, VERMILION
from relprop.plots.style import drawable, style

Triple = tuple[float, float, float]


def tuning(
    paths: Mapping[str, Sequence[float]],
    chosen: str,
    rounds: Sequence[str],
    measure: str,
    gaps: Mapping[str, Triple],
) -> Figure:
    """Draw a line per candidate from round to round, until it is left out, and a dot per method that it is beside.

    Args:
        paths: by candidate, its means, as many as there were rounds for it. Drawn is what the chosen one has less.
        chosen: the one that was chosen.
        rounds: what to write under each.
        measure: its name.
        gaps: by method, from top to bottom, on pictures that the search did not see, the chosen one's value less the
            method's: the mean and the ends of its interval.
    """
    with style(STYLE):
        figure = Figure(figsize=(9.2, max(3.2, 1.3 + 0.27 * len(gaps))), layout="constrained")
        search, told = figure.subplots(1, 2)
        _search(search, paths, chosen, rounds)
        search.set_ylabel(f"mean {drawable(measure)}, less the chosen one's")
        _told(told, gaps)
        told.set_xlabel(f"{drawable(measure)}: the chosen one's less this method's,\nother pictures, 95 % intervals")
    return figure


def _search(axis: Axes, paths: Mapping[str, Sequence[float]], chosen: str, rounds: Sequence[str]) -> None:
    """The rounds."""
    for name, means in paths.items():
        last = len(means) == len(rounds)
        colour = VERMILION if name == chosen else INK if last else FAINT
        width, order = (2.0, 3) if name == chosen else (0.9 if last else 0.5, 2 if last else 1)
        less = [mean - own for mean, own in zip(means, paths[chosen], strict=False)]
        axis.plot(range(len(less)), less, color=colour, linewidth=width, zorder=order, marker="o", markersize=2.5)
    axis.set_xticks(range(len(rounds)), labels=list(rounds))
    axis.set_xlim(-0.15, max(len(rounds) - 1, 0) + 0.15)
    axis.set_xlabel("candidates on pictures; red: chosen, black: other finalists")


def _told(axis: Axes, gaps: Mapping[str, Triple]) -> None:
    """The comparison: right of zero the chosen one is better."""
    axis.axvline(0, color=VERMILION, linewidth=1.2)
    for row, (mean, low, high) in enumerate(gaps.values()):
        axis.plot((low, high), (row, row), color=BLUE, linewidth=2.2, solid_capstyle="butt", alpha=0.55)
        axis.plot(mean, row, marker="o", color=BLUE, markersize=4.5, linestyle="none")
    axis.set_yticks(range(len(gaps)), labels=[*map(on_a_line, gaps)])
    axis.set_ylim(len(gaps) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
