"""A study's folder: `run.json` and parts, each of which is there whole or not at all.

A part is written into a folder of its own that is renamed when all of it is on the disk. So a study can be
killed at any moment and continued, by several processes at once; what two of them measure twice is the same.
Many parts that are done can share the files of one folder: see `relprop.study.compact`.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from bisect import bisect_right
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import compute

from relprop.study import files
from relprop.study.files import StudyError
from relprop.study.schema import DEFAULT, STATUSES, TABLES, Column, arrow, tables_of
from relprop.support.files import WriteError, near, write_folder, write_new

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    Record = Mapping[str, Any]

RUN = "run.json"
AT_ONCE = 4096
"""Pictures that are read at once, a few more or less: whole parts. Where parts share files they share a row group."""
CHUNK = 50
"""Pictures a part has where nothing is said."""
_PART = re.compile(r"part-(\d{6,})")
_MANY = re.compile(r"parts-(\d{6,})-(\d{6,})")
_ABSENT = "nothing"  # how a key that only one side has is shown
_SHOWN = 5  # so many differing keys are named, the others counted


@dataclass(frozen=True)
class Layout:
    """Where the parts that are written lie, by the names of folders alone.

    Attributes:
        apart: the numbers of those that have a folder each.
        together: of those that share one, the first and the last number.
    """

    apart: frozenset[int]
    together: tuple[tuple[int, int], ...]

    @property
    def numbers(self) -> set[int]:
        """Of all of them."""
        return set(self.apart).union(*(range(first, last + 1) for first, last in self.together))

    def shared(self, part: int) -> tuple[int, int] | None:
        """Return with which parts one shares a folder; one that lies apart too is what is left of it there."""
        place = bisect_right(self.together, part, key=itemgetter(0)) - 1
        return self.together[place] if place >= 0 and part <= self.together[place][1] else None


class Store:
    """The rows of one study.

    Args:
        folder: where `run.json` and `parts/` are, or will be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts = folder / "parts"
        self.cache = folder / "cache"

    def begin(self, config: Record) -> None:
        """Write `run.json`, or continue the study that has it with the same configuration.

        Args:
            config: all that the rows depend on, as JSON can hold it: task version, data, model and weights
                with their hashes, methods, library versions, seed. Not what they do not depend on, such as
                the batch size: it would keep a study from being continued.

        Raises:
            StudyError: the folder holds a study with another configuration, or parts without any, or cannot be written
                to.
        """
        path = self.folder / RUN
        text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
        # Looked for again after the parts: another process may just have begun, and writes it before them.
        if not path.exists() and self.done() and not path.exists():
            raise StudyError(
                f"{self.folder}: parts of a study, and no {RUN} that says which; restore it, or choose another folder"
            )
        if self._begun_here(text):
            return
        before = self.config()
        if "measures" in config and "measures" not in before:  # of before there was a choice
            before["measures"] = list(DEFAULT if before.get("occlusion") else DEFAULT[:1])
        differences = list(_differences(before, json.loads(text)))
        if differences:
            more = f", and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
            raise StudyError(
                f"{self.folder} holds another study: {', '.join(differences[:_SHOWN])}{more}; "
                "choose another folder, or the configuration it was begun with"
            )

    def config(self) -> dict[str, Any]:
        """Return what `begin` wrote.

        Raises:
            StudyError: there is no study in the folder, or its `run.json` cannot be read.
        """
        path = self.folder / RUN
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise StudyError(f"{self.folder}: no study here (no {RUN}){near(self.folder)}") from None
        except (OSError, ValueError) as error:
            raise StudyError(f"{path}: cannot be read ({error}); restore it, or begin in another folder") from None
        if not isinstance(config, dict):
            raise StudyError(f"{path}: not a study's configuration; restore it, or begin in another folder")
        return config

    def done(self) -> set[int]:
        """Return the numbers of the parts that are written; no file is opened for that."""
        return self.layout().numbers

    def layout(self) -> Layout:
        """Return where the parts that are written lie."""
        names = [entry.name for entry in os.scandir(self.parts)] if self.parts.is_dir() else []
        apart = frozenset(int(match[1]) for match in map(_PART.fullmatch, names) if match)
        together = sorted((int(match[1]), int(match[2])) for match in map(_MANY.fullmatch, names) if match)
        return Layout(apart, tuple(together))

    @property
    def together(self) -> int:
        """How many parts are read at once: those whose numbers divided by it are alike."""
        config = self.config() if (self.folder / RUN).exists() else {}
        return max(1, AT_ONCE // int(config.get("chunk") or CHUNK))

    def tables(self) -> list[str]:
        """Return which tables every part of the study has.

        Raises:
            StudyError: as `config`.
        """
        return tables_of(self.config())

    def write(
        self, part: int, tables: Mapping[str, Sequence[Record]], later: Mapping[str, tuple[Column, ...]] = {}
    ) -> None:
        """Write a part: all tables or nothing. A part that exists already is left as it is.

        Args:
            part: its number, from 0.
            tables: every one of `relprop.study.schema.TABLES` and of `later` by name, a mapping per row. NaN becomes
                null.
            later: the columns of the tables that measures add, by name.

        Raises:
            StudyError: the disk is full, or the folder may not be written to; parts that exist are intact.
            ValueError: the tables, or a row's columns, are not those of the schema.
        """
        columns = TABLES | dict(later)
        names = _all_of(tables, columns)
        contents = {f"{name}.parquet": files.content(name, columns[name], tables[name]) for name in names}
        folder = self.part(part)
        try:
            write_folder(folder, contents)
        except WriteError as error:
            todo = f"{error.remedy} and " if error.remedy else "mend that and "
            raise StudyError(
                f"{folder}: not written ({error.reason}); the {len(self.done())} parts that are written are safe: "
                f"{todo}run the same command again to continue"
            ) from None

    def read(self, table: str, parts: Collection[int] | None = None) -> pa.Table:
        """Return a table, the parts in order; without any part, no rows.

        All of it is in memory: of a large study `blocks` reads some pictures at a time.

        Args:
            table: one of `relprop.study.schema.TABLES`, or one that a measure of this study added.
            parts: of which parts, all of them written; None: of all that are.

        Raises:
            StudyError: a part's file is missing or damaged, or the study has no such table.
        """
        found = [tables[table] for _, tables in self.blocks([table], parts)]
        return pa.concat_tables(found) if found else self.schema(table, self.layout()).empty_table()

    def blocks(
        self,
        tables: Collection[str],
        parts: Collection[int] | None = None,
        columns: Collection[str] | None = None,
    ) -> Iterator[tuple[list[int], dict[str, pa.Table]]]:
        """Read part after part, about `AT_ONCE` pictures at a time.

        Args:
            tables: as `read`.
            parts: as `read`.
            columns: which of the tables' columns; None: all.

        Yields:
            The numbers of the parts, and their rows by the table's name.

        Raises:
            StudyError: as `read`.
        """
        layout, together = self.layout(), self.together
        schemas = {table: self.schema(table, layout) for table in tables}
        chosen = sorted(layout.numbers if parts is None else parts)
        for _, group in itertools.groupby(chosen, key=lambda number: number // together):
            numbers = list(group)
            try:
                found = self._read(numbers, schemas, columns, layout)
            except StudyError:
                before, layout = layout, self.layout()
                if layout == before:
                    raise
                found = self._read(numbers, schemas, columns, layout)  # they were put into other files meanwhile
            yield numbers, found

    def _read(
        self, parts: Sequence[int], schemas: Mapping[str, pa.Schema], columns: Collection[str] | None, layout: Layout
    ) -> dict[str, pa.Table]:
        found: dict[str, list[pa.Table]] = {table: [] for table in schemas}
        for shared, group in itertools.groupby(parts, key=layout.shared):
            numbers = list(group)
            for table, schema in schemas.items():
                name = f"{table}.parquet"
                if shared:
                    found[table].append(files.read(self.many(*shared) / name, schema, numbers, columns))
                else:
                    found[table] += (
                        files.read(self.part(number) / name, schema, columns=columns) for number in numbers
                    )
        return {table: pa.concat_tables(each) for table, each in found.items()}

    def schema(self, table: str, layout: Layout | None = None) -> pa.Schema:
        """Return a table's columns; a measure's as it was written, as one of the user's may be gone since.

        Args:
            table: as `read`.
            layout: where the parts lie, where that is known.

        Raises:
            StudyError: as `read`.
        """
        if table in TABLES:
            return arrow(table)
        there = self.tables()
        if table not in there:
            raise StudyError(f"{self.folder}: no table {table!r} was measured; there are {', '.join(there)}")
        where = layout or self.layout()
        if not where.numbers:
            return pa.schema([])
        found = files.schema_of(self.place(min(where.numbers), where) / f"{table}.parquet")
        return found.remove_metadata()

    def measured(self, parts: Collection[int] | None = None) -> int:
        """Return of how many pictures something is measured.

        Args:
            parts: as `read`.

        Raises:
            StudyError: a part's file is missing or damaged, or nothing of any picture could be measured.
        """
        number, statuses = 0, set[str]()
        for _, tables in self.blocks(["rows"], parts, ("image_index", "status")):
            rows = tables["rows"]
            number += len(rows.filter(compute.equal(rows["status"], "ok"))["image_index"].unique())
            statuses.update(rows["status"].unique().to_pylist())
        if not number and (self.done() if parts is None else parts):
            read = self.blocks(["predictions"], parts, ("problem",))
            problems = (text for _, tables in read for text in tables["predictions"]["problem"].to_pylist() if text)
            reasons = [*(STATUSES[status] for status in sorted(statuses)), *itertools.islice(problems, 1)]
            why = "; ".join(reasons or ["there are no objects on them"])
            raise StudyError(f"{self.folder}: nothing could be measured: {why}")
        return number

    def part(self, number: int) -> Path:
        """Return the folder of a part that has one of its own, written or not."""
        return self.parts / f"part-{number:06d}"

    def many(self, first: int, last: int) -> Path:
        """Return the folder that these and all parts between them share, written or not."""
        return self.parts / f"parts-{first:06d}-{last:06d}"

    def place(self, number: int, layout: Layout) -> Path:
        """Return the folder that a part is read from."""
        shared = layout.shared(number)
        return self.many(*shared) if shared else self.part(number)

    def _begun_here(self, text: str) -> bool:
        """Write `run.json`, and return whether that was done: not where there is one, be it since a moment ago."""
        path = self.folder / RUN
        try:
            if path.exists():
                return False
            for earlier in self.cache.glob("*.safetensors"):  # what another study left may be of other pictures
                earlier.unlink(missing_ok=True)
            return write_new(path, text.encode())
        except WriteError as error:
            raise StudyError(str(error)) from None
        except OSError as error:
            raise StudyError(f"{self.cache}: cannot be emptied ({error.strerror}); choose another folder") from None


def _differences(old: Any, new: Any, key: str = "") -> Iterator[str]:
    """Say for each key, dotted where nested, what the study has and what was asked for."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            dotted = f"{key}.{name}" if key else name
            yield from _differences(old.get(name, _ABSENT), new.get(name, _ABSENT), dotted)
    elif old != new:
        yield f"{key} is {_short(old)} there, not {_short(new)}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _all_of(tables: Mapping[str, Sequence[Record]], columns: Mapping[str, tuple[Column, ...]]) -> list[str]:
    if tables.keys() != columns.keys():
        raise ValueError(f"a part has the tables {', '.join(columns)}, not {', '.join(tables)}")
    return list(columns)
