"""Figures, drawn without a display and without touching pyplot's global state."""

# ruff: noqa: E402
# matplotlib is imported by its keeper before any figure is.

from relprop.support.without_backend import import_matplotlib

import_matplotlib()

from relprop.plots.heatmaps import heatmaps, render
from relprop.plots.layer_figure import layers
from relprop.plots.token_figure import tokens
from relprop.plots.token_line import tokens_line
from relprop.plots.token_page import tokens_html

__all__ = ["heatmaps", "layers", "render", "tokens", "tokens_html", "tokens_line"]
