"""Tar shards: which samples lie where in them, found out once.

A tar has no table of contents, so every shard is walked through once, header by header, and what was found is kept in
the user's cache: from then on any picture is one seek and one read. WebDataset's own reader streams a shard from its
start, and its indexed one first copies shards to this disk; a study asks for pictures by number, continues in
the middle and reads where the data is. So the standard library's `tarfile` finds the members, and fsspec reads them.

Members of one sample have one name up to the first dot of its last part, as in WebDataset: ``a/0001.jpg`` and
``a/0001.json``.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import parquet

from relprop.data.addresses import Files
from relprop.data.annotations import MOST
from relprop.data.entries import DataError
from relprop.data.pictures import suffixes
from relprop.support.files import WriteError, write_whole

_VERSION = 1  # to be raised when what an index says changes
_KEY = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)")
_BLOCK = 512  # bytes; a tar is made of such, and two of zeros end it
SAID = ("json", "cls", "xml")
"""Endings of the members that say what is on the picture."""
SCHEMA = pa.schema(
    [("name", pa.string()), ("start", pa.int64()), ("size", pa.int64()), *((each, pa.binary()) for each in SAID)]
)
"""A sample a row: the picture's name in the shard, where it begins and how long it is in bytes (of a sample without a
picture: its key, -1 and 0), and what the members say that say something of it."""


def index(files: Files, path: str, image: str = "") -> tuple[str, pa.Table]:
    """Return the version of a shard and its samples, in the order in which they begin.

    Args:
        files: where it lies.
        path: of the shard.
        image: which member of a sample is the picture, where there are several: ``"left.jpg"``.

    Raises:
        DataError: it is no tar, is compressed, cut short or damaged, or a sample has several pictures.
    """
    version = files.version(path)
    address = f"{files.address}\n{path}\n{image}\n{_VERSION}"
    place = _cache() / f"{hashlib.sha256(address.encode()).hexdigest()[:32]}.parquet"
    earlier = _read(place, version)
    if earlier is not None:
        return version, earlier
    with files.open(path) as file:
        found = _samples(file, files.name(path), image)
    sink = pa.BufferOutputStream()
    parquet.write_table(found.replace_schema_metadata({"version": version}), sink, compression="zstd")
    with suppress(WriteError):  # without a place to keep it, it is found out again the next time
        write_whole(place, sink.getvalue().to_pybytes())
    return version, found


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "relprop" / "shards"


def _read(place: Path, version: str) -> pa.Table | None:
    """Return what was kept of a shard of this version; None where there is nothing, or it is damaged."""
    try:
        found = parquet.read_table(place)
    except (OSError, pa.ArrowException):
        return None
    told = (found.schema.metadata or {}).get(b"version", b"").decode()
    return found.replace_schema_metadata(None) if version and told == version else None


def _samples(file: IO[bytes], shard: str, image: str) -> pa.Table:
    """Walk through a shard."""
    samples: dict[str, dict[str, Any]] = {}
    pictures = {ending.removeprefix(".") for ending in suffixes()}
    for key, ending, start, size in _members(file, shard):
        kind = ending.rpartition(".")[2].lower()
        sample = samples.setdefault(key, {"name": key, "start": -1, "size": 0})
        if ending == image or (not image and kind in pictures):
            if sample["start"] >= 0:
                first = sample["name"].removeprefix(f"{key}.")
                raise DataError(
                    f"{shard}: sample {key} has two pictures, {first} and {ending}; say which with "
                    f"--columns image={first}"
                )
            sample |= {"name": f"{key}.{ending}", "start": start, "size": size}
        elif kind in SAID:
            if kind in sample:
                raise DataError(f"{shard}: sample {key} has two members that end in .{kind}; leave one out")
            file.seek(start)
            sample[kind] = file.read(min(size, MOST + 1))  # one byte more tells that it is too large
    rows = [sample for sample in samples.values() if sample["start"] >= 0 or any(kind in sample for kind in SAID)]
    return pa.Table.from_pylist(rows, SCHEMA)


def _members(file: IO[bytes], shard: str) -> Iterator[tuple[str, str, int, int]]:
    """Give key, ending, start and size of every file in a tar."""
    _demand_plain(file, shard)
    places: dict[str, tuple[int, int]] = {}
    last = ""
    try:
        tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 - it holds nothing but the file
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]  # or every header of a shard would be kept
            last = member.name
            if member.issparse():
                raise DataError(f"{shard}: {last} is stored with holes; write the shard again, without --sparse")
            if member.isfile() or member.islnk():
                place = (member.offset_data, member.size)
                # GNU tar stores a file that it has met under another name as a link to that.
                start, size = places.get(member.linkname, (0, 0)) if member.islnk() else place
                places[member.name] = (start, size)
                named = _KEY.fullmatch(member.name.removeprefix("./"))
                if named:
                    yield named[1], named[2], start, size
        end = tar.offset
    except tarfile.TarError as error:
        after = f" after {last}" if last else ""
        raise DataError(f"{shard}: cut short or no tar{after} ({error}); get a whole copy") from None
    file.seek(end)
    if file.read(_BLOCK) != bytes(_BLOCK):  # tarfile takes what it cannot read for the end
        raise DataError(f"{shard}: cut short or damaged after {last}, at byte {end}; get a whole copy")


def _demand_plain(file: IO[bytes], shard: str) -> None:
    """Refuse a compressed tar, of which no part can be read by itself."""
    kinds = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
    head = file.read(6)
    file.seek(0)
    kind = next((name for sign, name in kinds.items() if head.startswith(sign)), None)
    if kind:
        raise DataError(
            f"{shard}: compressed with {kind}, so no picture can be read without all before it; uncompress it, as "
            "pictures hardly shrink"
        )
