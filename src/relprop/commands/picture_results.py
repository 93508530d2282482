"""What becomes of many explained pictures: files of maps, rows of a table, cards of a page, and what is printed."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relprop.commands.asked import Explained
from relprop.commands.closer import Closer
from relprop.commands.explain import TOP, arrays, drawn, kind_of, rows
from relprop.commands.look import look
from relprop.commands.named import Named
from relprop.commands.picture_pages import Pages, address, card
from relprop.commands.picture_requests import PictureRequest
from relprop.commands.picture_table import Table
from relprop.plots.strip import strip
from relprop.support.arrays import array_path
from relprop.support.files import write_whole
from relprop.support.shrinking import to_stderr
from relprop.support.tables import counted


@dataclass
class Results:
    """Files and figures of what is done so far.

    Attributes:
        request: what was asked for.
        done: "explained" or "compared".
        folder: where files go.
        same: what is the same for all pictures.
        table: where rows go.
        coarse: whether maps have few pixels.
        number: pictures so far.
        failed: those of them that could not be explained.
        reports: where JSON was asked for, a report for each.
    """

    request: PictureRequest
    done: str
    folder: Path
    same: dict[str, Any]
    table: Table
    coarse: bool
    number: int = 0
    failed: int = 0
    reports: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        place = f", at the region {','.join(map(str, self.same['region']))}" if "region" in self.same else ""
        lead = f"The network is {self.same['model']}{place}; pictures are prepared so: {self.same['prepared']}."
        hidden = {"+": " Shown is what is above zero.", "-": " Shown is what is below zero."}
        lead += hidden.get(self.request.sign, "")
        self.pages = Pages(self.folder, self.done, lead, self.coarse)
        self.closer = Closer(self.request, self.same["prepared"])

    @property
    def page(self) -> Path:
        """The page, or the first of several."""
        return self.folder / f"{self.done}.html"

    def _figure(self, place: Path) -> Path:
        """Where the figure goes whose maps are at a place."""
        return Path("figures") / place.with_suffix(f".{kind_of(self.request)}")

    def add(self, picture: Named, found: Explained | str) -> None:
        """Write a picture's files, and take its rows and its card.

        Raises:
            WriteError: a file cannot be written; then nothing is taken.
        """
        if isinstance(found, str):
            self._add_problem(picture, found)
        else:
            self._add_explained(picture, found)
        self.number += 1

    def _add_problem(self, picture: Named, problem: str) -> None:
        problem = _text(problem)
        to_stderr(f"not explained: {problem}")
        self.failed += 1
        self.table.add([{"picture": picture.shown, "problem": problem}])
        self.pages.add_problem(_text(picture.name), problem.removeprefix(f"{picture.shown}: "))
        if self.request.json:
            self.reports.append({"picture": picture.shown, "problem": problem})

    def _add_explained(self, picture: Named, found: Explained) -> None:
        place = picture.file(f"-{self.done}.png")
        grid = strip(found.seen, found.maps, look(self.request))
        files = {Path("maps") / place: grid.png}
        if self.request.raw:
            files |= arrays(found, Path("arrays") / place)
        if self.request.figures:
            files[self._figure(place)] = drawn(self.request, found, kind_of(self.request))
        near = Path("closer") / picture.file(f"-{self.done}.html")
        held = self.closer.page(_text(picture.name), picture.shown, found)
        if held is not None:
            files[near] = held.encode()
        for path, content in files.items():
            write_whole(self.folder / path, content)
        self.table.add(self._rows(picture, found, place))
        self.pages.add(
            card(_text(picture.name), found, grid, address(Path("maps") / place), address(near) if held else "")
        )
        if self.request.json:
            top = [found.named(index) for index in found.highest(TOP)]
            written = [_text(self.folder / path) for path in files]
            self.reports.append(
                {"picture": picture.shown, "top": top, "explanations": self._explanations(found), "files": written}
            )

    def _explanations(self, found: Explained) -> list[dict[str, Any]]:
        """What there is to say of each map, its share of the logit with it."""
        shares = [found.account(m, t).share for t in range(len(found.targets)) for m in found.maps]
        return [row | {"share_on_pixels": share} for row, share in zip(rows(found), shares, strict=True)]

    def _rows(self, picture: Named, found: Explained, place: Path) -> list[dict[str, Any]]:
        """A row of the table for each map."""
        first = found.named(found.highest(1)[0])
        same = {"picture": picture.shown, "map": _text(Path("maps") / place)}
        same |= {"predicted": first["index"], "predicted_class": first["class"], "predicted_logit": first["logit"]}
        if self.request.figures:
            same["figure"] = _text(self._figure(place))
        renamed = {"index": "target", "class": "target_class"}
        table = []
        for row in self._explanations(found):
            numbers = {renamed.get(name, name): value for name, value in row.items()}
            if self.request.raw:
                numbers["arrays"] = _text(array_path(Path("arrays") / place, row["method"], len(found.maps)))
            table.append(same | numbers)
        return table

    def finish(self, total: int) -> None:
        """Write the pages that are not written yet.

        Args:
            total: how many pictures there were to be explained.
        """
        said = f"{self.number - self.failed:,} of {counted(total, 'picture')} {self.done}"
        closer = ""
        if left_out := self.closer.left_out:
            closer = (
                f" {counted(left_out, 'picture')} without a page to look closer, its numbers too many: --raw has them."
            )
        self.pages.finish(f"{said}{self._ended(total)}.{closer}", self.failed)

    def _ended(self, total: int) -> str:
        return "" if self.number == total else f"; it was stopped after {self.number:,}"

    def told(self, total: int) -> str:
        """What is printed at the end."""
        if self.request.json:
            files = {"page": str(self.page), "tables": [str(self.page.with_suffix(e)) for e in (".csv", ".parquet")]}
            counts = {"number": total, "done": self.number - self.failed, "failed": self.failed}
            return json.dumps(self.same | counts | files | {"pictures": self.reports}, indent=2)
        lines = [f"{self.same['model']}: {self.number - self.failed:,} of {counted(total, 'picture')} {self.done}"]
        lines[0] += self._ended(total)
        lines.append(f"prepared: {self.same['prepared']}")
        if "region" in self.same:
            lines.append(f"explained: the mean logit of the region {','.join(map(str, self.same['region']))}")
        pages = "" if len(self.pages.written) == 1 else f" ({len(self.pages.written)} pages)"
        also = [name for name, asked in (("arrays", self.request.raw), ("figures", self.request.figures)) if asked]
        beside = [f"{self.done}.csv", f"{self.done}.parquet", *(f"{name}/" for name in ("maps", *also))]
        lines.append(f"wrote {self.page}{pages}; beside it {', '.join(beside)}")
        return "\n".join(lines)


def _text(name: str | Path) -> str:
    """A path as text that can be written in UTF-8, with "/" between folders."""
    plain = name.as_posix() if isinstance(name, Path) else name
    return os.fsencode(plain).decode("utf-8", "backslashreplace")
