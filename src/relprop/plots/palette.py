"""One look per method, the same in every figure, so that ten curves can be told apart.

Among curves a colour says which rule, blue alpha 1, vermilion alpha 2, and a stroke what happens in the input
layer: solid nothing, dashed flat, dotted zB. The paper's methods, in one axis, have looks of their own. Among dots,
which have their names beside them, the colour says which family.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# The colours are Okabe and Ito's, which the colour-blind tell apart too (their yellow is too light for a line).
BLUE, SKY, GREEN, ORANGE, VERMILION, PURPLE, GREY = (
    "#0072b2",
    "#56b4e9",
    "#009e73",
    "#e69f00",
    "#d55e00",
    "#cc79a7",
    "#777777",
)
INK, FAINT = "#222222", "#9a9a9a"
SOFT, ALARM = "#5f6368", "#b3401a"
"""Of letters: beside what matters, and warnings; both have a contrast above 5 on white."""
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
}
"""Matplotlib's settings for every figure of the study."""

FAMILIES = {"composites": "Composites", "uniform": "One LRP rule in every layer", "others": "Other methods"}
FAMILY_COLOURS = {"composites": VERMILION, "uniform": BLUE, "others": GREY}

_COLOURS = {  # by what a name has in it; the first that fits
    "alpha1": BLUE,
    "alpha2": VERMILION,
    "gamma": GREEN,
    "plus": PURPLE,
    "lrp-z": GREEN,
    "lrp-epsilon": ORANGE,
    "guided-backprop": VERMILION,
    "deconvnet": ORANGE,
    "gradient-x-input": GREEN,
    "integrated-gradients": SKY,
    "smoothgrad": PURPLE,
    "gradient": BLUE,
    "excitation-backprop": BLUE,
    "pattern-attribution": PURPLE,
    "pattern-net": SKY,
    "grad-cam": INK,
    "cam": GREY,
    "uniform": INK,
}
_SOLID, _DASHED, _DOTTED, _MIXED = "-", (0, (5, 1.6)), (0, (1, 1.4)), (0, (5, 1.4, 1, 1.4))
_STROKES: tuple[Any, ...] = (_SOLID, _DASHED, _MIXED, _DOTTED)
_OTHER = (GREY, INK, SKY, PURPLE, ORANGE)


@dataclass(frozen=True)
class Look:
    """How a method is drawn: its family, a colour, and a line style as matplotlib has them."""

    family: str
    colour: str
    stroke: Any


PAPER = {
    "cmp-alpha2-flat": Look("composites", VERMILION, _SOLID),
    "cmp-alpha2": Look("composites", VERMILION, _DASHED),
    "cmp-alpha1-flat": Look("composites", ORANGE, _SOLID),
    "cmp-alpha1": Look("composites", ORANGE, _DASHED),
    "lrp-alpha2": Look("uniform", BLUE, _SOLID),
    "lrp-alpha1": Look("uniform", SKY, _SOLID),
    "lrp-z": Look("uniform", GREEN, _SOLID),
    "guided-backprop": Look("others", PURPLE, _SOLID),
    "pattern-attribution": Look("others", PURPLE, _DOTTED),
}
"""The methods of the paper's tables in one axis: composites warm, one rule everywhere cool, others purple."""


def family(method: str) -> str:
    """Return which of `FAMILIES` a method is of."""
    if method.startswith(("cmp-", "epsilon-")):
        return "composites"
    return "uniform" if method.startswith("lrp-") else "others"


def looks(methods: Iterable[str]) -> dict[str, Look]:
    """Return a look for each method; within a family no two are the same, as long as there are enough."""
    found: dict[str, Look] = {}
    for number, method in enumerate(methods):
        colour = next((c for word, c in _COLOURS.items() if word in method), _OTHER[number % len(_OTHER)])
        wanted = [_stroke(method), *_STROKES]
        choices = [Look(family(method), colour, stroke) for stroke in wanted]
        choices += [Look(family(method), other, stroke) for other in _OTHER for stroke in _STROKES]
        found[method] = next((look for look in choices if look not in found.values()), choices[0])
    return found


def _stroke(method: str) -> Any:
    if ":" in method:
        return _MIXED
    if "flat" in method or method == "lrp-epsilon":  # which hides LRP_z's curve, or is hidden by it
        return _DASHED
    return _DOTTED if "box" in method else _SOLID
