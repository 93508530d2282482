"""One web page that holds everything it shows: no script, nothing fetched, readable offline and in print.

A page is sections of blocks, which are plain data here; `page.html` beside this file says how each is written, and
`page.css` how it looks. Cards alone, of which there may be a thousand, show files that lie beside the page.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import ClassVar

from jinja2 import Environment, PackageLoader, StrictUndefined

_MEDIA = {"svg": "image/svg+xml", "png": "image/png"}
_LONG = 40
"""A column with a word longer than this is wrapped."""


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Paragraph:
    """A paragraph."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True)
class Figure:
    """A picture with its caption.

    Attributes:
        image: a file's content.
        media: ``"svg"`` or ``"png"``.
        alt: what it shows, for those who cannot see it.
        caption: below it.
        closer: the address of a page on which it can be looked at closely, or "".
    """

    kind: ClassVar[str] = "figure"
    image: bytes
    media: str
    alt: str
    caption: str
    closer: str = ""

    @property
    def source(self) -> str:
        """The picture as an address. Not as markup: several figures' ids would meet in one page."""
        return f"data:{_MEDIA[self.media]};base64,{b64encode(self.image).decode()}"


@dataclass(frozen=True)
class Table:
    """A table; an interval in brackets is set small, columns of long words are wrapped."""

    kind: ClassVar[str] = "table"
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str

    @property
    def prose(self) -> set[int]:
        """The columns of long words."""
        return {column for row in self.rows for column, word in enumerate(row) if len(word) > _LONG}


@dataclass(frozen=True)
class Claims:
    """A list of claims: number, what is claimed, the verdict as a word, what was found."""

    kind: ClassVar[str] = "claims"
    items: Sequence[tuple[int, str, str, str]]


@dataclass(frozen=True)
class Matrix:
    """Claims by who measured them.

    Attributes:
        columns: who; the first heads the claims.
        rows: of each claim its number and text, and for each of the other columns a verdict as a word, or "", and a
            figure below it, or "".
        caption: below it.
    """

    kind: ClassVar[str] = "matrix"
    columns: Sequence[str]
    rows: Sequence[tuple[int, str, Sequence[tuple[str, str]]]]
    caption: str


@dataclass(frozen=True)
class Folded:
    """Text as it is, such as JSON, hidden until it is asked for."""

    kind: ClassVar[str] = "folded"
    summary: str
    text: str


@dataclass(frozen=True)
class Token:
    """A token of a text.

    Attributes:
        word: as it is shown.
        number: its relevance.
        colour: ``#rrggbb``, light enough for dark letters.
        begins_word: whether a space stands before it.
        ends_line: whether a new line begins behind it.
    """

    word: str
    number: str
    colour: str
    begins_word: bool
    ends_line: bool


@dataclass(frozen=True)
class Tokens:
    """A text whose tokens are coloured, with its caption."""

    kind: ClassVar[str] = "tokens"
    items: Sequence[Token]
    caption: str


@dataclass(frozen=True)
class Panel:
    """A part of a card's file.

    Attributes:
        column: where it stands in the file, in panels.
        row: likewise.
        title: what it shows.
        note: below that, figures.
        alarm: whether they are a warning.
    """

    column: int
    row: int
    title: str
    note: str = ""
    alarm: bool = False


@dataclass(frozen=True)
class Card:
    """A picture of many, the parts of whose file are shown one by one.

    Attributes:
        title: what it is called.
        note: what there is to say of it.
        source: the address of its file, a grid of panels; loaded when it comes into sight.
        columns: of the grid.
        pitch: from one panel's edge to the next one's, in widths of a panel, which is as high: above 1 where a gutter
            is between them.
        panels: what is shown of it.
        closer: the address of a page on which it can be looked at closely, or "".
    """

    title: str
    note: str
    source: str
    columns: int
    pitch: float
    panels: Sequence[Panel]
    closer: str = ""

    def place(self, panel: Panel) -> str:
        """Where the whole file lies behind the one panel that is seen of it, as a style."""
        width, left, top = (round(100 * self.pitch * n, 3) for n in (self.columns, panel.column, panel.row))
        return f"width:{width:g}%;margin-left:-{left:g}%;margin-top:-{top:g}%"


@dataclass(frozen=True)
class Cards:
    """Cards beside each other, as many as have room; those with many panels below each other.

    Attributes:
        items: the cards.
        coarse: whether a panel has so few pixels that they are to be seen one by one.
    """

    kind: ClassVar[str] = "cards"
    items: Sequence[Card]
    coarse: bool = False

    @property
    def broad(self) -> bool:
        """Whether a card takes the whole width."""
        return max((len(card.panels) for card in self.items), default=0) > 2


Block = Heading | Paragraph | Figure | Table | Claims | Matrix | Folded | Tokens | Cards


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading that the page's head links to."""

    title: str
    blocks: Sequence[Block]


def page(title: str, lead: str, sections: Sequence[Section], links: Sequence[tuple[str, str]] = ()) -> str:
    """Return the whole page; whatever its texts hold is shown as it is, never taken for markup.

    Args:
        title: its heading.
        lead: a sentence below it.
        sections: what follows.
        links: words and the addresses of files beside the page that they lead to.
    """
    templates = Environment(
        loader=PackageLoader("relprop.plots", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    style = files("relprop.plots").joinpath("page.css").read_text(encoding="utf-8")
    return templates.get_template("page.html").render(
        title=title, lead=lead, sections=sections, links=links, style=style
    )
