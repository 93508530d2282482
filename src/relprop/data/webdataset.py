"""Pictures in tar shards as WebDataset writes them, with boxes in a member beside each.

What is on a picture stands in ``KEY.json`` (`relprop.data.described` has its names), in ``KEY.xml`` as VOC writes it,
or in ``KEY.cls`` as one name or number. Of several the first of these that tells boxes is taken; a class in ``KEY.cls``
is that of boxes without one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from relprop.data.addresses import Files, Named
from relprop.data.annotations import MOST, TOO_LARGE, Annotation, names_in, parsed
from relprop.data.described import Words, described
from relprop.data.described import names_in as names_told
from relprop.data.entries import DataError
from relprop.data.packed import Packed
from relprop.data.pictures import PictureError
from relprop.data.reading import Reader, in_order
from relprop.data.shards import SAID, index

_AT_ONCE = 8  # shards elsewhere that are walked through beside each other


def webdataset(
    shards: Named,
    *,
    columns: Mapping[str, str] | None = None,
    classes: Sequence[str] = (),
    masks: bool = False,
) -> Packed:
    """Open tar shards. An id is the name that the picture has in its shard, with the shard's before it if two agree.

    Args:
        shards: a file, a folder, a pattern (``train-*.tar``), a range (``train-{000..146}.tar``), here or at an
            address of fsspec.
        columns: other names than those of `relprop.data.described.PLACES` for what members say; under ``"image"`` which
            member is the picture, where a sample has several.
        classes: what whole numbers mean, in order.
        masks: take objects' segmentation in the JSON members (extra ``coco``) instead of their boxes.

    Raises:
        DataError: there are no shards, one is compressed, cut short or no tar, or a sample has two pictures.

    Example:
        >>> data = webdataset("shards/val-{000..009}.tar")  # doctest: +SKIP
        >>> data[0].id, data[0].things  # doctest: +SKIP
    """
    words = Words(columns or {}, classes, masks=masks)
    more = {"masks": "coco"} if masks else {}
    return Packed("webdataset", "all", partial(Shards, shards, words), more)


class Shards:
    """The samples of some shards: a `relprop.data.packed.Source`."""

    def __init__(self, address: Named, words: Words) -> None:
        self._files = Files(address, {".tar"}, "shards")
        of_shard = partial(index, self._files, image=words.columns.get("image", ""))
        threads = _AT_ONCE if self._files.remote else 1
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(of_shard, self._files.paths))
        self._versions = {path: version for path, (version, _) in zip(self._files.paths, found, strict=True)}
        self._table = pa.concat_tables(table for _, table in found).combine_chunks()
        self._shard = np.repeat(np.arange(len(found), dtype=np.int32), [table.num_rows for _, table in found])
        self.ids = self._names()
        self._reader = Reader(self._files)
        self.words = words
        self.words = replace(words, boxless=not any(map(self._has_boxes, range(len(self.ids)))))

    @property
    def remote(self) -> bool:
        """Whether reading waits for more than a disk."""
        return self._files.remote

    def picture(self, index: int) -> bytes:
        """Return what a picture's member holds."""
        name, start, size = (self._table[column][index].as_py() for column in ("name", "start", "size"))
        if start < 0:
            raise PictureError(f"{PurePosixPath(name).name}: no picture in its sample")
        path = self._files.paths[self._shard[index]]
        return self._reader.read(path, self._versions[path], start, size, PurePosixPath(name).name)

    def annotation(self, index: int) -> Annotation:
        """Return what the other members of the sample say."""
        said, key = self._said(index), PurePosixPath(str(self.ids[index])).name.partition(".")[0]
        if "json" in said:
            try:
                record = self._record(said)
            except ValueError as error:
                return Annotation(problem=f"{key}.json: {error}")
            if "xml" not in said or self.words.has_boxes(record):
                return described(record, f"{key}.json", self.words)
        if "xml" in said:
            return _of_xml(said["xml"], f"{key}.xml", self.words.classes)
        if "cls" in said:
            return described(self._record(said), f"{key}.cls", self.words)
        return Annotation(problem=f"{key}: no member {', '.join(f'.{kind}' for kind in SAID)} beside it")

    def classes(self) -> tuple[str, ...]:
        """Return the names that were given, or all that are used."""
        if self.words.classes:
            return tuple(self.words.classes)
        return in_order(name for k in range(len(self.ids)) for name in self._used(k))

    def said(self, number: int) -> Iterable[bytes]:
        """Give the members that say something of each of the first pictures."""
        for batch in self._table.select(list(SAID)).slice(0, number).to_batches(max_chunksize=1024):
            for row in batch.to_pylist():
                yield b"\n".join(b"%d %s" % (len(value), value) if value else b"" for value in row.values())

    def changed(self) -> bool:
        """Whether a shard is not the one that was walked through."""
        return self._files.versions() != self._versions

    def _names(self) -> pa.ChunkedArray:
        names = self._table["name"]
        if len(names) == len(names.unique()):
            return names
        stems = [PurePosixPath(path).stem for path in self._files.paths]
        full = [f"{stems[k]}/{name}" for k, name in zip(self._shard, names.to_pylist(), strict=True)]
        twice, number = Counter(full).most_common(1)[0]
        if number > 1:
            raise DataError(f"{self._files.address}: {number} samples are {twice}; give shards names of their own")
        return pa.chunked_array([full])

    def _said(self, index: int) -> dict[str, bytes]:
        found = {kind: self._table[kind][index].as_py() for kind in SAID}
        return {kind: said for kind, said in found.items() if said is not None}

    def _record(self, said: Mapping[str, bytes]) -> dict[str, Any]:
        """Return what JSON says, with the label of a ``.cls`` where it has none.

        Raises:
            ValueError: it is no JSON, or no object.
        """
        record = _json(said["json"]) if "json" in said else {}
        if "cls" in said and not self.words.find(record, "label")[0]:
            word = said["cls"].decode("utf-8", "replace").strip()
            record = record | {self.words.places("label")[0]: int(word) if word.isdecimal() else word}
        return record

    def _has_boxes(self, index: int) -> bool:
        said = self._said(index)
        try:
            return "xml" in said or self.words.has_boxes(self._record(said))
        except ValueError:
            return False

    def _used(self, index: int) -> set[str]:
        said = self._said(index)
        try:
            told = names_told(self._record(said), self.words)
        except ValueError:
            told = set()
        return told | (names_in(said["xml"]) if "xml" in said else set())


def _json(data: bytes) -> dict[str, Any]:
    if len(data) > MOST:
        raise ValueError(TOO_LARGE)
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from None
    if not isinstance(found, dict):
        raise ValueError(f"a {type(found).__name__}, not an object with boxes and labels")  # noqa: TRY004 - one kind
    return found


def _of_xml(data: bytes, file: str, classes: Sequence[str]) -> Annotation:
    if len(data) > MOST:
        return Annotation(problem=f"{file}: {TOO_LARGE}")
    return parsed(data, file, first=1, classes=classes)
