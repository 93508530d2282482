"""The component that shows maps in a browser: one HTML file that holds its style, its script and its numbers."""

from relprop.plots.viewer.viewer import frame, page

__all__ = ["frame", "page"]
