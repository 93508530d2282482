"""Figures, drawn without a display and without touching pyplot's global state."""

from relprop.plots.heatmaps import heatmaps, render

__all__ = ["heatmaps", "render"]
