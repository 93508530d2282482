"""The study that ``relprop serve`` opens, and the data that it was measured on, where that can be found again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relprop.commands.data import dataset
from relprop.commands.requests import StudyRequest
from relprop.commands.serve_request import ServeRequest
from relprop.data.entries import DataError, Dataset
from relprop.study.store import Store
from relprop.support.errors import InputError
from relprop.support.shrinking import to_stderr

if TYPE_CHECKING:
    from relprop.web.study import StudyFolder

EMBEDDED = "embedded-"
"""How the names of embedded data begin, in a study's configuration."""


def opened(request: ServeRequest) -> StudyFolder | None:
    """Open the study that was named, if one was.

    Raises:
        InputError: data is named, and no study.
        StudyError: there is none in that folder.
        DataError: the data is not what was measured.
    """
    from relprop.web.document import Code  # noqa: PLC0415 - of the extra's room, which is looked for first
    from relprop.web.study import StudyFolder  # noqa: PLC0415

    if request.study is None:
        if request.data is not None or request.root is not None:
            raise InputError("--data and --root say what a study was measured on; name it, --study FOLDER")
        return None
    store = Store(request.study)
    measured = store.config().get("data")
    measured = measured if isinstance(measured, dict) else {}
    found = _data(request, measured)
    if found is None:
        to_stderr(
            f"the pictures of {request.study} are not shown, as nothing says where they are; they are "
            f"{measured.get('name')}: add --data NAME --root FOLDER, as relprop study had it"
        )
        return StudyFolder(store, None)
    if found.identity() != measured:
        own = found.identity()
        differing = ", ".join(key for key in {**measured, **own} if measured.get(key) != own.get(key))
        raise DataError(
            f"{request.study} was measured on {_shortly(measured)}, and this is {_shortly(own)}, another in {differing}"
            "; give --data, --root and so on as relprop study had them, or leave them out to see the rows alone"
        )
    if not found.name.startswith(EMBEDDED):
        return StudyFolder(store, found)
    variant = found.name.removeprefix(EMBEDDED)
    made = f"embedded({variant!r}, {measured['split']!r}, {measured['number']}, {measured['seed']})"
    before = ("from relprop.data.embedded import embedded",)
    return StudyFolder(store, found, lambda index: Code(f"{made}[{index}].open()", before))


def _data(request: ServeRequest, measured: dict[str, Any]) -> Dataset | None:
    """The data that is named, or the embedded one that was measured."""
    name = str(measured.get("name", ""))
    if request.data is None and request.root is None and name.startswith(EMBEDDED):
        return dataset(
            StudyRequest(
                data="embedded",
                variant=name.removeprefix(EMBEDDED),
                split=str(measured.get("split", "test")),
                limit=int(measured.get("number", 1)),
                seed=int(measured.get("seed", 0)),
            )
        )
    if request.root is None:
        return None
    return dataset(
        StudyRequest(
            data=request.data or "embedded",  # which says that a place without a kind is none
            root=request.root,
            split=request.split,
            year=request.year,
            annotations=request.annotations,
            columns=request.columns,
            masks=request.masks,
            index=request.index,
            ground_truth=request.ground_truth,
            synsets=request.synsets,
        )
    )


def _shortly(identity: dict[str, Any]) -> str:
    """What data is, for people."""
    return f"{identity.get('number')} pictures of {identity.get('name')} {identity.get('split')!r}"
