"""A figure that a notebook shows, and that is written the same each time."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.figure import Figure

from relprop.plots.style import style

FORMATS = ("png", "pdf", "svg", "jpg", "webp", "tif")
"""What `render` can write."""
SETTINGS: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.linewidth": 0.6,
    "svg.hashsalt": "relprop",  # makes the ids in an SVG the same each time
    "pdf.fonttype": 42,  # whole letters of TrueType: journals refuse Type 3
}
"""Matplotlib's, for figures of maps and whenever one is written."""
DPI_SHOWN = 90
"""Pixels per inch in a notebook."""


class Drawn(Figure):
    """A figure that shows itself at the end of a notebook's cell, with no need of pyplot."""

    def _repr_png_(self) -> bytes:
        return render(self, "png", DPI_SHOWN)


def render(figure: Figure, kind: str = "png", dpi: int = 200) -> bytes:
    """Return the figure as a file's content; the same figure gives the same bytes.

    Args:
        figure: as `relprop.plots` draws it.
        kind: one of `FORMATS`.
        dpi: pixels per inch, where the format has pixels.
    """
    undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind)
    buffer = io.BytesIO()
    with style(SETTINGS):
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=undated)
    return buffer.getvalue()
