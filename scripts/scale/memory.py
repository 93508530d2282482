"""Many pictures through a study: does memory stay flat, and what share of the time is spent outside the network?

    python -m scripts.scale.memory OUT --number 10000 --method lrp-epsilon

A second start goes on where the first ended. Prints a line of JSON every 500 pictures and one at the end.
"""

# ruff: noqa: T201 - a script prints

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from relprop.data.embedded import embedded
from relprop.data.geometry import like
from relprop.models.registry import load
from relprop.study.runner import run
from relprop.study.task import Task, class_targets

EVERY = 500


def resident() -> float:
    """The memory of this process now, in MB, what of it is of files included."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024, 1)


def main() -> None:
    """Measure, and say what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--number", type=int, default=10_000)
    parser.add_argument("--method", default="lrp-epsilon")
    parser.add_argument("--chunk", type=int, default=50)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    model, data = load("digits-shallow"), embedded(number=asked.number)
    task = Task(
        name="memory",
        data=data,
        model=model,
        model_name="digits-shallow",
        geometry=like(model.preprocess),
        targets=class_targets(data.classes, model.classes),
        methods=[asked.method],
        occlusion=False,
        chunk=asked.chunk,
    )
    done, start = 0, time.process_time()

    def progress(number: int) -> None:
        nonlocal done
        done += number
        if done % EVERY < number:
            told = {"pictures": done, "resident_mb": resident(), "cpu_s": round(time.process_time() - start, 1)}
            print(json.dumps(told), flush=True)

    clock = run(task, asked.out, progress=progress)
    spent = {what: round(seconds, 1) for what, seconds in clock.spent.items()}
    cpu = round(time.process_time() - start, 1)
    print(json.dumps({"pictures": done, "cpu_s": cpu, "spent": spent, "overhead": round(clock.overhead, 3)}))


if __name__ == "__main__":
    main()
