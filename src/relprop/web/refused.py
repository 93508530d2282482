"""A request that is not answered as it wished: with which status, and the one line that says why and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from relprop.support.one_line import printable

MOST = 600
"""So many characters a line has; names that stand in it are cut before."""


@dataclass(eq=False)
class Refused(Exception):  # noqa: N818 - it is no fault of the program
    """An answer that is none.

    Attributes:
        status: of HTTP, 4xx or 5xx.
        line: for people.
        headers: that go with it.
    """

    status: int
    line: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.line


def one_line(text: str) -> str:
    """Return a message as one line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= MOST else f"{line[: MOST - 3]}..."


def shown(text: str) -> str:
    """Return what a stranger wrote, short and fit to print."""
    return printable(text, 60)
