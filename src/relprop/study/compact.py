"""Many parts of a study put together: a study of a million pictures is some dozen folders, not a hundred thousand.

Parts whose neighbours are all there are written into one folder, a file a table, read back and compared; then the
folder gets its name, and only then the parts' own folders go. So whenever this is killed every part is whole in one
place or in both, and of a part that is in both the common folder counts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa  # type: ignore[import-untyped]

from relprop.study import files
from relprop.study.files import StudyError, pictures_planned
from relprop.study.store import Layout, Store
from relprop.support.files import WriteError, new_folder, remove_folder, remove_leftovers

if TYPE_CHECKING:
    from pathlib import Path

GROUPS = 8
"""So many groups of parts that are read at once (`Store.together`) share a folder: some 33,000 pictures. A file that is
damaged costs as many; rows of all of them are in memory while they are put together."""


@dataclass(frozen=True)
class Compacted:
    """What was done, and what there is now.

    Attributes:
        parts: how many parts were put together.
        folders: into how many folders.
        together, apart: how many parts share a folder now, and how many have one each.
    """

    parts: int
    folders: int
    together: int
    apart: int


def compact(store: Store, progress: Callable[[int], None] = lambda _: None) -> Compacted:
    """Put parts together whose neighbours are there too; the others stay as they are until a later call.

    A study can be read, continued and compacted again meanwhile and afterwards; what is together stays as it is.

    Args:
        store: of the study.
        progress: called with the number of parts that were just put together.

    Raises:
        StudyError: there is no study, a part is damaged, or the disk is full. No part is lost by that.
    """
    stretches = list(_stretches(store, store.config()))
    for stretch in stretches:
        _put_together(store, stretch)
        progress(len(stretch))
    _remove_doubles(store, store.layout())
    layout = store.layout()
    together = len(layout.numbers - layout.apart)
    return Compacted(sum(map(len, stretches)), len(stretches), together, len(layout.apart))


def waiting(store: Store) -> int:
    """Return how many parts `compact` would put together.

    Raises:
        StudyError: there is no study.
    """
    return sum(map(len, _stretches(store, store.config())))


def _stretches(store: Store, config: dict[str, Any]) -> Iterator[range]:
    """Return the parts that are to share a folder each: of a study's equal shares those that are there whole."""
    layout, share = store.layout(), GROUPS * store.together
    apart = sorted(number for number in layout.apart if layout.shared(number) is None)
    pictures, chunk = pictures_planned(config), config.get("chunk")
    parts = -(-pictures // int(chunk)) if pictures and chunk else None
    end = parts or max(apart, default=-1) + 1
    there = layout.numbers
    for number, group in itertools.groupby(apart, key=lambda part: part // share):
        whole = range(number * share, min((number + 1) * share, end))
        if there.issuperset(whole):
            yield from (range(first, stop) for first, stop in files.runs(list(group)) if stop - first > 1)


def _put_together(store: Store, parts: range) -> None:
    """Write these parts into one folder."""
    folder = store.many(parts[0], parts[-1])
    try:
        with new_folder(folder) as place:
            for table in store.tables():
                _write(store, table, parts, place / f"{table}.parquet")
    except WriteError as error:
        todo = f"{error.remedy} and " if error.remedy else "mend that and "
        raise StudyError(f"{folder}: not written ({error.reason}); all parts are safe: {todo}run it again") from None
    except StudyError:
        if not folder.is_dir():  # else another process has done it and removed the parts
            raise
    _remove_doubles(store, Layout(frozenset(parts), ((parts[0], parts[-1]),)))


def _write(store: Store, table: str, parts: range, path: Path) -> None:
    """Write one table of these parts, and demand that what is read back is what was written."""
    sources = [store.part(number) / f"{table}.parquet" for number in parts]
    schema = store.schema(table)
    found = [files.read(source, schema) for source in sources]
    files.write_many(path, parts[0], found, store.together)
    try:
        whole = files.same(files.read(path, schema, parts), pa.concat_tables(found))
    except StudyError:
        whole = False
    if not whole:
        raise StudyError(f"{path}: not read back as it was written; see to the disk. All parts are safe")


def _remove_doubles(store: Store, layout: Layout) -> None:
    """Remove the folders of parts that lie together by now."""
    for number in sorted(layout.apart):
        if layout.shared(number) is not None:
            remove_folder(store.part(number))
    remove_leftovers(store.parts)
