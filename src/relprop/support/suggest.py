"""The name that was probably meant: every error about a name carries it."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

FEW = 15
"""So many names are shown whole where none is near."""


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """Return ``"; did you mean a or b?"`` with the nearest of `names`, up to three.

    Where none is near: ``"; choose from a, b, c"`` if the names are few, ``""`` if they are many.

    Args:
        word: what was typed; case does not matter.
        names: what could have been meant.
    """
    names = list(names)
    near = nearest(word, names, most=3)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; choose from {', '.join(names)}" if 0 < len(names) <= FEW else ""


def nearest(word: str, names: Iterable[str], most: int) -> list[str]:
    """Return the `names` most like `word`, best first: that have it as a word, are spelt alike, or else contain it."""
    spelling = {name.casefold(): name for name in names}
    typed = word.casefold()
    near = [folded for folded in spelling if typed in folded.replace(",", " ").split()] if len(typed) > 2 else []
    near += get_close_matches(typed, spelling, n=most, cutoff=0.6)
    if not near and len(typed) > 2:
        near = [folded for folded in spelling if typed in folded]
    return [spelling[folded] for folded in dict.fromkeys(near)][:most]
