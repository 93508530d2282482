"""Pictures in a column of a table: what is the same for Parquet and for the data sets of Hugging Face.

A picture is a column of bytes, or of structures of ``bytes`` and ``path``, as Hugging Face stores pictures. What is on
it stands in the columns that `relprop.data.described` names; what whole numbers mean is taken from the features that
Hugging Face writes into a table's schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Protocol

import pyarrow as pa  # type: ignore[import-untyped]

from relprop.data.annotations import Annotation
from relprop.data.described import Words, described, names_in
from relprop.data.entries import DataError
from relprop.data.pictures import PictureError
from relprop.data.reading import in_order
from relprop.support.suggest import did_you_mean


class Table(Protocol):
    """Columns that are read one by one, and pictures that are read row by row."""

    @property
    def name(self) -> str:
        """Say where it is, for messages."""

    @property
    def number(self) -> int:
        """How many rows there are."""

    @property
    def schema(self) -> pa.Schema:
        """The columns, with what Hugging Face says of them."""

    @property
    def remote(self) -> bool:
        """Whether reading waits for more than a disk."""

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Return whole columns; ``image.path`` is the path alone of pictures that are structures."""

    def cell(self, column: str, index: int) -> Any:
        """Return the value of a row, bytes or a mapping.

        Raises:
            PictureError: it is damaged.
            DataError: the table cannot be read now.
        """

    def stored(self, path: str) -> bytes:
        """Return what the file holds that a row names in the place of bytes.

        Raises:
            PictureError: it is not there.
        """

    def called(self, path: str) -> str:
        """Return what a picture is called that has this path, without the place where the data lies."""

    def changed(self) -> bool:
        """Whether the files are others than those that were opened."""


class Rows:
    """The rows of a table: a `relprop.data.packed.Source`.

    Raises:
        DataError: there is no column of pictures, or none of a name that was given.
    """

    def __init__(self, table: Table, words: Words) -> None:
        self._table = table
        schema = table.schema
        leaves = {path: kind for field in schema for path, kind in _leaves(field.name, field.type)}
        for kind, column in words.columns.items():
            if column not in leaves:
                raise DataError(f"{table.name}: no column {column!r} for {kind}{did_you_mean(column, leaves)}")
        self._image = _picture_column(table, words)
        of = {place: names for place, names in _class_names(_features(schema)) if names}
        boxless = not any(place in leaves for kind in ("boxes", "bbox") for place in words.places(kind))
        self.words = replace(words, of={} if words.classes else of, boxless=boxless)
        self._named = [place for kind in ("classes", "label") for place in words.places(kind) if place in leaves][:1]
        self._said = table.columns([name for name in schema.names if name in words.wanted() - {self._image}])
        self.ids = self._names(leaves)

    @property
    def remote(self) -> bool:
        """Whether reading waits for more than a disk."""
        return self._table.remote

    def picture(self, index: int) -> bytes:
        """Return the bytes of a row's picture."""
        cell = self._table.cell(self._image, index)
        data, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, Mapping) else (cell, None)
        if data is None and not path:
            raise PictureError(f"{PurePosixPath(self.ids[index]).name}: no picture in its row")
        return self._table.stored(str(path)) if data is None else bytes(data)

    def annotation(self, index: int) -> Annotation:
        """Return what the other columns of a row say."""
        (record,) = self._said.slice(index, 1).to_pylist() if self._said.num_columns else ({},)
        return described(record, PurePosixPath(self.ids[index]).name, self.words)

    def classes(self) -> tuple[str, ...]:
        """Return the names that were given, or that the table's features have, or all that are used."""
        if self.words.classes:
            return tuple(self.words.classes)
        known = next((self.words.of[place] for place in self._named if place in self.words.of), None)
        if known is not None:
            return tuple(dict.fromkeys(known))
        return in_order(name for record in self._records(len(self.ids)) for name in names_in(record, self.words))

    def said(self, number: int) -> Iterable[bytes]:
        """Give what the columns say of each of the first pictures."""
        for record in self._records(number):
            yield json.dumps(record, sort_keys=True, default=str).encode()

    def changed(self) -> bool:
        """Whether the files are others than those that were opened."""
        return self._table.changed()

    def _records(self, number: int) -> Iterator[Mapping[str, Any]]:
        for batch in self._said.slice(0, number).to_batches(max_chunksize=1024):
            yield from batch.to_pylist()

    def _names(self, leaves: Mapping[str, pa.DataType]) -> list[str]:
        """Name pictures by the first column whose values are all there and differ, or by the number of their row."""
        path = f"{self._image}.path"
        for place in [*self.words.places("id"), *([path] if path in leaves else [])]:
            if place not in leaves or not _nameable(leaves[place]):
                continue
            values = _column(self._table.columns([place]), place)
            called = [self._table.called(str(value)) if value is not None else "" for value in values]
            if all(called) and len(set(called)) == len(called):
                return called
        return [f"row-{index:07d}" for index in range(self._table.number)]


def _picture_column(table: Table, words: Words) -> str:
    if "image" in words.columns:
        return words.columns["image"]
    schema = table.schema
    held = [field.name for field in schema if _holds_pictures(field.type)]
    named = [name for name in words.places("image") if name in held]
    if named or len(held) == 1:
        return (named or held)[0]
    found = f"several columns of bytes ({', '.join(held)})" if held else "no column of pictures"
    raise DataError(f"{table.name}: {found}; say which with --columns image={(held or schema.names)[0]}")


def _holds_pictures(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(kind.field(k).name == "bytes" for k in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _nameable(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind))


def _leaves(path: str, kind: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
    """Give every place in a column: ``objects``, ``objects.bbox``."""
    yield path, kind
    while pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    if pa.types.is_struct(kind):
        for k in range(kind.num_fields):
            yield from _leaves(f"{path}.{kind.field(k).name}", kind.field(k).type)


def _column(table: pa.Table, place: str) -> list[Any]:
    """Return the values at a place that may lie within a structure."""
    first, _, rest = place.partition(".")
    values = table[first].to_pylist()
    return [(value or {}).get(rest) for value in values] if rest else values


def _class_names(told: Any, path: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    """Give the names that features of Hugging Face have for the whole numbers at each place."""
    if isinstance(told, list):
        for each in told:
            yield from _class_names(each, path)
    if not isinstance(told, Mapping):
        return
    kind = told.get("_type")
    if kind == "ClassLabel":
        yield path, tuple(map(str, told.get("names") or ()))
    elif isinstance(kind, str):  # a list of something, or a value
        yield from _class_names(told.get("feature"), path)
    else:
        for key, value in told.items():
            yield from _class_names(value, f"{path}.{key}".strip("."))


def _features(schema: pa.Schema) -> Any:
    """Return what Hugging Face says of the columns; None where it says nothing."""
    try:
        return json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return None


def without_place(path: str, root: PurePath | None = None) -> str:
    """Return a picture's path within the folder of its data; of one elsewhere its name alone."""
    pure = PureWindowsPath(path) if "\\" in path else PurePosixPath(path)
    if root is not None and pure.is_relative_to(root):
        return pure.relative_to(root).as_posix()
    return pure.name if pure.is_absolute() else pure.as_posix()
