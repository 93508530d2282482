"""Classes as people name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relprop.support.errors import RelpropError
from relprop.support.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence


class ClassError(RelpropError):
    """A class that the network does not have; the message offers the nearest."""


def class_index(word: str, classes: Sequence[str]) -> int:
    """Return the index of the class that `word` means.

    Args:
        word: an index from 0, or a name; case, hyphens and underscores do not matter.
        classes: the network's names, one per logit.

    Raises:
        ClassError: the index is out of range, no class has that name, or several have.
    """
    if word.isdecimal():
        if int(word) >= len(classes):
            raise ClassError(f"no class {word} in this network; its classes are 0 to {len(classes) - 1}")
        return int(word)
    found = [index for index, name in enumerate(classes) if _plain(name) == _plain(word)]
    if not found:
        near = did_you_mean(word, classes) or f"; name one like {classes[0]!r}, or give its index from 0"
        raise ClassError(f"no class {word!r} in this network{near}")
    if len(found) > 1:
        raise ClassError(f"class {word!r} is the name of {' and '.join(map(str, found))}: give the index")
    return found[0]


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
