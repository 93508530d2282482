"""Results as one picture: time in plain gradients, per network, number of pictures and method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from benchmarks.cases import METHODS
from relprop.plots.palette import BLUE, FAINT, GREEN, INK, SOFT, STYLE, VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WHO = {"relprop": VERMILION, "zennit": BLUE, "captum": GREEN}
LABELS = {"relprop": "relprop", "zennit": "zennit", "captum": "Captum, nearest"}
_WIDTH = 0.27
_HIGHEST = 1.6
"""In heights of the second highest bar of a network, so that one that stands far above all others does not flatten
them: it is cut there, which is marked, and its number written on it."""


def bars(results: Mapping[str, Any]) -> Figure | None:
    """Draw a panel per network (columns) and number of pictures (rows); None where nothing was measured.

    Bars are medians, whiskers quartiles, the black line across the bars of a method its convolution floor (dotted:
    with alpha 2 in four passes), the grey line the plain gradient.
    """
    cases = [case for case in results["cases"].values() if case["method"] in METHODS]
    methods = [method for method in METHODS if any(case["method"] == method for case in cases)]
    networks = list(dict.fromkeys(case["network"] for case in cases))
    batches = sorted({case["batch"] for case in cases})
    if not cases:
        return None
    with rc_context(STYLE):
        size = (1.2 + 3.1 * len(networks), 0.9 + 1.9 * len(batches))
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(len(batches), len(networks), squeeze=False, sharex=True, sharey="col")
        tops = {name: _top([case for case in cases if case["network"] == name]) for name in networks}
        for row, batch in enumerate(batches):
            for column, name in enumerate(networks):
                mine = {c["method"]: c for c in cases if (c["network"], c["batch"]) == (name, batch)}
                _panel(panels[row][column], mine, methods, tops[name])
                if row == 0:
                    panels[row][column].set_title(name, loc="left", fontweight="bold")
            plural = "picture" if batch == 1 else "pictures"
            panels[row][0].set_ylabel(f"{batch} {plural}\ntime / gradient")
        handles = {label: handle for panel in panels.flat for handle, label in zip(*_legend(panel), strict=True)}
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
        m = results["machine"]
        threads = "1 thread" if m["threads"] == 1 else f"{m['threads']} threads"
        note = " · a quick run, noisy" if results["quick"] else ""
        figure.suptitle(f"{m.get('gpu') or m['cpu']}, {threads}, {m['dtype']}{note}", fontsize=9, color=SOFT)
    return figure


def _top(cases: Sequence[Mapping[str, Any]]) -> float:
    """Where the axes of a network end: above its highest bar, or where that is cut."""
    heights = [1.0]
    for case in cases:
        found = case["contenders"]
        unit = found.get("gradient", {}).get("seconds", {}).get("median")
        heights += [found[name]["seconds"]["q3"] / unit for name in WHO if unit and found.get(name, {}).get("seconds")]
    *_, second, highest = sorted([1.0, *heights])
    return 1.05 * min(highest, _HIGHEST * second)


def _cut(axis: Axes, at: float, top: float, height: float) -> None:
    """Mark a bar that goes on above the axis: two strokes through it, and its number."""
    for level in (0.86, 0.89):
        ends = ((at - 0.6 * _WIDTH, at + 0.6 * _WIDTH), (top * (level - 0.02), top * (level + 0.02)))
        axis.plot(*ends, color="white", linewidth=2.0, zorder=5, solid_capstyle="butt")
    axis.text(at, top * 0.93, f"{height:.1f}", ha="center", va="bottom", color="white", fontsize=7, zorder=5)


def _panel(axis: Axes, cases: Mapping[str, Mapping[str, Any]], methods: Sequence[str], top: float) -> None:
    """Draw the methods of one network and number of pictures."""
    axis.axhline(1, color=FAINT, linewidth=0.8, zorder=1, label="plain gradient")
    for place, method in enumerate(methods):
        found = cases.get(method, {}).get("contenders", {})
        unit = found.get("gradient", {}).get("seconds", {}).get("median")
        if not unit:
            continue
        for k, (name, colour) in enumerate(WHO.items()):
            seconds = found.get(name, {}).get("seconds")
            at = place + (k - 1) * _WIDTH
            if seconds is None:
                axis.text(at, 0.05, "none", rotation=90, ha="center", va="bottom", color=SOFT, fontsize=6, zorder=5)
                continue
            low, height, high = (seconds[what] / unit for what in ("q1", "median", "q3"))
            axis.bar(at, height, _WIDTH * 0.92, color=colour, label=LABELS[name], zorder=2)
            if height > top:
                _cut(axis, at, top, height)
            else:
                axis.vlines(at, low, min(high, top), color=INK, linewidth=0.8, zorder=3)
        for name, stroke, label in (("floor", "-", "floor"), ("floor-four", ":", "floor of four")):
            level = found.get(name, {}).get("seconds", {}).get("median")
            if level:
                ends = (place - 1.5 * _WIDTH, place + 1.5 * _WIDTH)
                axis.hlines(level / unit, *ends, color=INK, linestyle=stroke, linewidth=1.6, zorder=4, label=label)
    axis.set_xticks(range(len(methods)), [method.replace("-", "\n", 1) for method in methods], fontsize=7)
    axis.set_xlim(-0.5, len(methods) - 0.5)
    axis.set_ylim(0, top)


def _legend(axis: Axes) -> tuple[list[Any], list[str]]:
    """Return handles and labels, each label once."""
    handles, labels = axis.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    return list(once.values()), list(once)
