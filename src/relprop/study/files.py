"""A study's Parquet files: of one part or of many side by side, their bytes always checked by their own checksums."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import parquet

from relprop.study.schema import Column, arrow_of
from relprop.support.errors import RelpropError

# Without checksums a quarter of all flipped bits would be read as other numbers.
_HOW: Any = {"compression": "zstd", "write_page_checksum": True}
_PARTS = b"relprop.parts"  # of a file of many parts: the first one's number, and how many rows each has


class StudyError(RelpropError):
    """A study that cannot be begun, written or read; the message says why and what to do."""


def pictures_planned(config: Mapping[str, Any]) -> int | None:
    """Return how many pictures a study is to have, as its `run.json` says; None where that does not."""
    data = config.get("data")
    numbers = (data.get("number") if isinstance(data, dict) else None, config.get("limit"))
    return min((int(number) for number in numbers if number), default=None)


def content(table: str, columns: tuple[Column, ...], rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the content of a part's file: for the same rows the same bytes.

    Raises:
        ValueError: a row's columns are not those of the table.
    """
    names = [column.name for column in columns]
    for row in rows:
        if row.keys() != set(names):
            raise ValueError(f"{table}: columns missing or unknown: {', '.join(sorted(row.keys() ^ set(names)))}")
    schema = arrow_of(columns)
    arrays = [pa.array([row[field.name] for row in rows], field.type, from_pandas=field.nullable) for field in schema]
    buffer = pa.BufferOutputStream()
    table_ = pa.Table.from_arrays(arrays, schema=schema)
    parquet.write_table(table_, buffer, **_HOW)
    return bytes(buffer.getvalue())


def write_many(path: Path, first: int, parts: Sequence[pa.Table], together: int) -> None:
    """Write consecutive parts into one file.

    Args:
        path: the file.
        first: the number of the first of them.
        parts: the rows of each.
        together: so many parts share a row group, those whose numbers divided by it are alike.
    """
    numbers = range(first, first + len(parts))
    about = {_PARTS: json.dumps({"first": first, "rows": [len(part) for part in parts]}).encode()}
    schema = parts[0].schema.with_metadata((parts[0].schema.metadata or {}) | about)
    with parquet.ParquetWriter(path, schema, **_HOW) as writer:
        for _, group in itertools.groupby(numbers, key=lambda number: number // together):
            rows = pa.concat_tables([parts[number - first] for number in group])
            if len(rows):
                writer.write_table(rows.cast(schema), row_group_size=len(rows))


def read(
    path: Path, schema: pa.Schema, parts: Sequence[int] | None = None, columns: Collection[str] | None = None
) -> pa.Table:
    """Return the rows of a file.

    Args:
        path: the file.
        schema: which columns it has; those that may be null are, where it lacks them.
        parts: of a file of many parts the numbers of those that are wanted, ascending; None: a file of one part.
        columns: those that are wanted; None: all.

    Raises:
        StudyError: it is not there, is damaged, or lacks a column or a part.
    """
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            names = file.schema_arrow.names
            _demand_known(names, schema)
            wanted = schema if columns is None else pa.schema([field for field in schema if field.name in columns])
            there = [name for name in names if name in wanted.names]
            # Threads would take longer to start than a part takes to be read.
            table = file.read(there, use_threads=False) if parts is None else _rows(file, there, parts)
            return _with_all_columns(table, wanted).cast(wanted)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise unreadable(path, error) from None


def schema_of(path: Path) -> pa.Schema:
    """Return which columns a file has.

    Raises:
        StudyError: it cannot be read.
    """
    try:
        return parquet.read_schema(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception) -> StudyError:
    """Return the error that says so of a file of a part."""
    reason = str(error).splitlines()[0]
    return StudyError(f"{path}: cannot be read ({reason}); remove its folder and run the study again")


def runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return the ends, half-open, of the stretches of ascending numbers without a gap."""
    breaks = [k for k in range(1, len(numbers)) if numbers[k] != numbers[k - 1] + 1]
    return [(numbers[a], numbers[b - 1] + 1) for a, b in itertools.pairwise([0, *breaks, len(numbers)])]


def same(one: pa.Table, other: pa.Table) -> bool:
    """Whether two tables hold the same, bit for bit; NaN is NaN."""
    return one.schema.equals(other.schema) and all(
        _same(each.combine_chunks(), beside.combine_chunks())
        for each, beside in zip(one.columns, other.columns, strict=True)
    )


def _demand_known(names: Sequence[str], schema: pa.Schema) -> None:
    """Refuse other columns: where a bit of a name is flipped, what it names is not just absent."""
    unknown = [name for name in names if name not in schema.names]
    if unknown:
        raise ValueError(f"it has columns that the table has not: {', '.join(unknown)}")


def _rows(file: parquet.ParquetFile, columns: list[str], parts: Sequence[int]) -> pa.Table:
    """Return the rows of some of the parts of a file; of the groups of rows those are read that hold one of them."""
    about = json.loads((file.metadata.metadata or {}).get(_PARTS, b"null"))
    if about is None:
        raise ValueError("it does not say which parts it holds")
    ends = np.cumsum([0, *about["rows"]])
    if not 0 <= parts[0] - about["first"] <= parts[-1] - about["first"] < len(ends) - 1:
        raise ValueError(f"it does not hold the parts {parts[0]} to {parts[-1]}")
    groups = np.cumsum([0, *(file.metadata.row_group(k).num_rows for k in range(file.num_row_groups))])
    found = []
    for start, stop in runs(parts):
        low, high = int(ends[start - about["first"]]), int(ends[stop - about["first"]])
        wanted = np.flatnonzero((groups[:-1] < high) & (groups[1:] > low)).tolist()
        before = int(groups[wanted[0]]) if wanted else low
        found.append(file.read_row_groups(wanted, columns).slice(low - before, high - low))
    return pa.concat_tables(found)


def _with_all_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Fill up what an older study did not measure, where that can be null."""
    for place, field in enumerate(schema):
        if field.name not in table.column_names and field.nullable:
            table = table.add_column(place, field, pa.nulls(len(table), field.type))
    return table


def _same(one: pa.Array, other: pa.Array) -> bool:
    if pa.types.is_list(one.type):
        lengths = one.value_lengths().equals(other.value_lengths())
        return bool(lengths) and _same(one.flatten(), other.flatten())
    if pa.types.is_floating(one.type):  # as whole numbers, since no NaN equals another
        bits = {16: pa.uint16(), 32: pa.uint32(), 64: pa.uint64()}[one.type.bit_width]
        one, other = one.view(bits), other.view(bits)
    return bool(one.equals(other))
