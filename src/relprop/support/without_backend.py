"""matplotlib without a say of the surroundings: figures are drawn on canvases of their own, and need no backend."""

from __future__ import annotations

import contextlib
import os
import sys
from importlib import import_module


def import_matplotlib() -> None:
    """Import matplotlib, whatever MPLBACKEND says; nothing where it is imported already.

    The variable may name a backend that is not installed here (a notebook hands its own down to every program that it
    starts), and matplotlib then ends in an error before anything is drawn. Where it names one that is there, pyplot has
    it as ever.
    """
    if "matplotlib" in sys.modules:
        return
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        matplotlib = import_module("matplotlib")
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend:
        with contextlib.suppress(ValueError):
            matplotlib.rcParams["backend"] = backend
