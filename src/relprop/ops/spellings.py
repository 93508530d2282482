"""Every function object that goes by a name in torch: the table is keyed by them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F

from relprop.tape.torch_internals import NAMESPACES, property_of


def functions_named(words: str) -> list[Any]:
    """The functions of these names in torch's namespaces: torch.relu, Tensor.relu_, F.relu, ...

    Args:
        words: names, separated by spaces; "name?" is left out where this version of torch lacks it, ".name" is the
            getter of a property of tensors, "F.name" stands in torch.nn.functional alone, and so do
            "linalg.name", "fft.name" and "sparse.name" in theirs.

    Raises:
        ValueError: torch has no function of such a name.
    """
    found: list[Any] = []
    for word in words.split():
        these = list(_functions(word.strip("?")))
        if not these and not word.endswith("?") and not word.startswith("."):
            raise ValueError(f"torch has no function named {word}")
        found += [f for f in these if f not in found]
    return found


def _functions(word: str) -> Iterator[Any]:
    if word.startswith("."):
        getter = property_of(word[1:])
        yield from () if getter is None else (getter,)
        return
    met: list[Any] = []
    within, _, name = word.rpartition(".")
    for space in (ALONE[within],) if within else NAMESPACES:
        function = getattr(space, name, None)
        if callable(function) and function not in met:
            met.append(function)
            yield function


ALONE = {"F": F, "linalg": torch.linalg, "fft": torch.fft, "sparse": torch.sparse}
"""Namespaces that are named before a dot."""
