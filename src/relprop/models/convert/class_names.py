"""Names of a network's classes, from a file or by what they are called together."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from relprop.models.convert.preprocessing import ConvertError
from relprop.models.files.cards import LONGEST_NAME
from relprop.support.files import near

NAMED = ("imagenet", "voc")
LARGEST = 16 << 20
"""Bytes of a file of classes."""


def read_classes(text: str | None) -> tuple[str, ...] | None:
    """Read names of classes.

    Args:
        text: "imagenet" (torchvision's names, in the order of WordNet ids), "voc" (Pascal's twenty, alphabetical),
            a file with a name per line, or ImageNet's class index as JSON, ``{"0": ["n01440764", "tench"], ...}``.

    Raises:
        ConvertError: there is no such file, or it is no list of names.
    """
    if text is None:
        return None
    if text == "imagenet":
        return imagenet()
    if text == "voc":
        from relprop.data.voc import CLASSES  # noqa: PLC0415 - for VOC alone

        return tuple(CLASSES)
    content = _text(Path(text))
    lines = _class_index(content) if content.lstrip().startswith("{") else content.splitlines()
    names = tuple(line.strip() for line in lines) if lines else ()
    if not names or not all(name and name.isprintable() and len(name) <= LONGEST_NAME for name in names):
        raise ConvertError(f'{text}: no list of classes; give a name per line, or JSON like {{"0": ["n...", "name"]}}')
    return names


def imagenet() -> tuple[str, ...]:
    """Return torchvision's names of ImageNet's thousand classes, in the order of their WordNet ids."""
    from relprop.models.families import torchvision_zoo  # noqa: PLC0415 - torchvision takes long to import

    return torchvision_zoo.categories()


def _text(path: Path) -> str:
    try:
        if not stat.S_ISREG((found := path.stat()).st_mode) or found.st_size > LARGEST:
            raise ConvertError(f"{path}: not a file, or too large for a list of classes; give a name per line")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        reason = near(path, NAMED) or f"; give a file, or {' or '.join(NAMED)}"
        raise ConvertError(f"--classes {path}: {error.strerror}{reason}") from None
    except UnicodeDecodeError:
        raise ConvertError(f"{path}: not a text in UTF-8; give a name per line") from None


def _class_index(content: str) -> list[str] | None:
    try:
        table = {int(number): entry[1] for number, entry in json.loads(content).items()}
        names = [table[number] for number in range(len(table))]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return None
    return names if all(isinstance(name, str) for name in names) else None
