"""A text for the terminal: tokens on the colours of their relevance, or with the numbers where there are no colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from relprop.plots.marked import LETTERS, hexed, marked


def tokens_line(relevance: Any, tokens: Sequence[str], *, numbers: bool = False) -> Text:
    """Return a text whose tokens are coloured by their relevance, for `rich.print`.

    Args:
        relevance: (L,).
        tokens: L words, as for `relprop.plots.tokens`.
        numbers: whether each number stands behind its token, in brackets: for where colours cannot be seen.

    Raises:
        ValueError: the shapes do not fit each other, or a number is not finite.

    Example:
        >>> import relprop as rp
        >>> rp.plots.tokens_line([0.1, 2.5], ["The", " capital"], numbers=True).plain
        'The[+0.10] capital[+2.50]'
    """
    (text,) = marked(relevance, tokens)
    line = Text()
    for place, word in enumerate(text.words):
        line.append(word, style=f"{LETTERS} on {hexed(text.colour(place))}")
        if numbers:
            line.append(f"[{text.number(place)}]".replace("\N{MINUS SIGN}", "-"))
    return line
