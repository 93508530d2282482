"""Parquet files with a column of pictures, read by pyarrow: here, or at an address of fsspec."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]

from relprop.data.addresses import Files, MissingError, Named
from relprop.data.described import Words
from relprop.data.entries import DataError
from relprop.data.packed import Packed
from relprop.data.pictures import PictureError
from relprop.data.rows import Rows, without_place
from relprop.support.one_line import told_by

_AT_ONCE = 8  # pictures that are held beside each other
_BUFFER = 2**20  # bytes that are read ahead in a column: without a bound it is read whole


def parquet(
    files: Named,
    split: str = "all",
    *,
    columns: Mapping[str, str] | None = None,
    classes: Sequence[str] = (),
    masks: bool = False,
) -> Packed:
    """Open Parquet files, the rows of all of them in order.

    An id is what a column ``file_name``, ``__key__``, ``image_id`` or ``id`` holds, or the path beside the bytes; the
    first of these whose values all differ; without any the number of the row.

    Args:
        files: a file, a folder, a pattern or a range, here or at an address of fsspec.
        split: what these rows are called.
        columns: other names than those of `relprop.data.described.PLACES`, such as ``{"image": "photo"}``.
        classes: what whole numbers mean, in order; without it what the features of Hugging Face say.
        masks: take objects' segmentation (extra ``coco``) instead of their boxes.

    Raises:
        DataError: no such files, one is damaged or has other columns, there is no column of pictures or several.

    Example:
        >>> data = parquet("val-*.parquet", columns={"image": "photo"})  # doctest: +SKIP
        >>> data[0].id, data[0].things  # doctest: +SKIP
    """
    words = Words(columns or {}, classes, masks=masks)
    return Packed("parquet", split, partial(_opened, files, words), {"masks": "coco"} if masks else {})


def _opened(files: Named, words: Words) -> Rows:
    return Rows(ParquetTable(files), words)


class ParquetTable:
    """Some Parquet files as one table: a `relprop.data.rows.Table`."""

    def __init__(self, named: Named) -> None:
        self._files = Files(named, {".parquet", ".pq"}, "Parquet files")
        self.name = self._files.address
        self._versions = self._files.versions()
        self._groups: list[tuple[str, int]] = []  # file, and number of the group of rows in it
        starts = [0]
        for path in self._files.paths:
            meta, schema = self._footer(path)
            if path == self._files.paths[0]:
                self.schema = schema
            elif schema.names != self.schema.names:
                raise DataError(f"{path}: other columns than {self._files.paths[0]}; name files of one table")
            for group in range(meta.num_row_groups):
                self._groups.append((path, group))
                starts.append(starts[-1] + meta.row_group(group).num_rows)
        self.number = starts[-1]
        self._starts = np.array(starts)
        self._at: _Place | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_at": None}

    @property
    def remote(self) -> bool:
        """Whether reading waits for more than a disk."""
        return self._files.remote

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Return whole columns of all files."""
        found = []
        for path in self._files.paths:
            with self._files.open(path) as file:
                try:
                    found.append(ParquetFile(file).read(columns=list(names)))
                except (pa.ArrowException, OSError) as error:
                    raise DataError(f"{path}: damaged ({told_by(error)}); get a whole copy") from None
        return pa.concat_tables(found, promote_options="permissive")

    def cell(self, column: str, index: int) -> Any:
        """Return what a row has in a column: the rows before it in its group are passed over, in order."""
        group = int(np.searchsorted(self._starts, index, side="right")) - 1
        path = self._groups[group][0]
        try:
            if self._at is None or not self._at.leads_to(group, index):
                self._at = _Place(self._batches(column, group), group, int(self._starts[group]))
            return self._at.value(index)
        except (pa.ArrowException, OSError, StopIteration) as error:
            self._at = None
            said = f"{PurePosixPath(path).name}: row {index - int(self._starts[group])} of row group {group}"
            if self.remote and isinstance(error, OSError):
                raise DataError(
                    f"{said} cannot be read now ({told_by(error)}); run the command again to go on"
                ) from None
            raise PictureError(f"{said} is damaged ({told_by(error)}); get a whole copy") from None

    def stored(self, path: str) -> bytes:
        """Return what the file holds that a row names, as ``to_parquet`` writes it: from the table's folder."""
        try:
            return self._files.read(posixpath.join(posixpath.dirname(self._files.paths[0]), path))
        except MissingError:
            name = PurePosixPath(path).name
            raise PictureError(f"{name}: its row has a path in the place of bytes, and no such file is there") from None

    def called(self, path: str) -> str:
        """Return a path that is relative, or the name of the file."""
        return without_place(path)

    def changed(self) -> bool:
        """Whether a file is not the one that was opened."""
        return self._files.versions() != self._versions

    def _footer(self, path: str) -> tuple[Any, pa.Schema]:
        with self._files.open(path) as file:
            try:
                opened = ParquetFile(file)
            except (pa.ArrowException, OSError) as error:
                raise DataError(f"{path}: no Parquet file, or cut short ({told_by(error)}); get a whole copy") from None
            return opened.metadata, opened.schema_arrow

    def _batches(self, column: str, group: int) -> Iterator[pa.RecordBatch]:
        path, number = self._groups[group]
        self._files.demand_unchanged(path, self._versions[path])
        file = ParquetFile(self._files.open(path), buffer_size=_BUFFER)
        yield from file.iter_batches(_AT_ONCE, row_groups=[number], columns=[column], use_threads=False)


class _Place:
    """How far a group of rows was read, in this process.

    Args:
        batches: the group's rows, from the first.
        group: its number.
        start: of its first row.
    """

    def __init__(self, batches: Iterator[pa.RecordBatch], group: int, start: int) -> None:
        self._batches = batches
        self._batch: pa.RecordBatch | None = None
        self._group, self._start, self._stop = group, start, start
        self._process = os.getpid()  # a file that was opened before a fork has one place for both processes

    def leads_to(self, group: int, index: int) -> bool:
        """Whether a row is yet to come, or among those at hand."""
        return (self._process, self._group) == (os.getpid(), group) and index >= self._start

    def value(self, index: int) -> Any:
        """Return the only column's value in a row."""
        while self._batch is None or index >= self._stop:
            self._batch = next(self._batches)
            self._start, self._stop = self._stop, self._stop + self._batch.num_rows
        return self._batch.column(0)[index - self._start].as_py()
