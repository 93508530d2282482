"""What is measured: a network, what it is shown, and how that is flipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Item:
    """One picture or text.

    Attributes:
        name: of it.
        model: the network that is asked.
        x: its input, a batch of one.
        target: what is explained and watched.
    """

    name: str
    model: nn.Module
    x: Any
    target: Any


@dataclass(frozen=True)
class Task:
    """A network with its data.

    Attributes:
        items: in their order; the first ones are measured first.
        total: how many there are.
        methods: names, as for `rp.explain`.
        flip: keywords of `rp.metrics.flip`.
        facts: what a reader must know of it.
    """

    items: Iterator[Item]
    total: int
    methods: Sequence[str]
    flip: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)


def folder_of(package: str) -> Path:
    """Where a package lies; it is not imported, as it may need others.

    Raises:
        SystemExit: it is not there.
    """
    found = find_spec(package)
    if found is None or found.origin is None:
        name = package.replace("_", "-")
        raise SystemExit(f"{package} is not installed: pip install --no-deps --target DIR {name}, then --packages DIR")
    return Path(found.origin).parent
