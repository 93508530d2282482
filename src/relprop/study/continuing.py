"""On what data parts were measured: before a study goes on, and once it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from relprop.data.entries import Dataset
from relprop.study.files import StudyError
from relprop.study.store import Store

_SHOWN = 5  # so many parts are named, the others counted


def demand_as_measured(data: Dataset, store: Store, parts: Mapping[int, Sequence[int]]) -> None:
    """Refuse to add to parts that are damaged, or that were measured on other pictures than those there are now.

    Every file of these parts is read, some thousand pictures at a time, and so are the files of their pictures, to
    compare their hashes. `docs/scale.md` says what that takes.

    Args:
        data: as it is now.
        store: of the study.
        parts: the pictures' positions by the number of a part that is written.

    Raises:
        StudyError: in one line which parts, and what to do.
    """
    edited: dict[Path, str] = {}  # by the folder that is to go: one of several parts goes whole
    layout = store.layout()
    for numbers, tables in store.blocks(store.tables(), parts):
        measured = (tables["predictions"][name].to_pylist() for name in ("image_index", "image_id", "picture_sha256"))
        was = list(zip(*measured, strict=True))
        for part in numbers:
            of_part, was = was[: len(parts[part])], was[len(parts[part]) :]
            folder = store.place(part, layout)
            if [index for index, *_ in of_part] != list(parts[part]):
                raise StudyError(f"{folder}: not the pictures of that part; remove it and run the study again")
            other = next((name for index, name, sha256 in of_part if data.picture_sha256(index) != sha256), None)
            if other is not None:
                edited.setdefault(folder, other)
        if was:
            raise StudyError(f"{folder}: more pictures than its part has; remove it and run the study again")
    if edited:
        first, picture = next(iter(edited.items()))
        more = f" and {len(edited) - _SHOWN} more" if len(edited) > _SHOWN else ""
        named = ", ".join(folder.name for folder in list(edited)[:_SHOWN]) + more
        raise StudyError(
            f"{first}: {picture} is not the file that was measured: edited, replaced or gone since; put it "
            f"back, or remove {named} from {store.parts} and run the study again"
        )


def demand_annotations_as_before(data: Dataset, number: int, before: str) -> None:
    """Refuse to call a study finished whose annotations were edited while it ran: they are read picture by picture.

    Args:
        data: as it is now.
        number: of how many pictures.
        before: their hash when the run began.

    Raises:
        StudyError: parts that were written meanwhile may be of either.
    """
    if data.annotations_sha256(number) != before:
        raise StudyError(
            f"{data.name}: annotations were edited while they were measured; put them back and remove the parts that "
            "were written since, or begin in another folder"
        )
