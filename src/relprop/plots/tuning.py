"""How a search went: a line per candidate, from round to round, until it is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from relprop.plots.palette import BLUE, FAINT, INK, STYLE, VERMILION
from relprop.plots.style import drawable, style


def tuning(
    paths: Mapping[str, Sequence[float]],
    chosen: str,
    rounds: Sequence[str],
    measure: str,
    levels: Mapping[str, float],
) -> Figure:
    """Draw the mean of a measure of every candidate in each round that it was in.

    Args:
        paths: by candidate, its means, as many as there were rounds for it.
        chosen: the one that was chosen.
        rounds: what to write under each.
        measure: its name.
        levels: by name, means on the pictures that the search did not see, as lines: the chosen one's first.
    """
    with style(STYLE):
        figure = Figure(figsize=(6.2, 3.8), layout="constrained")
        axis = figure.subplots()
        for name, means in paths.items():
            last = len(means) == len(rounds)
            colour = VERMILION if name == chosen else INK if last else FAINT
            width, order = (2.0, 3) if name == chosen else (0.9 if last else 0.5, 2 if last else 1)
            axis.plot(range(len(means)), means, color=colour, linewidth=width, zorder=order, marker="o", markersize=2.5)
        for (name, level), colour, above in zip(levels.items(), (VERMILION, BLUE), (True, False), strict=False):
            axis.axhline(level, color=colour, linewidth=0.9, linestyle="--", zorder=0)
            place = {"xy": (1, level), "xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
            put = {"xytext": (0, 2 if above else -2), "ha": "right", "va": "bottom" if above else "top"}
            axis.annotate(drawable(name), color=colour, fontsize=7.5, **place, **put)  # type: ignore[arg-type]
        axis.set_xticks(range(len(rounds)), labels=list(rounds))
        axis.set_xlim(-0.15, max(len(rounds) - 1, 0) + 0.15)
        axis.set_xlabel("candidates and pictures of each round; thick: chosen, black: other finalists")
        axis.set_ylabel(f"mean {drawable(measure)}")
    return figure
