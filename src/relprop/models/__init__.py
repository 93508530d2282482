"""Networks by name, ready to be explained: with weights, preprocessing and classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relprop.models.errors import ModelError
from relprop.models.registry import load, names, needs
from relprop.support.class_names import class_index

if TYPE_CHECKING:
    from relprop.data.preprocess import Preprocess as Preprocess
    from relprop.models.text import Text as Text

__all__ = ["ModelError", "Preprocess", "Text", "class_index", "load", "names", "needs"]


if not TYPE_CHECKING:  # to a type checker, a module with this function has every name

    def __getattr__(name: str) -> Any:
        if name == "Preprocess":  # it imports torch, which a list of names does not need
            from relprop.data.preprocess import Preprocess  # noqa: PLC0415

            return Preprocess
        if name == "Text":  # likewise
            from relprop.models.text import Text  # noqa: PLC0415

            return Text
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
