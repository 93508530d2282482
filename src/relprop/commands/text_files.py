"""The files of ``relprop explain --text``: figure, page, heat maps of layers, numbers."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from relprop.commands.text_report import ExplainedText, Row
from relprop.plots.heatmaps import render
from relprop.plots.layer_figure import layers
from relprop.plots.marked import Marked, marked
from relprop.plots.page import Block, Figure, Heading, Paragraph, Section, Table, page
from relprop.plots.token_figure import tokens
from relprop.plots.token_page import LEAD, block
from relprop.support.pieces import visible

LONG = 60
"""So many letters of a text name its section of the page."""


def files_of(texts: list[ExplainedText], figure_path: Path, *, raw: bool) -> dict[Path, bytes]:
    """Return content by path.

    Args:
        texts: what was found.
        figure_path: where the figure goes; the others stand beside it.
        raw: whether the numbers are wanted: of each text (rows, L), rows by target and method.
    """
    kind = figure_path.suffix[1:].lower() or "png"
    drawn = [(text, row) for text in texts for row in text.rows]
    figure = tokens(
        [row.relevance for _, row in drawn],
        [text.tokens for text, _ in drawn],
        titles=[text.title(row, of_paper=True) for text, row in drawn],
        accounts=[row.account for _, row in drawn],
    )
    files = {figure_path: render(figure, kind)}
    pictures: dict[int, bytes] = {}
    for number, (text, row) in enumerate(drawn):
        if row.layers:
            rows = {"tokens": row.relevance, **row.layers}
            content = render(layers(rows, text.tokens, title=text.title(row, of_paper=True)), "png")
            pictures[id(row)] = content
            several = f"-{number + 1}" if len(drawn) > 1 else ""
            files[figure_path.with_name(f"{figure_path.stem}-layers{several}.png")] = content
    files[figure_path.with_suffix(".html")] = _page(texts, pictures).encode()
    if raw:
        for number, text in enumerate(texts):
            buffer = io.BytesIO()
            np.save(buffer, np.stack([row.relevance for row in text.rows]))
            several = f"-{number + 1}" if len(texts) > 1 else ""
            files[figure_path.with_name(f"{figure_path.stem}{several}.npy")] = buffer.getvalue()
    return files


def _page(texts: list[ExplainedText], pictures: dict[int, bytes]) -> str:
    """The page: a section for each text."""
    sections = []
    for text in texts:
        blocks: list[Block] = []
        for row in text.rows:
            blocks += [Heading(text.title(row, of_paper=True)), block(_marked(text, row))]
            if id(row) in pictures:
                alt = f"Relevance of each token at each layer: {text.title(row, of_paper=True)}"
                caption = "The same at the output of every layer, the first below; the sum of each at its right."
                blocks.append(Figure(pictures[id(row)], "png", alt, caption))
        blocks += [Heading("The highest logits"), _table(text)]
        shown = visible(text.text)
        short = shown if len(shown) <= LONG else f"{shown[: LONG - 3]}..."
        if short != shown:
            blocks.insert(0, Paragraph(shown))
        sections.append(Section(short, blocks))
    return page("Relevance of tokens", LEAD, sections)


def _marked(text: ExplainedText, row: Row) -> Marked:
    (found,) = marked(row.relevance, text.tokens, accounts=row.account)
    return found


def _table(text: ExplainedText) -> Table:
    spoken = text.position is not None
    rows = [(text.shown(word), str(index), f"{logit:.4f}") for (word, index), logit in text.top]
    where = f"at {visible(text.tokens[text.position or 0]).strip()!r}" if spoken else "of its classes"
    return Table(("token" if spoken else "class", "index", "logit"), rows, f"The highest logits {where}.")
