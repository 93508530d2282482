"""Classes as people name them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from relprop.support.errors import InputError
from relprop.support.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence


class ClassError(InputError):
    """A class that the network does not have; the message offers the nearest."""


def class_index(word: str | int, classes: Sequence[str], whose: str = "this network") -> int:
    """Return the index of the class that `word` means.

    Args:
        word: an index from 0 (7, "7", or "class 7"), or a name; case, hyphens and underscores do not matter. A number
            is an index even where another class has it for its name.
        classes: the network's names, one per logit.
        whose: they are, for the message.

    Raises:
        ClassError: the index is out of range, no class has that name, or several have.

    Example:
        >>> import relprop as rp
        >>> classes = ("tabby", "tiger cat")
        >>> rp.models.class_index("Tiger-Cat", classes), rp.models.class_index("0", classes)
        (1, 0)
    """
    if isinstance(word, int):
        return _within(word, classes, whose)
    found = classes_named(word, classes)
    if word.isdecimal() and found not in ([], [int(word)]):
        raise ClassError(f"{word} is an index, and the name of class {found[0]}: say 'class {word}', or {found[0]}")
    number = re.fullmatch(r"(?:class )?(\d+)", word)
    if number and not found:
        return _within(int(number[1]), classes, whose)
    if not found:
        near = did_you_mean(word, classes) or f"; name one like {classes[0]!r}, or give its index from 0"
        raise ClassError(f"no class {word!r} in {whose}{near}")
    if len(found) > 1:
        raise ClassError(f"class {word!r} is the name of {' and '.join(map(str, found))}: give the index")
    return found[0]


def _within(index: int, classes: Sequence[str], whose: str) -> int:
    if not 0 <= index < len(classes):
        raise ClassError(f"no class {index} in {whose}; its classes are 0 to {len(classes) - 1}")
    return index


def classes_named(name: str, classes: Sequence[str]) -> list[int]:
    """Return every class of that name, none or several; case, hyphens and underscores do not matter."""
    return [index for index, other in enumerate(classes) if _plain(other) == _plain(name)]


def unnamed(classes: Sequence[str]) -> bool:
    """Return whether the names say nothing: every class is named by its index alone, as in "class 3" or "LABEL_3"."""
    return all(re.fullmatch(rf"(class|label|output)?\W*0*{index}", _plain(name)) for index, name in enumerate(classes))


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
