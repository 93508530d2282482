"""The networks that timm and torchvision offer, from the text of their sources.

Neither is imported, which takes seconds. In both, a network is a function under ``@register_model``; in torchvision
the annotation of its parameter `weights` is the class that lists what is published for it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from relprop.models.families import optional_libraries

TIMM = "timm:"
"""How the names of timm's networks begin."""

_NETWORK = re.compile(r"^@register_model\b.*?^def (\w+)\(([^)]*)", re.MULTILINE | re.DOTALL)
_WEIGHTS_CLASS = re.compile(r"\bweights: (?:Optional\[)?(\w+)")
_CLASS = re.compile(r"^class (\w+)\(WeightsEnum\):\n(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(r"^    (\w+) = Weights\((.*?)^    \)", re.MULTILINE | re.DOTALL)
_URL = re.compile(r'\burl="([^"]+)"')
_SIZE = re.compile(r'"_file_size": ([\d.]+)')
_DEFAULT = re.compile(r"^    DEFAULT = (\w+)$", re.MULTILINE)


@dataclass(frozen=True)
class Published:
    """Weights that torchvision recommends for a network: where they are, and their size in MB."""

    url: str
    megabytes: float


@cache
def timm() -> tuple[str, ...]:
    """Return the names of timm's networks, ``timm:`` before each; none where timm is not installed."""
    folder = optional_libraries.folder("timm")
    sources = (folder / "models").rglob("*.py") if folder else ()
    return tuple(sorted(TIMM + name for name, _, _ in _networks(sources)))


@cache
def torchvision(part: str = "") -> dict[str, Published | None]:
    """Return torchvision's networks by name, sorted, with what it publishes for each.

    Args:
        part: ``""``: classifiers of pictures; ``"segmentation"`` or ``"detection"``.
    """
    folder = optional_libraries.folder("torchvision")
    sources = (folder / "models" / part).glob("*.py") if folder else ()
    return dict(sorted((name, _published(signature, text)) for name, signature, text in _networks(sources)))


@cache
def imagenet() -> tuple[str, ...]:
    """Return torchvision's names of ImageNet's classes; none where its source is not of the form known here."""
    folder = optional_libraries.folder("torchvision")
    source = folder / "models" / "_meta.py" if folder else None
    tree = ast.parse(source.read_text(encoding="utf-8")) if source and source.is_file() else ast.Module([], [])
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_IMAGENET_CATEGORIES":
            return tuple(ast.literal_eval(node.value))
    return ()


def one_stage() -> list[str]:
    """Return torchvision's detectors that can be explained: those without a second stage."""
    return [name for name in torchvision("detection") if "rcnn" not in name]


def _networks(sources: Iterable[Path]) -> Iterator[tuple[str, str, str]]:
    """Give the name and the parameters of each network, and the text that it stands in."""
    for source in sources:
        text = source.read_text(encoding="utf-8")
        yield from ((name, signature, text) for name, signature in _NETWORK.findall(text))


def _published(signature: str, text: str) -> Published | None:
    """What the class in a network's signature recommends; None where the text is not of the form known here."""
    named = _WEIGHTS_CLASS.search(signature)
    body = dict(_CLASS.findall(text)).get(named[1], "") if named else ""
    default = _DEFAULT.search(body)
    entry = dict(_ENTRY.findall(body)).get(default[1], "") if default else ""
    url, size = _URL.search(entry), _SIZE.search(entry)
    return Published(url[1], float(size[1])) if url and size else None
