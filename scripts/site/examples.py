"""For the API's pages: docstrings call one example "Example:", which the reader of docstrings knows as "Examples:"."""

# ruff: noqa: INP001 - mkdocstrings loads this file by its path

from __future__ import annotations

import re
from typing import Any

import griffe


class OneExample(griffe.Extension):
    """Shows the code of "Example:" as code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
