"""A study's folder: `run.json` and parts, each of which is there whole or not at all.

A part is written into a folder of its own that is renamed when all of it is on the disk. So a study can be
killed at any moment and continued, by several processes at once; what two of them measure twice is the same.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import compute, parquet

from relprop.study.schema import DEFAULT, STATUSES, TABLES, Column, arrow, arrow_of, tables_of
from relprop.support.errors import RelpropError
from relprop.support.files import WriteError, near, write_folder, write_new

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    Record = Mapping[str, Any]

RUN = "run.json"
_PART = re.compile(r"part-(\d{6,})")
_ABSENT = "nothing"  # how a key that only one side has is shown
_SHOWN = 5  # so many differing keys are named, the others counted


class StudyError(RelpropError):
    """A study that cannot be begun, written or read; the message says why and what to do."""


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
        """Return the numbers of the parts that are written."""
        names = (entry.name for entry in self.parts.iterdir()) if self.parts.is_dir() else ()
        return {int(match[1]) for match in map(_PART.fullmatch, names) if match}

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
        files = {f"{name}.parquet": _parquet(name, columns[name], tables[name]) for name in _all_of(tables, columns)}
        folder = self.part(part)
        try:
            write_folder(folder, files)
        except WriteError as error:
            todo = f"{error.remedy} and " if error.remedy else "mend that and "
            raise StudyError(
                f"{folder}: not written ({error.reason}); the {len(self.done())} parts that are written are safe: "
                f"{todo}run the same command again to continue"
            ) from None

    def read(self, table: str, parts: Collection[int] | None = None) -> pa.Table:
        """Return a table, the parts in order; without any part, no rows.

        Args:
            table: one of `relprop.study.schema.TABLES`, or one that a measure of this study added.
            parts: of which parts, all of them written; None: of all that are.

        Raises:
            StudyError: a part's file is missing or damaged, or the study has no such table.
        """
        schema = arrow(table) if table in TABLES else self._schema(table)
        chosen = sorted(self.done() if parts is None else parts)
        found = [_read(self.part(number) / f"{table}.parquet", schema) for number in chosen]
        return pa.concat_tables(found) if found else schema.empty_table()

    def _schema(self, table: str) -> pa.Schema:
        """Return how a measure's table was written: a measure of the user's may be gone since."""
        there = self.tables()
        if table not in there:
            raise StudyError(f"{self.folder}: no table {table!r} was measured; there are {', '.join(there)}")
        done = sorted(self.done())
        return _schema_of(self.part(done[0]) / f"{table}.parquet") if done else pa.schema([])

    def measured(self, parts: Collection[int] | None = None) -> int:
        """Return of how many pictures something is measured.

        Args:
            parts: as `read`.

        Raises:
            StudyError: a part's file is missing or damaged, or nothing of any picture could be measured.
        """
        rows = self.read("rows", parts)
        measured = rows.filter(compute.equal(rows["status"], "ok"))
        if not measured.num_rows and (self.done() if parts is None else parts):
            statuses = sorted(set(rows["status"].to_pylist()))
            problems = [text for text in self.read("predictions", parts)["problem"].to_pylist() if text]
            reasons = [*(STATUSES[status] for status in statuses), *problems[:1]] or ["there are no objects on them"]
            raise StudyError(f"{self.folder}: nothing could be measured: {'; '.join(reasons)}")
        return len(measured["image_index"].unique())

    def part(self, number: int) -> Path:
        """Return the folder of a part, written or not."""
        return self.parts / f"part-{number:06d}"

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


def _parquet(table: str, columns: tuple[Column, ...], rows: Sequence[Record]) -> bytes:
    """Return the file's content: for the same rows the same bytes."""
    names = [column.name for column in columns]
    for row in rows:
        if row.keys() != set(names):
            raise ValueError(f"{table}: columns missing or unknown: {', '.join(sorted(row.keys() ^ set(names)))}")
    schema = arrow_of(columns)
    arrays = [pa.array([row[field.name] for row in rows], field.type, from_pandas=field.nullable) for field in schema]
    buffer = pa.BufferOutputStream()
    table_ = pa.Table.from_arrays(arrays, schema=schema)
    # Without checksums a quarter of all flipped bits would be read as other numbers.
    parquet.write_table(table_, buffer, compression="zstd", write_page_checksum=True)
    return bytes(buffer.getvalue())


def _with_all_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Fill up what an older study did not measure, where that can be null."""
    for place, field in enumerate(schema):
        if field.name not in table.column_names and field.nullable:
            table = table.add_column(place, field, pa.nulls(len(table), field.type))
    return table


def _schema_of(path: Path) -> pa.Schema:
    try:
        return parquet.read_schema(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> StudyError:
    reason = str(error).splitlines()[0]
    return StudyError(f"{path}: cannot be read ({reason}); remove its folder and run the study again")


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            return _with_all_columns(file.read(), schema).cast(schema)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _unreadable(path, error) from None
