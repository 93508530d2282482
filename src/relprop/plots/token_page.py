"""Texts as a web page: tokens on the colours of their relevance, the number under each and in its tip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from relprop.plots.marked import Marked, hexed, marked
from relprop.plots.page import Section, Token, Tokens, page

LEAD = "Tokens that speak for the target are vermilion, those against it blue; the number is their relevance."


def tokens_html(
    relevance: Any,
    tokens: Sequence[str] | Sequence[Sequence[str]],
    *,
    titles: str | Sequence[str] | None = None,
    values: Any = None,
    mask: Any = None,
    scale: str = "each",
    accounts: str | Sequence[str] | None = None,
) -> str:
    """Return one or several texts as a page that stands alone, tokens coloured by relevance.

    Args:
        relevance: as for `relprop.plots.tokens`, like all others.
        tokens: whatever they hold is shown as it is, never taken for markup.
        titles: above each text.
        values: the logit of each.
        mask: where there is padding.
        scale: "each" or "all".
        accounts: in the place of the account of each.

    Raises:
        ValueError: the shapes do not fit each other, or a number is not finite.

    Example:
        >>> import relprop as rp
        >>> "&lt;script&gt;" in rp.plots.tokens_html([1.0], ["<script>"])
        True
    """
    texts = marked(relevance, tokens, titles, values, mask, scale, accounts)
    named = [text.title or f"Text {place}" for place, text in enumerate(texts, start=1)]
    sections = [Section(name, [block(text)]) for name, text in zip(named, texts, strict=True)]
    return page("Relevance of tokens", LEAD, sections)


def block(text: Marked) -> Tokens:
    """Return a text as a block of a page."""
    shown = [
        Token(
            word.strip(" ") or "␣",
            text.number(place),
            hexed(text.colour(place)),
            begins_word=word.startswith(" "),
            ends_line=word.endswith("↵"),
        )
        for place, word in enumerate(text.words)
    ]
    return Tokens(shown, text.account)
