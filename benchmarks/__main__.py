"""`python -m benchmarks`: measure, and write JSON, table and picture."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

from benchmarks.cases import SHOWN, Case, cases, plans
from benchmarks.machine import matrix_rate
from benchmarks.memory import free
from benchmarks.report import shown
from benchmarks.run import Session, run
from relprop.support.devices import device_named
from relprop.support.errors import InputError

RESULTS = Path(__file__).resolve().parent / "results"

EXAMPLES = """\
examples:
  python -m benchmarks                              all cases, in about a quarter of an hour on two cores
  python -m benchmarks --minutes 60                 the same, with more rounds
  python -m benchmarks --quick                      about a minute
  python -m benchmarks --only vgg16:4:cmp-alpha1-flat --only squeezenet1_0
  python -m benchmarks --device cuda --dtype bfloat16
  python -m benchmarks --table benchmarks/results/cpu-2.json
"""


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Speed and memory of relprop beside plain gradients, zennit and Captum.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--only", action="append", default=[], metavar="CASE", help="network[:batch[:method]], wildcards allowed")
    add("--networks", default=",".join(SHOWN), help="networks of a run without --only (default %(default)s)")
    add("--quick", action="store_true", help="one picture, two methods, few rounds: does it work?")
    add("--minutes", type=float, help="about how long all cases may take (default 15; 1 with --quick)")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--dtype", choices=("float32", "bfloat16"), default="float32", help="of weights and pictures")
    add("--threads", type=int, help="PyTorch's threads (default: what PyTorch chooses)")
    add("--memory-batches", default="", metavar="N,N", help="pictures for peak memory on a CPU (default 4; 0: none)")
    add("--out", type=Path, default=RESULTS, metavar="FOLDER", help="where results go (default benchmarks/results)")
    add("--fresh", action="store_true", help="forget what is in the results file")
    add("--table", type=Path, metavar="JSON", help="measure nothing: table and picture of these results again")
    add("--list", action="store_true", help="measure nothing: name the cases")
    asked = parser.parse_args(words)
    asked.cases = cases(asked.only, asked.networks.split(","), asked.quick)
    if not asked.cases:
        parser.error("no case matches; --list names them all")
    return asked


def main(words: list[str] | None = None) -> int:
    """Do what the command line asks; the exit status."""
    asked = arguments(words)
    if asked.list:
        sys.stdout.write("".join(f"{case.key}\n" for case in asked.cases))
        return 0
    if asked.table:
        shown(json.loads(asked.table.read_text()), asked.table)
        return 0
    try:
        device_named(asked.device)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    path = measure(asked)
    sys.stdout.write(f"{path}\n{path.with_suffix('.md')}\n{path.with_suffix('.png')}\n")
    return 0


def measure(asked: argparse.Namespace) -> Path:
    """Run the cases, and return where the results are."""
    if asked.threads:
        torch.set_num_threads(asked.threads)
    dtype, threads = getattr(torch, asked.dtype), torch.get_num_threads()
    chosen = within_memory(asked.cases, asked.device)
    rate = matrix_rate(4096 if asked.device == "cuda" else 1024, asked.device, dtype)
    planned = plans(chosen, asked.minutes or (1 if asked.quick else 15), rate)
    name = f"{asked.device}-{threads}{'' if asked.dtype == 'float32' else '-' + asked.dtype}"
    path: Path = asked.out / f"{name}{'-quick' if asked.quick else ''}.json"
    weighed = asked.memory_batches or ("1" if asked.quick else "4")
    session = Session(asked.device, dtype, threads, tuple(map(int, weighed.split(","))))
    try:
        results = run(session, planned, path, asked.quick, asked.fresh)
    finally:
        session.close()
    shown(results, path)
    return path


def within_memory(every: list[Case], device: str) -> list[Case]:
    """Return the cases with ResNet-18 in the place of ResNet-50 where there are less than 8 GiB."""
    there = torch.cuda.mem_get_info()[0] if device == "cuda" else free()
    if there >= 8 * 2**30:
        return every
    small = [Case("resnet18", c.batch, c.method) if c.network == "resnet50" else c for c in every]
    return list(dict.fromkeys(small))


if __name__ == "__main__":
    sys.exit(main())
