# ruff: noqa: INP001
"""Tune on the real SqueezeNet, and measure what sharing the walk saves: `python -m scripts.tune_real SHARED --out DIR`.

SHARED is the folder of the real material (`../shared`). The search keeps what it measured in DIR and goes on there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from scripts.real_networks import squeezenet
from torch import nn

import relprop as rp
from relprop.data.geometry import shortest_side
from relprop.data.imagenet import imagenet
from relprop.study.task import class_targets
from relprop.tools.tune_data import Framed
from relprop.tools.tune_measures import measures_named
from relprop.tools.tune_space import read_space
from relprop.tools.tune_store import Measured
from relprop.tools.tune_walk import Judge, Planned

SIDE = 227


def pictures(real: Path, model: Any) -> Framed:
    """The validation pictures, 227 x 227, with their boxes."""
    root = real / "imagenet_val_227"
    data = imagenet(root / "images", index=real / "imagenet_class_index.json", ground_truth=root / "boxes.csv")
    outputs = class_targets(data.classes, model.classes)
    return Framed(data, model.preprocess, outputs, shortest_side(SIDE))


def cost(model: nn.Module, samples: Framed, space: str, number: int) -> dict[str, float]:
    """CPU seconds of all candidates together, and of each alone, on a few pictures."""
    seconds = {}
    found = read_space(space, model.preprocess.bounds)  # type: ignore[union-attr,operator]
    candidates = {f"candidate {n}": each.composite for n, each in enumerate(found.candidates(512))}
    for way in ("together", "alone"):
        judge = Judge(model, samples, measures_named("mu_w"), "paper", Measured(None, {}))
        planned, _ = judge.planned(candidates, range(number))
        groups: list[list[Planned]] = [planned] if way == "together" else [[each] for each in planned]
        began = time.process_time()
        for group in groups:
            judge.measure(group, range(number), lambda _: None)
        seconds[way] = time.process_time() - began
    return {"candidates": len(planned), "pictures": number, **seconds, "ratio": seconds["alone"] / seconds["together"]}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--space", default="default")
    parser.add_argument("--by", default="mu_w")
    parser.add_argument("--cost", type=int, default=0, metavar="N", help="measure the cost on N pictures, and no more")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    real = asked.shared / "real"
    model = squeezenet(real)
    samples = pictures(real, model)
    if asked.cost:
        print(json.dumps(cost(model, samples, asked.space, asked.cost), indent=2))  # noqa: T201
        return

    def told(what: str, done: int, total: int) -> None:
        print(f"{what}: {done} of {total}", file=sys.stderr)  # noqa: T201

    found = rp.tune(model, samples, asked.space, asked.by.split(","), folder=asked.out, progress=told)
    (asked.out / "tuned.json").write_text(json.dumps(found.as_dict(), indent=2))
    print(found)  # noqa: T201
    print(f"{found.maps} maps, {found.seconds:.0f} s of CPU")  # noqa: T201


if __name__ == "__main__":
    main()
