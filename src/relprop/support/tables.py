"""Small tables for people: as text for a terminal, as HTML for a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

Cells = Sequence[str]


def text_table(head: Cells, rows: Sequence[Cells]) -> str:
    """Columns as wide as their longest cell, under a line."""
    widths = [max(len(cells[k]) for cells in (head, *rows)) for k in range(len(head))]
    under = tuple("-" * width for width in widths)
    lines = ("  ".join(cell.ljust(w) for cell, w in zip(cells, widths, strict=True)) for cells in (head, under, *rows))
    return "\n".join(line.rstrip() for line in lines)


def html_table(caption: str, head: Cells, rows: Sequence[Cells]) -> str:
    """A table whose cells are shown as they are, whatever is in them."""

    def row(cells: Cells, tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    return f"<table><caption>{escape(caption)}</caption><thead>{row(head, 'th')}</thead><tbody>{body}</tbody></table>"


def counted(number: int, thing: str) -> str:
    """Return "1 picture" or "2 pictures"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
