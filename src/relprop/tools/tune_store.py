"""What `tune` has measured, in memory and on disk: a value per candidate, picture, class and measure.

On disk each file holds what some seconds of work found, and is there whole or not at all. Nothing depends on the space
or the seed: a search that is continued, or begun anew with another space, takes what is there.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from relprop.support.errors import InputError
from relprop.support.files import write_new, write_whole

RUN = "run.json"
SECONDS = 5.0
"""So much work at most is lost where the process is killed."""

Rows = list[list[float]]
"""Of a picture: for each class the measures, NaN where undefined."""


class Measured:
    """The values.

    Args:
        folder: for them; None: they are kept in memory alone.
        config: all that they depend on, as JSON can hold it.

    Raises:
        InputError: the folder holds values of another network, data or measure.
        WriteError: the folder cannot be written to.
    """

    def __init__(self, folder: Path | None, config: Mapping[str, Any]) -> None:
        self.folder = folder
        self._values: dict[tuple[str, int], Rows] = {}
        self._fresh: list[tuple[str, int]] = []
        self._since = time.monotonic()
        self.found = 0
        """So many values were there at the beginning."""
        if folder is not None:
            self._begin(folder, config)

    def _begin(self, folder: Path, config: Mapping[str, Any]) -> None:
        text = json.dumps(config, indent=2, sort_keys=True)
        if not write_new(folder / RUN, text.encode()):
            there = json.loads((folder / RUN).read_text(encoding="utf-8"))
            other = [key for key in sorted({*there, *config}) if there.get(key) != json.loads(text).get(key)]
            if other:
                raise InputError(
                    f"{folder} holds a search with another {', '.join(other)}; name another folder, or remove it"
                )
        for part in sorted(folder.glob("values-*.json")):
            for key, picture, rows in json.loads(part.read_text(encoding="utf-8")):
                self._values[key, picture] = [[math.nan if v is None else v for v in row] for row in rows]
        self.found = len(self._values)

    def has(self, key: str, picture: int) -> bool:
        """Whether a candidate was measured on a picture."""
        return (key, picture) in self._values

    def of(self, key: str, picture: int) -> Rows:
        """What was measured."""
        return self._values[key, picture]

    def add(self, key: str, picture: int, rows: Sequence[Sequence[float]]) -> None:
        """Keep what was measured."""
        self._values[key, picture] = [list(row) for row in rows]
        self._fresh.append((key, picture))

    def keep(self, now: bool = False) -> None:
        """Write what is new to the disk, if it is some seconds' work, or at once."""
        if self.folder is None or not self._fresh or not (now or time.monotonic() - self._since > SECONDS):
            return
        parts = [(key, picture, [_plain(row) for row in self._values[key, picture]]) for key, picture in self._fresh]
        number = len(list(self.folder.glob("values-*.json")))
        while (path := self.folder / f"values-{number:06d}.json").exists():
            number += 1
        write_whole(path, json.dumps(parts).encode())
        self._fresh, self._since = [], time.monotonic()


def _plain(row: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in row]
