"""Small tables for people: as text for a terminal, as HTML for a notebook."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from html import escape
from itertools import zip_longest

Cells = Sequence[str]

GAP = 2
"""Blanks between columns."""
NARROWEST = 3
"""No column is made narrower than so many characters."""
_WORD = re.compile(r"\s*\S+")  # a word, with the blanks before it
_PART = re.compile(r"\s*[^\s.,;:/_=(|&-]*[.,;:/_=(|&-]*")  # up to a sign behind which a long word may be cut


def screen() -> int | None:
    """Return how many characters a line of the terminal has; None where output goes to a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() or os.environ.get("COLUMNS") else None


def text_table(head: Cells, rows: Sequence[Cells]) -> str:
    """Columns as wide as their longest cell, under a line; on a narrow terminal cells go on in the next line."""
    room = screen()
    widths = _widths([head, *rows], room)
    under = tuple("-" * width for width in widths)
    return "\n".join(_lines([head, under, *rows], widths))


def columns(rows: Sequence[Cells], indent: int = 0) -> list[str]:
    """Return the lines of a table without a head, likewise, each behind so many blanks."""
    room = screen()
    widths = _widths(rows, None if room is None else room - indent)
    return [" " * indent + line for line in _lines(rows, widths)]


def folded(text: str) -> str:
    """Return text whose lines fit the terminal, cut between words."""
    room = screen()
    if room is None:
        return text
    fitting = (
        textwrap.wrap(line, room, break_long_words=False, break_on_hyphens=False) or [""] for line in text.splitlines()
    )
    return "\n".join(part for lines in fitting for part in lines)


def html_table(caption: str, head: Cells, rows: Sequence[Cells]) -> str:
    """A table whose cells are shown as they are, whatever is in them."""

    def row(cells: Cells, tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    return f"<table><caption>{escape(caption)}</caption><thead>{row(head, 'th')}</thead><tbody>{body}</tbody></table>"


def counted(number: int, thing: str) -> str:
    """Return "1 picture" or "2 pictures"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


# -- columns that fit --------------------------------------------------------------------------------


def _widths(rows: Sequence[Cells], room: int | None) -> list[int]:
    """How wide each column is, so that all fit in as few lines as may be, and at first so that words stay whole.

    The first column, which names the row, gives way last.
    """
    found = list(zip(*rows, strict=True))
    whole = [max(map(len, cells)) for cells in found]
    if room is None or not rows:
        return whole
    room -= GAP * (len(whole) - 1)
    lengths = [[len(cell) for cell in cells] for cells in rows]
    widths = whole
    for pieces in (_WORD, _PART, None):
        floors = [min(width, _floor(cells, pieces)) for cells, width in zip(found, whole, strict=True)]
        if pieces is not None:
            floors[0] = whole[0]
        widths = _narrowed(lengths, whole, floors, room)
        if sum(widths) <= room:
            break
    return widths


def _narrowed(lengths: Sequence[Sequence[int]], widths: list[int], floors: Sequence[int], room: int) -> list[int]:
    """Widths that fit, as far as the floors let them: step by step the column gives way that costs fewest lines."""
    while sum(widths) > room:
        steps = [
            [*widths[:k], width - 1, *widths[k + 1 :]]
            for k, (width, floor) in enumerate(zip(widths, floors, strict=True))
            if width > floor
        ]
        if not steps:
            break
        widths = min(steps, key=lambda tried: (_height(lengths, tried), max(tried)))
    return widths


def _height(lengths: Sequence[Sequence[int]], widths: Sequence[int]) -> int:
    """About how many lines cells of such lengths take in all."""
    return sum(max(-(-length // width) for length, width in zip(row, widths, strict=True)) for row in lengths)


def _floor(cells: Cells, pieces: re.Pattern[str] | None) -> int:
    """How narrow a column can be: the longest of the pieces that its cells may be cut into."""
    if pieces is None:
        return NARROWEST
    return max((len(piece.strip()) for cell in cells for piece in pieces.findall(cell)), default=NARROWEST)


def _lines(rows: Sequence[Cells], widths: Sequence[int]) -> Iterator[str]:
    """The lines of a table; a row has as many as its longest cell takes."""
    for cells in rows:
        parts = (list(_cut(cell, width)) for cell, width in zip(cells, widths, strict=True))
        for line in zip_longest(*parts, fillvalue=""):
            yield (" " * GAP).join(part.ljust(width) for part, width in zip(line, widths, strict=True)).rstrip()


def _cut(cell: str, width: int) -> Iterator[str]:
    """A cell in lines of that width: cut between words, long words behind signs, and else anywhere."""
    line = ""
    for word in _WORD.findall(cell):
        if len(line + word) <= width:
            line += word
            continue
        for part in _PART.findall(word) if len(word.strip()) > width else (word,):
            if line and len(line + part) > width:
                yield line
                line = ""
            line += part if line else part.lstrip()
            while len(line) > width:
                yield line[:width]
                line = line[width:]
    yield line
