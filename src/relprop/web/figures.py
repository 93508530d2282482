"""Figures of what the page shows, as files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relprop.plots.drawn import render
from relprop.plots.explained import grid
from relprop.plots.view import PERCENTILE
from relprop.web.asked import Asked
from relprop.web.pictures import Pictures
from relprop.web.refused import Refused, shown

KINDS = {"pdf": "application/pdf", "svg": "image/svg+xml", "png": "image/png"}
"""Formats, and what each is called on the web."""


@dataclass(frozen=True)
class Look:
    """How maps are coloured on the page.

    Attributes:
        under: how strong the picture is under them, 0 to 100.
        scale, sign, percentile: as `relprop.plots.grid` takes them.
        box: left, top, right, bottom, half-open, in pixels of the network's input.
    """

    under: float
    scale: str
    sign: str
    percentile: float
    box: tuple[int, int, int, int] | None


def look_in(given: Mapping[str, Any]) -> Look:
    """Read how maps are to look; what is not said is as in the figures of the command line.

    Raises:
        Refused: it is no such thing.
    """
    box = given.get("box")
    sides = box if isinstance(box, list) else []
    if box is not None and not (len(sides) == 4 and all(type(side) is int and abs(side) < 1 << 20 for side in sides)):
        raise Refused(422, '"box" is [left, top, right, bottom], four whole numbers of pixels')
    numbers = {name: given.get(name, usual) for name, usual in (("under", 50), ("percentile", PERCENTILE))}
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number <= 100:
            raise Refused(422, f'"{name}" is a number from 0 to 100')
    words = {name: given.get(name, usual) for name, usual in (("scale", "each"), ("sign", "both"))}
    for name, word in words.items():
        if not isinstance(word, str) or len(word) > 20:
            raise Refused(422, f'"{name}" is a word, such as {"each" if name == "scale" else "both"}')
    return Look(numbers["under"], words["scale"], words["sign"], numbers["percentile"], tuple(sides) if sides else None)


def demand_kind(kind: str) -> str:
    """Return a format's name.

    Raises:
        Refused: there is none of that name.
    """
    if kind not in KINDS:
        raise Refused(422, f"no figure of format {shown(kind)!r}; choose from {', '.join(KINDS)}")
    return kind


def figure(pictures: Pictures, asked: Asked, look: Look, kind: str) -> bytes:
    """Explain, and draw the grid of it.

    Raises:
        Refused: as of `Pictures.explained`; it is no picture; there is no such look.
        RelpropError: as of `Pictures.explained`.
    """
    if asked.of != "picture":
        raise Refused(422, "figures are drawn of pictures; of a text relprop explain --text draws one")
    _, prepared, e = pictures.explained(asked)
    boxes = [*prepared.boxes, *([look.box] if look.box else [])]
    try:
        drawn = grid(
            e,
            overlay=look.under / 100,
            scale=look.scale,
            sign=look.sign,
            percentile=look.percentile,
            boxes=boxes or None,
        )
    except ValueError as error:
        raise Refused(422, str(error)) from None
    return render(drawn, kind)
