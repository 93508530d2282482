"""The table of what was found in many pictures: a row for each map, as CSV and as Parquet, written as it comes."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import parquet

from relprop.support.files import replacing

SCHEMA = pa.schema(
    [
        ("picture", pa.string()),  # its path, as it was named or found
        ("problem", pa.string()),  # why there is no map; then all that follows is empty
        ("predicted", pa.int64()),  # the class of the highest logit
        ("predicted_class", pa.string()),
        ("predicted_logit", pa.float64()),
        ("target", pa.int64()),  # the class that is explained
        ("target_class", pa.string()),
        ("logit", pa.float64()),
        ("method", pa.string()),
        ("relevance_sum", pa.float64()),  # of all pixels and channels
        ("share_on_pixels", pa.float64()),  # of what relevance started as; as the next four for methods that conserve
        ("bias", pa.float64()),
        ("eps", pa.float64()),
        ("lost", pa.float64()),
        ("conservation_error", pa.float64()),
        ("map", pa.string()),  # its file, from the table's folder; below the picture, a row of panels for each class
        ("arrays", pa.string()),  # with --raw, and
        ("figure", pa.string()),  # with --figures: likewise
    ]
)
"""The columns, in order."""


AT_ONCE = 4096
"""Rows of a group in the Parquet file."""


class Table:
    """Rows on their way to both files."""

    def __init__(self, text: Any, columns: parquet.ParquetWriter) -> None:
        self._text = csv.DictWriter(text, SCHEMA.names, lineterminator="\n")
        self._text.writeheader()
        self._columns = columns
        self._waiting: list[dict[str, Any]] = []

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows, whose missing columns are empty."""
        self._text.writerows(rows)
        self._waiting += map(dict, rows)
        if len(self._waiting) >= AT_ONCE:
            self.finish()

    def finish(self) -> None:
        """Write what waits to become a group."""
        if self._waiting:
            self._columns.write_table(pa.Table.from_pylist(self._waiting, schema=SCHEMA))
            self._waiting = []


@contextmanager
def table(text: Path, columns: Path) -> Iterator[Table]:
    """Give the block a table to write to; once it has ended well the files are there, in the place of earlier ones.

    Args:
        text: a CSV file.
        columns: a Parquet file.

    Raises:
        WriteError: one of them cannot be written.
    """
    with (
        replacing(text) as part,
        replacing(columns) as other,
        part.open("w", encoding="utf-8", newline="") as file,
        parquet.ParquetWriter(other, SCHEMA) as writer,
    ):
        found = Table(file, writer)
        yield found
        found.finish()
