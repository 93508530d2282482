"""Which data a command is asked about, and what its classes are in the network's eyes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from relprop.commands.requests import ConceptsRequest, StudyRequest
from relprop.commands.tune_request import TuneRequest
from relprop.data import embedded, folder, imagenet, voc
from relprop.data.addresses import is_address
from relprop.data.described import read_columns
from relprop.data.elsewhere import folder_elsewhere
from relprop.data.entries import DataError, Dataset, read_text
from relprop.data.hugging_face import hugging_face
from relprop.data.parquet import parquet
from relprop.data.webdataset import webdataset
from relprop.support.errors import InputError
from relprop.support.suggest import did_you_mean

PACKED = ("webdataset", "parquet", "huggingface")
"""Kinds whose pictures lie in few large files."""
DATA = ("embedded", "voc", "imagenet", "folder", *PACKED)

EMBEDDED = 500
"""Pictures of the embedded data where no limit is given."""


DataRequest = StudyRequest | ConceptsRequest | TuneRequest
"""What commands that take a data set with its objects are asked."""


def dataset(request: DataRequest) -> Dataset:
    """Open the data that was named.

    Raises:
        DataError: it is not there, or an option is not one of its kind.
        InputError: there is no such kind.
    """
    demand_kind(request.data, request.root)
    if request.masks and request.data in ("embedded", "imagenet"):
        raise DataError(f"{request.data} has boxes and no masks; leave --masks out, or name voc or folder with --data")
    if request.columns and request.data not in PACKED:
        raise DataError(f"--columns goes with {', '.join(PACKED)}; {request.data} has no columns")
    if request.data == "embedded":
        return embedded.embedded(request.variant, request.split or "test", request.limit or EMBEDDED, request.seed)
    root = str(request.root)
    if request.data == "voc":
        return voc.voc(root, request.year, request.split or "all", masks=request.masks)
    if request.data == "imagenet":
        return imagenet.imagenet(root, request.annotations, request.index, request.ground_truth, request.synsets)
    if request.data == "folder":
        if is_address(root) or is_address(request.annotations or ""):
            return folder_elsewhere(root, request.annotations, masks=request.masks)
        return folder.folder(root, request.annotations, masks=request.masks)
    if request.annotations is not None:
        raise DataError(f"{request.data} has its annotations within; leave --annotations out, or name --data folder")
    columns, classes = read_columns(request.columns), class_names(request.index)
    return packed(request.data, root, request.split, columns, classes, masks=request.masks)


def packed(
    kind: str,
    root: str,
    split: str | None,
    columns: Mapping[str, str],
    classes: Sequence[str] = (),
    *,
    masks: bool = False,
) -> Dataset:
    """Open data of one of the kinds `PACKED`; arguments as of what opens each."""
    if kind == "huggingface":
        return hugging_face(root, split or "", columns=columns, classes=classes, masks=masks)
    if split is not None:
        raise DataError(f"{kind} has no splits; name the files of one: --root 'FOLDER/{split}-*'")
    opening: Callable[..., Dataset] = webdataset if kind == "webdataset" else parquet
    return opening(root, columns=columns, classes=classes, masks=masks)


def demand_kind(kind: str, root: str | None) -> None:
    """Refuse data whose kind is not known, or of which it is not said where it is.

    Raises:
        InputError: there is no such kind.
        DataError: a place without a kind, a kind without a place, or a place where it is not read from.
    """
    if kind not in DATA:
        raise InputError(f"no data {kind!r}{did_you_mean(kind, DATA) or ': ' + ', '.join(DATA)}")
    if kind == "embedded" and root is not None:
        raise DataError(f"what kind of data is in {root}? Add --data {_likely(root) or ', '.join(DATA[1:])}")
    if kind != "embedded" and root is None:
        raise DataError(f"where is the data? Name its folder: --data {kind} --root FOLDER")
    if kind in ("voc", "imagenet") and is_address(str(root or "")):
        raise DataError(f"{root}: {kind} is read from this machine; copy it, or pack it for --data {PACKED[0]}")


def _likely(root: str) -> str:
    """Return the kind that a place's name tells; ``""`` where it tells none."""
    kinds = {".tar": "webdataset", ".parquet": "parquet"}
    return next((kind for ending, kind in kinds.items() if root.lower().endswith(ending)), "")


def class_names(index: Path | None) -> tuple[str, ...]:
    """Return what whole numbers mean, from 0: of ImageNet's class index (JSON) the wnids, else a name a line.

    Raises:
        DataError: there is no such file, no name in it, or one twice.
    """
    if index is None:
        return ()
    if index.suffix.lower() == ".json":
        return imagenet.wnids(index)
    names = tuple(line.strip() for line in read_text(index).splitlines() if line.strip())
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if not names or twice is not None:
        raise DataError(f"{index}: {f'{twice!r} is there twice' if names else 'no names in it'}; give a class a line")
    return names


def class_map(path: Path | None) -> dict[str, list[int]] | None:
    """Read a class map: {"cat": [281, 282], ...}; None where none is named.

    Raises:
        DataError: it is no such thing.
    """
    if path is None:
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_each_once)
    except OSError as error:
        raise DataError(f'{path}: {error.strerror}; name a JSON file such as {{"cat": [281, 282]}}') from None
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error})") from None
    entries = found.items() if isinstance(found, dict) else [(None, None)]
    if not all(isinstance(v, list) and all(type(i) is int for i in v) for _, v in entries):
        raise DataError(f'{path}: a class map is {{"cat": [281, 282], ...}}, class to outputs of the model')
    return cast("dict[str, list[int]]", found)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, none of whose keys may be there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise DataError(f"the class map names {twice!r} twice; give all its outputs in one list")
    return found
