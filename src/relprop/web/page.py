"""The page that is served."""

from __future__ import annotations

from relprop.plots.viewer import page as viewer


def page() -> str:
    """Return the page's HTML."""
    return viewer(None, title="why does the network say so?")
