"""The manifest of a finished study that many processes wrote: every file by its SHA-256, and with which versions."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from relprop.study.files import StudyError
from relprop.study.store import RUN, Store
from relprop.support.files import file_sha256, write_whole

MANIFEST = "manifest.json"
LIBRARIES = ("pyarrow", "ray")
"""What wrote the files and handed out the parts; what computed the rows is in `run.json`, and here again."""


def write_manifest(store: Store, parts: int, pictures: int) -> Path:
    """Write down what a finished study consists of, and return where.

    Args:
        store: all of whose parts are written.
        parts: how many these are.
        pictures: that the study has.

    Raises:
        StudyError: a file cannot be read, or the study's `run.json` is damaged.
        WriteError: the folder cannot be written to.
    """
    about = {
        "parts": parts,
        "pictures": pictures,
        "versions": store.config().get("libraries", {})
        | {library: version(library) for library in LIBRARIES}
        | {"python": platform.python_version()},
        "files": dict(_hashes(store.folder)),
    }
    path = store.folder / MANIFEST
    write_whole(path, (json.dumps(about, indent=1) + "\n").encode())
    return path


def differences(folder: Path) -> list[str]:
    """Compare a study's files with its manifest; return a line for each file that is missing, changed or new.

    Raises:
        StudyError: there is no manifest that can be read.
    """
    path = folder / MANIFEST
    try:
        noted: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{path}: cannot be read ({error}); it is written when a study by Ray is finished") from None
    there = dict(_hashes(folder))
    found = dict.fromkeys(noted.keys() - there.keys(), "missing")
    found |= dict.fromkeys(there.keys() - noted.keys(), "not in the manifest")
    found |= {name: "changed" for name in noted.keys() & there.keys() if noted[name] != there[name]}
    return [f"{name}: {what}" for name, what in sorted(found.items())]


def _hashes(folder: Path) -> Iterator[tuple[str, str]]:
    """The name and the SHA-256 of `run.json` and of every file of every part, in order."""
    parts = sorted(Store(folder).parts.glob("[!.]*/*.parquet"))
    for path in (folder / RUN, *parts):
        try:
            yield path.relative_to(folder).as_posix(), file_sha256(path)
        except OSError as error:
            raise StudyError(f"{path}: cannot be read ({error.strerror}); restore it") from None
