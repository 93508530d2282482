"""Rows of a measurement that goes on where it was stopped: a line of JSON each."""

# ruff: noqa: INP001, T201 - beside scripts, and prints

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def read(file: Path) -> list[dict[str, Any]]:
    """Rows that are there; a line that was cut off is none."""
    found = []
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            print(f"{file}: a line was cut off and is done again", file=sys.stderr)
    return found
