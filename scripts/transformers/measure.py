"""One picture or text by all methods; rows go into a file as they come, and what is there is not done again."""

# ruff: noqa: T201 - a script prints

from __future__ import annotations

import json
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from scripts.rows import read
from scripts.transformers.task import Item, Task
from torch import Tensor

import relprop as rp

RANDOM = "random"


def rows(task: Task, number: int, file: Path) -> list[dict[str, Any]]:
    """The rows of the first so many items; `file` has a row a line."""
    done = read(file)
    if file.exists() and not file.read_text().endswith("\n"):
        file.write_text("".join(json.dumps(row) + "\n" for row in done))  # without the line that was cut off
    known = {(row["item"], row["method"]) for row in done}
    items = task.items
    for k in range(min(number, task.total)):
        item = next(items)
        missing = [method for method in task.methods if (item.name, method) not in known]
        began = time.monotonic()
        if missing:
            with file.open("a") as lines:
                for row in measured(task, item, missing):
                    done.append(row)
                    lines.write(json.dumps(row) + "\n")
        print(f"{file.stem} {k + 1}/{min(number, task.total)}: {time.monotonic() - began:.1f} s", file=sys.stderr)
    return done


def measured(task: Task, item: Item, methods: list[str]) -> Iterator[dict[str, Any]]:
    """A row a method."""
    for method, R in maps(item, methods).items():
        found = rp.metrics.flip(item.model, item.x, R, item.target, **task.flip)
        yield {
            "item": item.name,
            "method": method,
            "morf": _number(found.morf_area),
            "lerf": _number(found.lerf_area),
            "srg": _number(found.srg),
            "fractions": found.fractions[0].tolist(),
            "morf curve": [_number(value) for value in found.morf[0]],
            "lerf curve": [_number(value) for value in found.lerf[0]],
        }


def maps(item: Item, methods: list[str]) -> dict[str, Tensor]:
    """Relevance of the input, (1, ...), by every method."""
    named = [method for method in methods if method != RANDOM]
    found = {}
    if named:
        found = {name: R[0] for name, R in rp.explain(item.model, item.x, [item.target], named).relevance.items()}
    if RANDOM in methods:
        x = item.x if isinstance(item.x, Tensor) else item.x["input_ids"]
        generator = torch.Generator().manual_seed(zlib.crc32(item.name.encode()))
        found[RANDOM] = torch.randn(x.shape, generator=generator)
    return found


def _number(value: Tensor) -> float | None:
    """A number, None where it is not defined."""
    number = float(value)
    return number if number == number else None  # noqa: PLR0124 - NaN alone is not itself
