"""Libraries that are needed for some networks only, and may not be installed. Nothing is imported until it is used."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from relprop.models.errors import ModelError

EXTRAS = {"timm": "timm", "transformers": "huggingface", "onnx2torch": "onnx", "gguf": "gguf", "accelerate": "gguf"}
"""What each of them is called in ``pip install "relprop[...]"``."""


def remedy(library: str) -> str:
    """Return what installs a library of `EXTRAS`, ``""`` where it is there."""
    return "" if find_spec(library) else f'pip install "relprop[{EXTRAS[library]}]"'


def folder(library: str) -> Path | None:
    """Return where a library's sources are; None: it is not installed."""
    spec = find_spec(library)
    return Path(spec.origin).parent if spec and spec.origin else None


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
