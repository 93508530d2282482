"""Which pictures were named: files, folders and patterns; and what each is called in what is written.

A picture is called by its way from the folder that holds all that was named, with its ending: ``a/cat.jpg`` and
``b/cat.jpg``, ``cat.jpg`` and ``cat.png`` are four pictures, and files that begin so are different files.
"""

from __future__ import annotations

import glob
import hashlib
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from relprop.data.pictures import PictureError, is_picture, list_pictures
from relprop.support.files import near

DONE = ("explained", "compared")
"""How what is written is named: ``cat-explained.png``, ``compared.html``."""
OF_THE_SAMPLE = {"explained": "relprop-explain", "compared": "relprop-compare"}
"""What the figure of the embedded picture is called, and the folder of several pictures where none is named."""
FOLDERS = ("maps", "figures")
"""What is written of each of several pictures goes into these folders."""
LONGEST = 120
"""So many bytes of a file's name are kept as they are; file systems take 255, and endings are added."""


@dataclass(frozen=True)
class Named:
    """A picture.

    Attributes:
        path: of its file, as it was named or found.
        name: with "/" between folders; no other has the same, whatever the file system thinks of capitals.
    """

    path: Path
    name: str

    @property
    def shown(self) -> str:
        """The path as text that can be written in UTF-8, whatever bytes the file's name is made of."""
        return os.fsencode(self.path).decode("utf-8", "backslashreplace")

    def file(self, ending: str) -> Path:
        """Return what a file of this picture is called, within a folder of such files."""
        *folders, last = (_short(part) for part in self.name.split("/"))
        return Path(*folders, f"{last}{ending}")


def several(pictures: Sequence[Path]) -> bool:
    """Whether more than one picture may be meant: by several names, a folder or a pattern."""
    return len(pictures) > 1 or any(path.is_dir() or _is_pattern(path) for path in pictures)


def named(pictures: Iterable[Path]) -> tuple[list[Named], int]:
    """Return the pictures that are meant, each once, folder by folder sorted; and how many figures are left out.

    Figures that relprop has written into these folders are no pictures, unless they are named one by one.

    Raises:
        PictureError: there is no picture in a folder, or none that fits a pattern.
    """
    found: dict[Path, Path] = {}
    roots: list[Path] = []
    left_out = 0
    for given in pictures:
        path = _absolute(given)
        if given.is_dir():
            root, files = path, list_pictures(given)
            nothing = f"{given}: a folder, not a picture, and there is none in it; name one that has some"
        elif _is_pattern(given):
            root, files = _fixed_part(path), _fitting(given)
            nothing = f"{given}: no picture's name fits this pattern{near(given)}"
        else:
            root, files, nothing = path.parent, [given], ""
        kept = files if not nothing else list(_without_figures(files, root))
        if not kept:
            ours = f"{given}: only figures that relprop has written; name one by one those to explain all the same"
            raise PictureError(ours if files else nothing)
        left_out += len(files) - len(kept)
        roots.append(root)
        for each in kept:
            found.setdefault(_absolute(each), each)
    return list(_called(found, roots)), left_out


def _absolute(path: Path) -> Path:
    """The path without dots; links are not followed, as a link may stand there for its name."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps "..", Path.resolve follows links


def _is_pattern(path: Path) -> bool:
    """Whether a name is a pattern, and not that of a file that has such letters in its name."""
    return any(letter in str(path) for letter in "*?[") and not path.exists()


def _fixed_part(pattern: Path) -> Path:
    """The folder that a pattern begins with."""
    fixed = pattern.parent
    while any(letter in str(fixed) for letter in "*?["):
        fixed = fixed.parent
    return fixed


def _fitting(pattern: Path) -> list[Path]:
    """What fits a pattern: pictures by their name, and those in folders that fit."""
    found: list[Path] = []
    for each in sorted(glob.glob(str(pattern), recursive=True)):  # noqa: PTH207 - Path.glob takes no absolute ones
        path = Path(each)
        if path.is_dir() and pattern.name != "**":
            found += list_pictures(path)
        elif is_picture(path):
            found.append(path)
    return found


def _without_figures(files: Iterable[Path], root: Path) -> Iterator[Path]:
    """The files that are not what relprop wrote: into a page's folders, or beside a picture."""

    @cache
    def of_a_page(folder: Path) -> bool:
        if folder in (root.parent, folder.parent):
            return False
        page = folder.name in FOLDERS and any((folder.parent / f"{done}.csv").exists() for done in DONE)
        return page or of_a_page(folder.parent)

    @cache
    def stems(folder: Path) -> frozenset[str]:
        return frozenset(path.stem for path in folder.iterdir() if is_picture(path))

    for file in files:
        stem, _, done = file.stem.rpartition("-")
        written = done in DONE and (stem in stems(file.parent) or of_a_page(_absolute(file).parent))
        if not written and file.stem not in OF_THE_SAMPLE.values():
            yield file


def _called(files: dict[Path, Path], roots: Sequence[Path]) -> Iterator[Named]:
    """The pictures with their names."""
    try:
        common: Path | None = Path(os.path.commonpath(roots))
    except ValueError:  # on several drives
        common = None
    taken: set[str] = set()
    for absolute, path in files.items():
        drive, *parts = absolute.parts
        parts = [*absolute.relative_to(common).parts] if common else [drive.strip(":/\\") or "root", *parts]
        name, number = "/".join(parts), 2
        while _folded(name) in taken:  # on a file system that tells capitals apart, to be written on one that does not
            name, number = f"{'/'.join(parts)}~{number}", number + 1
        taken.add(_folded(name))
        yield Named(path, name)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())


def _short(part: str) -> str:
    """A part of a path that leaves room for an ending; a long one is known by its hash."""
    data = os.fsencode(part)
    if len(data) <= LONGEST:
        return part
    begins = data[: LONGEST - 9].decode("utf-8", "ignore")
    return f"{begins}~{hashlib.sha256(data).hexdigest()[:8]}"
