"""For the API's pages: docstrings as they are read there.

One example is called "Example:", which the reader of docstrings knows as "Examples:"; and what is told of a class is
not told again of its methods.
"""

# ruff: noqa: INP001 - mkdocstrings loads this file by its path

from __future__ import annotations

import re
from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Shows the code of "Example:" as code, and leaves methods out that only point to their class."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section, or forget the text."""
        if obj.docstring and obj.docstring.value.strip() == "See the class.":
            obj.docstring = None
        elif obj.docstring:
            obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
