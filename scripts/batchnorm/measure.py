"""Rows of what is measured: one a picture and way; a file a network, and what is there is not measured again."""

# ruff: noqa: T201 - a script prints

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from scripts.batchnorm.cascade import SHARES, similarities
from scripts.batchnorm.networks import Task
from scripts.rows import read
from torch import Tensor, nn

import relprop as rp

Row = dict[str, Any]


def rows(
    task: Task, ways: Mapping[str, Any], file: Path, number: int, device: str, batch: int, randomised: int
) -> Iterator[None]:
    """Localisation and flipping, and of the first pictures (`randomised`) randomisation; a batch a step."""
    known = {(row["picture"], row["way"]) for row in read(file)}
    model = task.model.to(device)
    total = min(number, task.total)
    for start in range(0, total, batch):
        indices = [*range(start, min(start + batch, total))]
        missing = {name: way for name, way in ways.items() if any((k, name) not in known for k in indices)}
        if not missing:
            continue
        began = time.monotonic()
        found = list(measured(task, model, missing, indices, device, randomise=start < randomised))
        with file.open("a") as lines:
            lines.writelines(json.dumps(row) + "\n" for row in found)
        print(f"{file.stem} {indices[-1] + 1}/{total}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
        yield


def measured(
    task: Task, model: nn.Module, ways: Mapping[str, Any], indices: list[int], device: str, *, randomise: bool
) -> Iterator[Row]:
    """A row for each picture and way."""
    x, target, mask = (t.to(device) for t in task.pictures(indices))
    logit, maps, lost = explained(model, x, target, ways)

    def again(net: nn.Module) -> dict[str, Tensor]:
        return _of_one(*explained(net, x, target, ways)[:2])

    cascade = list(similarities(model, _of_one(logit, maps), again, task.region)) if randomise else []
    for name, R in maps.items():
        flips = rp.metrics.flip(model, x, R, target, region=task.region, steps=8, replace="blur", batch=256)
        columns = {
            "mu_w": rp.metrics.weighted_inside_total_ratio(R, mask),
            "srg": flips.srg,
            "morf": flips.morf_area,
            "lerf": flips.lerf_area,
            "share": R.double().flatten(1).sum(1) / logit,
            **{column: t / logit for column, t in lost[name].items()},
            **{f"similar at {share}": found[name] for share, found in zip(SHARES, cascade, strict=False)},
            "logit": logit,
        }
        told = {column: t.double().cpu().tolist() for column, t in columns.items()}
        for k, picture in enumerate(indices):
            numbers = {column: values[k] for column, values in told.items()}
            yield {"picture": picture, "way": name, **{c: v if v == v else None for c, v in numbers.items()}}  # noqa: PLR0124


def explained(
    model: nn.Module, x: Tensor, target: Tensor, ways: Mapping[str, Any]
) -> tuple[Tensor, dict[str, Tensor], dict[str, dict[str, Tensor]]]:
    """The target's logit (B,), maps (B, H, W) summed over colours, and what biases and stabilisers took (B,)."""
    maps: dict[str, Tensor] = {}
    took: dict[str, dict[str, Tensor]] = {}
    logit = torch.full((len(x),), torch.nan)
    named = [{name: way} for name, way in ways.items()]
    for methods in (dict(ways), *named):  # together; if one fails, one by one
        if maps.keys() >= methods.keys():
            continue
        try:
            e = rp.explain(model, x, targets=[target], methods=methods)
        except rp.RelpropError as error:
            if len(methods) == 1:
                name = next(iter(methods))
                print(f"{name}: {error}"[:300], file=sys.stderr)
                maps[name], took[name] = torch.full_like(x[:, 0], torch.nan), {}
            continue
        logit = e.values[0].double()
        for name in methods:
            maps[name] = e.relevance[name][0].sum(1)
            ledger = e.ledger[name].rows if name in e.ledger else []
            took[name] = {
                column: sum((getattr(row, column)[0].double() for row in ledger), torch.zeros_like(logit))
                for column in ("bias", "eps", "lost")
            }
    return logit, maps, took


def _of_one(logit: Tensor, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Maps of the logit's size rather than its value: those that start at one (Guided Backprop) are so already."""
    return {name: R if name == "guided backprop" else R * logit.sign()[:, None, None] for name, R in maps.items()}
