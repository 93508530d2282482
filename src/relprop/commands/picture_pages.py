"""The page of many pictures: a card for each, in pages that a browser can take, written as they fill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_from_bytes

from relprop.commands.asked import Explained
from relprop.plots.marked import plain
from relprop.plots.page import Block, Card, Cards, Panel, Paragraph, Section, Table, page
from relprop.plots.strip import Strip
from relprop.support.account import percent
from relprop.support.files import write_whole
from relprop.support.tables import counted

CARDS = 1000
"""So many pictures stand on a page."""
TOLD = 200
"""So many problems stand at the head of the first page; the table has all."""
READING = (
    "Red speaks for the class, blue against it, unless other colours were asked for; a few pixels may exceed the "
    "strongest colour. The percentage is the share on pixels of what relevance started as, mostly the logit, in red "
    "below half; the rest is in biases. Where a logit is negative the network says no. A map leads to its file."
)


def card(title: str, explained: Explained, drawn: Strip, source: str, closer: str = "") -> Card:
    """Return what the page shows of a picture.

    Args:
        title: what it is called.
        explained: what was found.
        drawn: its maps.
        source: the address of their file.
        closer: of the page on which they can be looked at closely; "" where there is none.
    """
    first = explained.highest(1)[0]
    panels = [Panel(0, 0, "what the network saw")]
    for row, index in enumerate(explained.targets):
        for column, method in enumerate(explained.maps, start=1):
            held = explained.account(method, row)
            figures = ["attribution"] if held.share is None else [f"{percent(held.share)} on pixels"]
            figures.append("colours to " + drawn.limits[method][row].words)
            logit = plain(explained.logits[index])
            told = f"{method}: {', '.join(figures)}"
            panels.append(Panel(column, row, f"{explained.classes[index]}, {logit}", told, held.low))
    note = f"predicted: {explained.classes[first]} ({first}), logit {plain(explained.logits[first])}"
    return Card(title, note, source, drawn.columns, drawn.pitch, panels, closer)


def address(path: Path) -> str:
    """Return a relative path as an address, whatever bytes its name is made of."""
    return "/".join(quote_from_bytes(part.encode("utf-8", "surrogateescape")) for part in path.parts)


@dataclass
class Pages:
    """Cards on their way to pages; the first, which tells how it all went, is written last.

    Attributes:
        folder: where to.
        done: "explained" or "compared", which the files begin with.
        lead: what is said at the head of each.
        coarse: whether maps have few pixels.
        problems: of each picture that could not be explained its name and why, `TOLD` of them at most.
        written: the pages that are there.
    """

    folder: Path
    done: str
    lead: str
    coarse: bool
    problems: list[tuple[str, str]] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)
    _first: list[Card] = field(default_factory=list)
    _cards: list[Card] = field(default_factory=list)

    def add(self, found: Card) -> None:
        """Take a card; when there is one too many for a page, that page is written."""
        if len(self._cards) == CARDS:
            self._turn()
        self._cards.append(found)

    def add_problem(self, name: str, problem: str) -> None:
        """Take what is wrong with a picture."""
        if len(self.problems) < TOLD:
            self.problems.append((name, problem))

    def _turn(self, *, last: bool = False) -> None:
        """Begin the next page."""
        number = len(self.written) + 1
        if number == 1:
            self._first = self._cards
            self.written.append(self._file(1))
        else:
            self._write(number, self._cards, last=last)
            self.written.append(self._file(number))
        self._cards = []

    def finish(self, extent: str, failed: int) -> None:
        """Write what is left, and the first page.

        Args:
            extent: how many pictures there are, in words.
            failed: how many of them are not explained.
        """
        self._turn(last=True)
        head: list[Section] = []
        if failed:
            shown = "" if failed <= TOLD else f" The first {TOLD}; {self.done}.csv has all."
            rows = Table(("picture", "problem"), self.problems, f"{counted(failed, 'picture')}.{shown}")
            head.append(Section("Not explained", [rows]))
        self._write(1, self._first, last=len(self.written) == 1, extent=extent, head=head)
        number = len(self.written) + 1
        while self._file(number).exists():  # of an earlier run, which had more
            self._file(number).unlink()
            number += 1

    def _file(self, number: int) -> Path:
        return self.folder / (f"{self.done}.html" if number == 1 else f"{self.done}-{number}.html")

    def _write(
        self, number: int, cards: Sequence[Card], *, last: bool, extent: str = "", head: Sequence[Section] = ()
    ) -> None:
        links = []
        if number > 1:
            links += [("first page", self._file(1).name), ("page before", self._file(number - 1).name)]
        links += [] if last else [("next page", self._file(number + 1).name)]
        links += [("table (CSV)", f"{self.done}.csv"), ("table (Parquet)", f"{self.done}.parquet")]
        blocks: list[Block] = [Paragraph(READING), Cards(cards, self.coarse)]
        title = f"Pictures {self.done}{'' if number == 1 else f', page {number}'}"
        sections = [*head, *([Section("Maps", blocks)] if cards else [])]
        content = page(title, " ".join(filter(None, (extent, self.lead))), sections, links)
        write_whole(self._file(number), content.encode())
