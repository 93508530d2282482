"""Texts whose tokens are marked by their relevance: what figure, page and terminal line have in common.

Tokens that speak for the target are vermilion, those against it blue, as strong as their share of the largest number;
never so strong that dark letters on them could not be read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from relprop.plots.palette import BLUE, VERMILION
from relprop.support.pieces import readable, visible

if TYPE_CHECKING:
    from numpy.typing import NDArray

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""
STRONGEST = 0.62
"""How much of the hue the most relevant token has, the rest is white: letters of `INK` keep a contrast above 6."""
LETTERS = "#1d1d1f"
"""The colour of letters on marks."""
SCALES = ("each", "all")


@dataclass(frozen=True, eq=False)
class Marked:
    """A text with the relevance of its tokens.

    Attributes:
        words: its tokens as they can be shown.
        numbers: (L,) their relevance.
        limit: the relevance that has the strongest colour.
        title: what is explained, by which method.
        value: the logit that relevance started as, if it was told.
        told: where the logit went, in words, if that was told.
    """

    words: tuple[str, ...]
    numbers: NDArray[np.float64]
    limit: float
    title: str
    value: float | None
    told: str | None = None

    @property
    def total(self) -> float:
        """The sum over its tokens."""
        return float(self.numbers.sum())

    @property
    def account(self) -> str:
        """How much of the logit lies on the tokens."""
        if self.told is not None:
            return self.told
        if self.value is None:
            return f"{plain(self.total)} on its tokens"
        rest = self.value - self.total
        elsewhere = f", {plain(rest)} in biases and softmax" if abs(rest) > 1e-3 * abs(self.value) else ""
        return f"of {plain(self.value)}, {plain(self.total)} on its tokens{elsewhere}"

    def colour(self, place: int) -> Colour:
        """Return the colour of a token."""
        return tint(float(self.numbers[place]) / self.limit)

    def number(self, place: int) -> str:
        """Return a token's relevance in as many decimals as the largest has."""
        return signed(float(self.numbers[place]), self.limit)


def marked(
    relevance: Any,
    tokens: Sequence[str] | Sequence[Sequence[str]],
    titles: str | Sequence[str] | None = None,
    values: Any = None,
    mask: Any = None,
    scale: str = "each",
    accounts: str | Sequence[str] | None = None,
) -> list[Marked]:
    """Return texts ready to be drawn; the arguments are those of `relprop.plots.tokens`.

    Raises:
        ValueError: shapes do not fit each other, or a number is not finite.
    """
    if scale not in SCALES:
        raise ValueError(f"scale is {scale!r}, and must be 'each' or 'all'")
    several = bool(tokens) and not isinstance(tokens[0], str)
    texts: list[Sequence[str]] = [list(text) for text in tokens] if several else [[str(word) for word in tokens]]
    rows = _rows(relevance, len(texts))
    named = [titles] if isinstance(titles, str) else list(titles or [""] * len(texts))
    said: list[str | None] = [None] * len(texts)
    if accounts is not None:
        said = [accounts] if isinstance(accounts, str) else list(accounts)
    told = [None] * len(texts) if values is None else np.asarray(values, dtype=np.float64).reshape(-1).tolist()
    if not len(rows) == len(texts) == len(named) == len(told) == len(said):
        raise ValueError(
            f"{len(rows)} rows of relevance, {len(texts)} texts, {len(named)} titles, {len(told)} values and "
            f"{len(said)} accounts do not fit"
        )
    kept = [np.ones(len(row), bool) for row in rows] if mask is None else [row > 0 for row in _rows(mask, len(texts))]
    found = []
    for row, text, own in zip(rows, texts, kept, strict=True):
        if own.shape != row.shape or len(text) not in (len(row), own.sum()):
            raise ValueError(f"{len(text)} tokens and a mask of {own.shape} for relevance of shape {row.shape}")
        words = list(text) if len(text) == own.sum() else [word for word, kind in zip(text, own, strict=True) if kind]
        found.append((tuple(map(visible, readable(words))), row[own]))
    largest = [float(np.abs(numbers).max(initial=0)) for _, numbers in found]
    limits = [max(largest)] * len(found) if scale == "all" else largest
    return [
        Marked(words, numbers, limit or 1.0, title, value, account)
        for (words, numbers), limit, title, value, account in zip(found, limits, named, told, said, strict=True)
    ]


def _rows(numbers: Any, texts: int) -> list[NDArray[np.float64]]:
    """Relevance of each text, (L,)."""
    if texts == 1 and np.ndim(numbers[0]) == 0:
        numbers = [numbers]
    rows = [np.asarray(row, dtype=np.float64) for row in numbers]
    for row in rows:
        if row.ndim != 1:
            raise ValueError(f"relevance of a text has shape {row.shape}; one number per token is needed")
        if not np.isfinite(row).all():
            raise ValueError("relevance is not finite")
    return rows


def tint(share: float) -> Colour:
    """Return white mixed with vermilion (above 0) or blue (below), by a share from -1 to 1."""
    hue = VERMILION if share > 0 else BLUE
    strength = STRONGEST * min(abs(share), 1.0)
    red, green, blue = (round(255 + strength * (int(hue[k : k + 2], 16) - 255)) for k in (1, 3, 5))
    return red, green, blue


def hexed(colour: Colour) -> str:
    """Return "#rrggbb"."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def signed(number: float, largest: float) -> str:
    """Return a number with its sign, in the decimals that give the largest three digits."""
    decimals = 2 - math.floor(math.log10(largest)) if largest > 0 else 2
    if not 0 <= decimals <= 4:
        return _with_minus(f"{number:+.2g}")
    return _with_minus(f"{number:+.{decimals}f}")


def plain(number: float) -> str:
    """Return a number in three digits, or all before the point."""
    return _with_minus(f"{number:.3g}" if abs(number) < 1000 else f"{number:.0f}")


def _with_minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")
