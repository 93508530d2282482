"""Figures, drawn without a display and without touching pyplot's global state."""

# ruff: noqa: E402
# matplotlib is imported by its keeper before any figure is.

from relprop.support.without_backend import import_matplotlib

import_matplotlib()

from relprop.plots.heatmaps import heatmaps, render

__all__ = ["heatmaps", "render"]
