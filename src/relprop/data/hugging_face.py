"""Folders of Hugging Face's `datasets`: what ``save_to_disk`` wrote, folders of pictures with metadata, and Parquet.

The library itself says what a folder holds and which files are of which split. Tables and folders of pictures it reads
too (extra ``datasets``); files of Parquet and tar shards are read where they lie, as it would copy them first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]

from relprop.data.addresses import is_address
from relprop.data.described import Words
from relprop.data.entries import DataError, demand_folder
from relprop.data.packed import Packed, Source
from relprop.data.parquet import ParquetTable
from relprop.data.pictures import PictureError
from relprop.data.rows import Rows, without_place
from relprop.data.webdataset import Shards
from relprop.support.suggest import did_you_mean

_Found = tuple[str, dict[str, list[str]]]


def hugging_face(
    folder: str | Path,
    split: str = "",
    *,
    columns: Mapping[str, str] | None = None,
    classes: Sequence[str] = (),
    masks: bool = False,
) -> Packed:
    """Open a folder as ``datasets.load_from_disk`` or ``datasets.load_dataset`` does.

    Args:
        folder: on this machine.
        split: ``"train"``, ``"validation"``, ``"test"``, ...; may be left out where there is one.
        columns: other names than those of `relprop.data.described.PLACES`, such as ``{"label": "fine_label"}``.
        classes: what whole numbers mean, in order; without it what the data set's features say.
        masks: take objects' segmentation (extra ``coco``) instead of their boxes.

    Raises:
        DataError: the library is not installed, the folder holds nothing that it reads as pictures, or there is no such
            split.

    Example:
        >>> data = hugging_face("cppe-5", "test")  # doctest: +SKIP
        >>> data.classes, data[0].things  # doctest: +SKIP
    """
    if is_address(str(folder)):
        raise DataError(f"{folder}: copy it to this machine, or name its files there: --data parquet or webdataset")
    root = demand_folder(folder)
    if find_spec("datasets") is None:
        raise DataError(
            f'{root}: read by the library datasets, which is not installed; pip install "relprop[datasets]"'
        )
    words = Words(columns or {}, classes, masks=masks)
    saved = (root / "state.json").is_file() or (root / "dataset_dict.json").is_file()
    found = None if saved else _files(root)
    chosen = _one(root, split, list(found[1]) if found else _saved(root))
    more = {"masks": "coco"} if masks else {}
    return Packed("huggingface", chosen, _Opening(root, chosen, words, saved, found), more)


def _saved(root: Path) -> list[str]:
    """Return the splits that ``save_to_disk`` wrote."""
    try:
        if (root / "dataset_dict.json").is_file():
            return list(json.loads((root / "dataset_dict.json").read_text(encoding="utf-8"))["splits"])
        return [json.loads((root / "state.json").read_text(encoding="utf-8")).get("_split") or "all"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{root}: not what save_to_disk writes ({error}); save it again") from None


def _files(root: Path) -> _Found:
    """Return which kind of files a folder holds, and those of each split."""
    with _told(root):
        builder = import_module("datasets").load_dataset_builder(str(root))
        return builder.name, {str(split): list(files) for split, files in (builder.config.data_files or {}).items()}


def _one(root: Path, split: str, splits: list[str]) -> str:
    if split and split not in splits:
        raise DataError(f"{root}: no split {split!r}{did_you_mean(split, splits)}")
    if not split and len(splits) > 1:
        raise DataError(f"{root}: has the splits {', '.join(splits)}; choose with --split {splits[0]}")
    return split or splits[0]


@dataclass
class _Opening:
    """What opens a folder; opened again, as its files have changed then, it is looked through again."""

    root: Path
    split: str
    words: Words
    saved: bool
    found: _Found | None

    def __call__(self) -> Source:
        if self.saved:
            place = self.root / self.split if (self.root / "dataset_dict.json").is_file() else self.root
            with _told(place):
                return Rows(_Mapped(import_module("datasets").load_from_disk(str(place)), self.root), self.words)
        found, self.found = self.found, None
        kind, splits = found or _files(self.root)
        files = splits[self.split]
        if kind == "parquet":
            return Rows(ParquetTable(files), self.words)
        if kind == "webdataset":
            return Shards(files, self.words)
        if kind != "imagefolder":
            reason = f"holds {kind}, which has no pictures in it"
            raise DataError(f"{self.root}: {reason}; name pictures, Parquet or tar shards")
        with _told(self.root):
            data = import_module("datasets").load_dataset(str(self.root), split=self.split)
            return Rows(_Mapped(data, self.root, files), self.words)


class _Mapped:
    """A data set in the library's own files, which are mapped into memory: a `relprop.data.rows.Table`.

    Args:
        data: a `datasets.Dataset`, as it was loaded.
        root: the folder that was named.
        files: of which it was made; without any the library's own.
    """

    remote = False

    def __init__(self, data: Any, root: Path, files: Sequence[str] = ()) -> None:
        self._data = data
        self._root = root
        self.name = str(root)
        self.number = len(data)
        self._files = [Path(each) for each in files or (each["filename"] for each in data.cache_files)]
        self._stamps = self._stamped()

    @property
    def schema(self) -> pa.Schema:
        """The columns, with what the library says of them."""
        return self._data.data.schema

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Return whole columns; of pictures that are structures the path alone."""
        table = self._data.data.table
        found = {name.partition(".")[0]: table[name] if "." not in name else _paths(table, name) for name in names}
        return pa.table(found) if found else table.select([])

    def cell(self, column: str, index: int) -> Any:
        """Return what a row has in a column."""
        return self._data.data.table[column][index].as_py()

    def stored(self, path: str) -> bytes:
        """Return what the picture's file holds."""
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise PictureError(f"{Path(path).name}: cannot be read ({error.strerror})") from None

    def called(self, path: str) -> str:
        """Return a picture's path within the folder, or the name of its file."""
        return without_place(path, self._root)

    def changed(self) -> bool:
        """Whether a file is not the one that was opened."""
        return self._stamped() != self._stamps

    def _stamped(self) -> list[tuple[int, int]]:
        stats = (file.stat() if file.exists() else None for file in self._files)
        return [(stat.st_mtime_ns, stat.st_size) if stat else (0, 0) for stat in stats]


def _paths(table: pa.Table, name: str) -> pa.Array:
    first, _, rest = name.partition(".")
    compute = import_module("pyarrow.compute")
    paths = compute.struct_field(table[first], rest)
    return compute.make_struct(paths, field_names=[rest])


@contextmanager
def _told(root: Path) -> Iterator[None]:
    """Keep the library quiet, and say in one line what it refuses."""
    datasets = import_module("datasets")
    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it raises on a folder of another kind
        said = " ".join(str(error).split())
        raise DataError(
            f"{root}: not a folder that datasets reads ({type(error).__name__}: {said}); name one that save_to_disk "
            "wrote, or that holds pictures, Parquet or tar shards"
        ) from None
    finally:
        if shown:
            datasets.enable_progress_bars()
