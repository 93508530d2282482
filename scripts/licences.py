"""List the licences of what `pip install relprop` brings along, and of the extras: `python scripts/licences.py`.

Written to docs/licences.md, from the metadata that the installed packages state of themselves.
"""  # noqa: INP001 - a script beside the package, no part of one

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

DOCUMENT = Path(__file__).resolve().parent.parent / "docs/licences.md"
ROOT = "relprop"
COPYLEFT = re.compile(r"\b[AL]?GPL|GNU|\bEUPL|\bCDDL|\bOSL|\bCC-BY-SA|copyleft", re.IGNORECASE)
"""Licences that reach beyond their own files; the Mozilla Public Licence does not."""


TEXT = """\
# Licences of dependencies

What each package's own metadata says; `python scripts/licences.py` writes this page anew. None of them is part of
`relprop`, which is under the MIT licence. PyTorch as it is installed by default on Linux brings NVIDIA's libraries
along, which are under NVIDIA's own terms (`nvidia-...`, `cuda-...` below); its builds for the CPU bring none.

## What `pip install relprop` installs

{needed}

A test demands that none of these is under a licence that reaches beyond its own files, such as the GPL and the LGPL.
The Mozilla Public Licence (MPL), which `tqdm` is under in part, asks for the source of its own files alone.

## What the extras add

{more}
"""


def licence_of(package: Distribution) -> str:
    """What a package says of its licence: an expression, a line, or where it prints a whole text its classifiers."""
    told = package.metadata
    line = (told.get("License") or "").strip()
    lines = told.get_all("Classifier") or ()
    named = (each.rpartition(" :: ")[2] for each in lines if each.startswith("License :: "))
    classifiers = ", ".join(name for name in named if name != "OSI Approved")
    return told.get("License-Expression") or ("" if "\n" in line else line) or classifiers or "not stated"


def brought_along(extras: frozenset[str] = frozenset()) -> dict[str, Distribution]:
    """The packages, by name, that installing relprop installs on this kind of machine; itself left out.

    Args:
        extras: of relprop's.
    """
    found: dict[str, Distribution] = {}
    waiting = [(ROOT, extras)]
    seen = set()
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue  # of another kind of machine
        found[name] = package
        waiting += [(canonicalize_name(one.name), frozenset(one.extras)) for one in _required(package, wanted)]
    del found[ROOT]
    return dict(sorted(found.items()))


def _required(package: Distribution, extras: frozenset[str]) -> Iterator[Requirement]:
    for line in package.requires or ():
        one = Requirement(line)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield one


def extras() -> frozenset[str]:
    """The names of relprop's extras."""
    return frozenset(distribution(ROOT).metadata.get_all("Provides-Extra") or ())


def document() -> str:
    """The whole document."""
    needed = brought_along()
    more = {name: package for name, package in brought_along(extras()).items() if name not in needed}
    return TEXT.format(needed=_table(needed), more=_table(more))


def _table(packages: dict[str, Distribution]) -> str:
    rows = (f"| {name} | {licence_of(package)} |" for name, package in packages.items())
    return "\n".join(["| package | licence |", "|---|---|", *rows])


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
