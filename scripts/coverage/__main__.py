"""The sweep: what is explained today, each map held against judges, and what blocks the rest.

    python -m scripts.coverage                               # all; an hour on two cores
    python -m scripts.coverage --only "single ops" --jobs 2
    python -m scripts.coverage --table docs/coverage.md      # the table of what was found, from the JSON file

Weights are random, BatchNorm statistics are not trivial, pictures small, two a batch. A case counts as a map if the
ledger closes, the outputs are the model's own bit for bit, the replay is exact, a picture alone gives what it gives in
its batch, and LRP_z is what `scripts/coverage/judge.py` makes of the network by autograd alone, in float64.
"""

# ruff: noqa: T201 - a script prints

from __future__ import annotations

import argparse
import json
import multiprocessing
import re
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from scripts.coverage.cases import Case, of_hugging_face, of_timm, of_torchvision
from scripts.coverage.single_ops import of_single_ops
from scripts.coverage.verdict import verdict
from scripts.coverage.written import of_users

STATUSES = ("map", "refused", "wrong", "crash", "timeout", "fails by itself")


def cases(only: list[str]) -> Iterator[Case]:
    """All cases, or those of groups whose names hold one of the words."""
    for source in (of_single_ops, of_users, of_torchvision, of_hugging_face, of_timm):
        for case in source():
            if not only or any(word in f"{case.group}: {case.name}" for word in only):
                yield case


def work(todo: list[Case], number: int, jobs: int, seconds: int, pipe: Any) -> None:
    """Every so manyeth case, told as soon as it is done."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for case in todo[number::jobs]:
        pipe.put(verdict(case, seconds))
    pipe.put(None)


def run(todo: list[Case], jobs: int, seconds: int, file: Path) -> list[dict[str, Any]]:
    """All verdicts; those that are there are written as they come."""
    forks = multiprocessing.get_context("fork")
    pipe: Any = forks.Queue()
    workers = [forks.Process(target=work, args=(todo, k, jobs, seconds, pipe), daemon=True) for k in range(jobs)]
    for worker in workers:
        worker.start()
    found: list[dict[str, Any]] = []
    left, began = jobs, time.monotonic()
    while left and (any(worker.is_alive() for worker in workers) or not pipe.empty()):
        try:
            said = pipe.get(timeout=5)
        except Exception:  # noqa: BLE001, S112 - nothing came: is anybody still there?
            continue
        if said is None:
            left -= 1
            continue
        found.append(said)
        if len(found) % 25 == 0:
            file.write_text(json.dumps(found, indent=1))
            print(f"{len(found)} of {len(todo)}, {time.monotonic() - began:.0f} s", flush=True)
    file.write_text(json.dumps(found, indent=1))
    return found


def table(found: list[dict[str, Any]]) -> str:
    """The page."""
    groups = list(dict.fromkeys(said["group"] for said in found))
    lines = [PREFACE, "| group | tried | " + " | ".join(STATUSES) + " |", "|---|" + "---:|" * (len(STATUSES) + 1)]
    for group in groups:
        count = Counter(said["status"] for said in found if said["group"] == group)
        lines.append(f"| {group} | {sum(count.values())} | " + " | ".join(str(count[s]) for s in STATUSES) + " |")
    bits = sum(said.get("off", 1) == 0 for said in found if said["status"] == "map")
    maps = sum(said["status"] == "map" for said in found)
    judged = [said["judge"] for said in found if said["status"] == "map" and "judge" in said and "unsure" not in said]
    gaps = [said["ledger"] for said in found if "ledger" in said]
    told = (
        f"{len(judged)} maps were judged in float64; the largest difference is {max(judged, default=0):.0e} of the "
        f"largest relevance, the largest gap of a ledger in float32 {max(gaps, default=0):.0e}. Outputs are the "
        f"model's own bit for bit in {bits} of {maps}; the others are made of other calls of torch's (recurrent "
        f"layers, attention's fast path), and differ by rounding."
    )
    lines += ["", told, "", "## What blocks the rest", "", "| op | cases |", "|---|---:|"]
    blocks = Counter(op for said in found if said["status"] == "refused" for op in blocking(said["why"]))
    lines += [f"| {op} | {n} |" for op, n in blocks.most_common(40)]
    for status in ("wrong", "crash", "timeout"):
        named = [said for said in found if said["status"] == status]
        if named:
            lines += ["", f"## {status.capitalize()}", ""]
            lines += [f"- {said['group']}: `{said['name']}` {said.get('why', '')}" for said in named]
    return "\n".join(lines) + "\n"


def blocking(why: str) -> set[str]:
    """The ops that an error names."""
    return set(re.findall(r"^  - ([^:]+):", why, re.MULTILINE)) or {" ".join(why.split())[:60]}


PREFACE = """# Coverage

What is explained today, made by `python -m scripts.coverage`, which says how each map is judged. Networks have random
weights; of timm stands one or more per family, of Hugging Face every kind of image classifier in a small form, of
detectors what comes before boxes are chosen. "Refused" is one clear error that names its cause; "wrong" would be a
map that a judge contradicts; "fails by itself" is a network that does not run on small pictures.
"""


def main() -> None:
    """Parse, run, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--only", action="append", default=[], metavar="WORDS", help="cases whose group or name holds the words")
    add("--jobs", type=int, default=2, metavar="N", help="processes, of one thread each (default %(default)s)")
    add("--seconds", type=int, default=60, metavar="S", help="of each case (default %(default)s)")
    add("--json", type=Path, default=Path("coverage.json"), metavar="FILE", help="where verdicts go")
    add("--table", type=Path, metavar="FILE", help="run nothing: write the page of the verdicts in --json")
    given = parser.parse_args()
    if given.table:
        given.table.write_text(table(json.loads(given.json.read_text())))
        return
    print(table(run(list(cases(given.only)), given.jobs, given.seconds, given.json)))


if __name__ == "__main__":
    main()
