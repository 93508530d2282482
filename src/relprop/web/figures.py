"""Figures of what the page shows, as files."""

from __future__ import annotations

from relprop.plots.drawn import render
from relprop.plots.explained import grid
from relprop.web.asked import Asked
from relprop.web.pictures import Pictures
from relprop.web.refused import Refused, shown

KINDS = {"pdf": "application/pdf", "svg": "image/svg+xml", "png": "image/png"}
"""Formats, and what each is called on the web."""


def demand_kind(kind: str) -> str:
    """Return a format's name.

    Raises:
        Refused: there is none of that name.
    """
    if kind not in KINDS:
        raise Refused(422, f"no figure of format {shown(kind)!r}; choose from {', '.join(KINDS)}")
    return kind


def figure(pictures: Pictures, asked: Asked, kind: str) -> bytes:
    """Explain, and draw the grid of it; errors as of `Pictures.explained`."""
    if asked.of != "picture":
        raise Refused(422, "figures are drawn of pictures; of a text relprop explain --text draws one")
    _, prepared, e = pictures.explained(asked)
    return render(grid(e, overlay=0.5, boxes=list(prepared.boxes) or None), kind)
