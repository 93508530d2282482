"""Libraries that are needed for some networks only, and may not be installed."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from relprop.models.files.checkpoints import ModelError, shown

EXTRAS = {"timm": "timm", "transformers": "huggingface", "onnx2torch": "onnx"}
"""What each of them is called in ``pip install "relprop[...]"``."""


def remedy(library: str) -> str:
    """Return what installs a library of `EXTRAS`, ``""`` where it is there. Nothing is imported."""
    return "" if find_spec(library) else f'pip install "relprop[{EXTRAS[library]}]"'


def library(path: str, name: str = "") -> Any:
    """Import a module of a library of `EXTRAS`, or of what comes with it: only now, as that takes seconds.

    Args:
        path: the module's.
        name: of the network that needs it, for the error.

    Raises:
        ModelError: the library is not installed; with what installs it.
    """
    top = path.partition(".")[0]
    if top in EXTRAS and remedy(top):
        raise ModelError(f"{name}: {top} is not installed; {remedy(top)}")
    return import_module(path)


def first_line(error: BaseException) -> str:
    """Return what a library said went wrong, as part of a line: its first, safe to print."""
    told = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return shown(told, 200) if told else type(error).__name__
