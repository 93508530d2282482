"""Figures, drawn without a display and without touching pyplot's global state."""

# ruff: noqa: E402
# matplotlib is imported by its keeper before any figure is.

from relprop.support.without_backend import import_matplotlib

import_matplotlib()

from relprop.plots.drawn import render
from relprop.plots.explained import grid, overlay, show
from relprop.plots.heatmaps import heatmaps
from relprop.plots.layer_figure import layers
from relprop.plots.named import COLUMNS as PAPER
from relprop.plots.token_figure import tokens
from relprop.plots.token_line import tokens_line
from relprop.plots.token_page import tokens_html
from relprop.plots.view import View
from relprop.plots.waterfall import ledger

__all__ = [
    "PAPER",
    "View",
    "grid",
    "heatmaps",
    "layers",
    "ledger",
    "overlay",
    "render",
    "show",
    "tokens",
    "tokens_html",
    "tokens_line",
]


def __dir__() -> list[str]:
    return sorted(__all__)
