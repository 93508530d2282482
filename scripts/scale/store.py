"""What the folder of a large study costs: to look at, to go on with, to put together and to report on.

    python -m scripts.scale.store FOLDER --parts 100000 --chunk 10              # as parts: built once, then measured
    python -m scripts.scale.store FOLDER --parts 100000 --chunk 10 --together   # as `relprop compact` leaves it

The rows are synthetic: a class a picture, five methods. Each step is a process of its own; of each a line of JSON says
the seconds it took, those of the processor and those of the clock, and the most memory that it held, without the
building. Steps that are done are done again when it is called again, so that a part of them can be asked for: --steps.
"""

# ruff: noqa: T201, S603 - a script prints, and starts itself

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from scripts.scale.synthetic import build, build_together

from relprop.data.entries import Dataset
from relprop.study import compact as putting_together
from relprop.study import report as reports
from relprop.study.continuing import demand_as_measured
from relprop.study.store import Store

STEPS = ("look", "check", "compact", "report")


class Pictures:
    """The data set of the synthetic rows, as far as a start asks it."""

    def picture_sha256(self, index: int) -> str:
        """Hash of a picture: the number that the rows have for it."""
        return f"{index:064x}"


def look(folder: Path) -> dict[str, Any]:
    """Begin a study that is there, and see what of it is done."""
    store = Store(folder)
    store.begin(store.config())
    return {"done": len(store.done())}


def check(folder: Path) -> dict[str, Any]:
    """What a start does before it goes on: read every part, and compare its pictures."""
    store = Store(folder)
    chunk = store.config()["chunk"]
    parts = {part: range(part * chunk, (part + 1) * chunk) for part in store.done()}
    demand_as_measured(cast("Dataset", Pictures()), store, parts)
    return {"parts": len(parts)}


def compact(folder: Path) -> dict[str, Any]:
    """Put the parts together."""
    done = putting_together.compact(Store(folder))
    return {"put together": done.parts, "folders": done.folders}


def report(folder: Path) -> dict[str, Any]:
    """Write the report."""
    return {"files": len(reports.report(folder, folder.with_name(f"{folder.name}-report")).files)}


def main() -> None:
    """Build the store, then take each step in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parts", type=int, default=100_000)
    parser.add_argument("--chunk", type=int, default=10)
    parser.add_argument("--together", action="store_true")
    parser.add_argument("--steps", type=lambda text: text.split(","), default=STEPS)
    parser.add_argument("--step", choices=(*STEPS, "build"), help="Take this one alone, in this process.")
    asked = parser.parse_args()
    if asked.step:
        work: dict[str, Callable[[Path], dict[str, Any]]] = {
            "look": look,
            "check": check,
            "compact": compact,
            "report": report,
        }
        start = time.perf_counter()
        told = _build(asked) if asked.step == "build" else work[asked.step](asked.folder)
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = {"clock_s": round(time.perf_counter() - start, 1), "cpu_s": round(used.ru_utime + used.ru_stime, 1)}
        print(json.dumps({"step": asked.step, **told, **seconds, "peak_mb": used.ru_maxrss // 1024}), flush=True)
        return
    for step in ("build", *asked.steps):
        subprocess.run([sys.executable, "-m", "scripts.scale.store", *sys.argv[1:], "--step", step], check=True)


def _build(asked: argparse.Namespace) -> dict[str, Any]:
    (build_together if asked.together else build)(asked.folder, asked.parts, asked.chunk)
    return {"parts": asked.parts, "pictures": asked.parts * asked.chunk}


if __name__ == "__main__":
    main()
