"""Texts as a picture: each token on the colour of its relevance, the number under it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch

from relprop.plots.drawn import Drawn
from relprop.plots.marked import LETTERS, Marked, hexed, marked
from relprop.plots.palette import SOFT
from relprop.plots.style import drawable, style

WIDEST = 7.2
"""Of the figure, in inches; a short text makes a narrower one."""
POINTS = 72
"""In an inch; all lengths below are in points."""
MARGIN, WORD, NUMBER, TITLE, ACCOUNT = 10.0, 11.0, 6.5, 9.5, 8.0
"""Around everything; sizes of the letters of tokens, of numbers, of titles, and of what is under them."""
BOLD = 1.12
"""How much wider bold letters are, at most."""
INSET, SPACE, LINE = 2.5, 4.5, 32.0
"""From a token's letters to the edge of its box; between words; from a line to the next."""
HEAD, GAP = 34.0, 12.0
"""What title and account take; between two texts."""
LONGEST = 40
"""Of a token so many letters are shown: more would not fit a line."""


@dataclass(frozen=True)
class Box:
    """Where a token is drawn: its left edge and its line, counted from 0, and how wide it is."""

    place: int
    left: float
    line: int
    width: float


def tokens(
    relevance: Any,
    tokens: Sequence[str] | Sequence[Sequence[str]],
    *,
    titles: str | Sequence[str] | None = None,
    values: Any = None,
    mask: Any = None,
    scale: str = "each",
    accounts: str | Sequence[str] | None = None,
) -> Figure:
    """Draw one or several texts with their tokens coloured by relevance, vermilion for the target, blue against it.

    Args:
        relevance: (L,) of a text, or (B, L), or a sequence of such rows, each as long as its text.
        tokens: L words, or B lists of them; as `model.tokens` gives them, or as a tokenizer spells them ("Ġcapital").
        titles: what stands above each text.
        values: the logit that relevance started as, a number for each text: the account under the title tells how much
            of it lies on tokens.
        mask: (B, L), 0 where there is padding, which is left out: the attention mask.
        scale: the strongest colour is the largest number of "each" text, or of "all".
        accounts: what is said of each text in the place of that account.

    Returns:
        The figure, not yet written; see `relprop.plots.render`.

    Raises:
        ValueError: the shapes do not fit each other, or a number is not finite.

    Example:
        >>> import relprop as rp
        >>> figure = rp.plots.tokens([0.1, 2.5, -0.3], ["The", " capital", " of"], titles="why Paris", values=3.0)
        >>> rp.plots.render(figure)[1:4]
        b'PNG'
    """
    texts = marked(relevance, tokens, titles, values, mask, scale, accounts)
    with style({}):
        ruler = FigureCanvasAgg(Figure(dpi=POINTS)).get_renderer()  # type: ignore[no-untyped-call]

        def width(text: str, size: float) -> float:
            return float(ruler.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)[0])

        laid = [_laid_out(text, width) for text in texts]
        lines = [max((box.line for box in boxes), default=0) + 1 for boxes in laid]
        height = 2 * MARGIN + sum(HEAD + LINE * n for n in lines) + GAP * (len(texts) - 1)
        heads = [width(drawable(text.title), TITLE) * BOLD for text in texts]
        heads += [width(drawable(text.account), ACCOUNT) for text in texts]
        content = max([*heads, *(box.left + box.width for boxes in laid for box in boxes)])
        across = min(2 * MARGIN + content, WIDEST * POINTS)
        figure = Drawn(figsize=(across / POINTS, height / POINTS))
        top = height - MARGIN
        for text, boxes, number in zip(texts, laid, lines, strict=True):
            _draw(figure, text, boxes, top)
            top -= HEAD + LINE * number + GAP
    return figure


def _laid_out(text: Marked, width: Any) -> list[Box]:
    """Boxes of tokens from left to right, on as many lines as they need."""
    boxes: list[Box] = []
    left, line, end = 0.0, 0, WIDEST * POINTS - 2 * MARGIN
    for place, word in enumerate(text.words):
        wide = max(width(_shown(word), WORD), width(text.number(place), NUMBER)) + 2 * INSET
        left += SPACE if word.startswith(" ") and left else 0.0
        if left and left + wide > end:
            left, line = 0.0, line + 1
        boxes.append(Box(place, left, line, wide))
        left += wide + 1
        if word.endswith("↵"):
            left, line = 0.0, line + 1
    return boxes


def _shown(word: str) -> str:
    """A token's letters, without the spaces around it."""
    letters = drawable(word.strip()) or " "
    return letters if len(letters) <= LONGEST else f"{letters[: LONGEST - 10]}...{letters[-7:]}"


def _draw(figure: Figure, text: Marked, boxes: Sequence[Box], top: float) -> None:
    """Draw a text whose head begins at `top`, in points from below."""
    across, up = figure.get_figwidth() * POINTS, figure.get_figheight() * POINTS

    def write(x: float, y: float, letters: str, size: float, **more: Any) -> None:
        figure.text(x / across, y / up, letters, fontsize=size, parse_math=False, **more)

    write(MARGIN, top, drawable(text.title) or "relevance", TITLE, va="top", weight="bold", color=LETTERS)
    write(MARGIN, top - 14, drawable(text.account), ACCOUNT, va="top", color=SOFT)
    for box in boxes:
        x, base = MARGIN + box.left, top - HEAD - LINE * box.line - WORD
        mark = FancyBboxPatch(
            (x / across, (base - 3.5) / up),
            box.width / across,
            (WORD + 4.5) / up,
            boxstyle="square,pad=0",
            facecolor=hexed(text.colour(box.place)),
            edgecolor="#d8d8d4",
            linewidth=0.4,
            transform=figure.transFigure,
        )
        figure.add_artist(mark)
        middle = x + box.width / 2
        write(middle, base, _shown(text.words[box.place]), WORD, ha="center", va="baseline", color=LETTERS)
        write(middle, base - 11.5, text.number(box.place), NUMBER, ha="center", va="baseline", color=SOFT)
