"""``relprop compare``: the grid of Figures 1 and 4, rows are classes, columns methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from relprop import metrics
from relprop.commands import explain_pictures
from relprop.commands.picture_requests import CompareRequest
from relprop.data.entries import Entry
from relprop.data.geometry import normalise
from relprop.data.orientation import framed
from relprop.data.pictures import PictureError
from relprop.plots.heatmaps import heatmaps
from relprop.plots.named import COLUMNS
from relprop.plots.view import View
from relprop.propagate import explain
from relprop.study.task import Task, highest
from relprop.support.account import noted
from relprop.support.devices import device_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS = (
    "lrp-z",
    "lrp-alpha2",
    "cmp-alpha2",
    "cmp-alpha2-flat",
    "cmp-alpha2-flat:layers=3",
    "cmp-alpha2-flat:layers=stack",
)
"""From one rule everywhere to composites with the flat rule on none, the first, three, and all convolutions."""


def run(request: CompareRequest) -> None:
    """Draw the grid of a picture, or of each of many, and print what was found.

    Raises:
        RelpropError: with one line that says what to mend.
    """
    explain_pictures.run(
        replace(request, methods=request.methods or (COLUMNS if request.paper else METHODS)), highest=2, done="compared"
    )


def grid(task: Task, index: int, methods: Sequence[str] = METHODS) -> Figure:
    """Draw the maps of every class that a picture of a study shows, its boxes around, and mu_w under each.

    With the methods of the paper's figure these are its seven columns: the picture (a), then (b) to (g).

    Args:
        task: the study.
        index: the picture's position in its data.
        methods: names.
    """
    entry = task.data[index]
    seen = framed(entry, task.geometry)
    names = [name for name in seen.masks if task.targets.get(name)]
    x = normalise(seen.image, task.preprocess)[None].to(device_of(task.model))
    explanation = explain(
        task.model,
        x,
        lambda outputs: [highest(outputs[0], task.targets[name]) for name in names],
        methods,
        profile=task.profile,
    )
    logits = explanation.outputs[0]
    explained = [float(logits[t]) for t in explanation.targets[:, 0].tolist()]
    titles = [_title(name, logit, methods) for name, logit in zip(names, explained, strict=True)]
    inside = torch.stack([seen.masks[name] for name in names])
    found = {m: explanation.relevance[m][:, 0].cpu() for m in methods}
    mu_w = {m: metrics.weighted_inside_total_ratio(R.double(), inside).tolist() for m, R in found.items()}
    maps = {m: R.float().numpy() for m, R in found.items()}
    accounts = {m: [explanation.cell(t, m)[1] for t in range(len(names))] for m in methods}
    look = View(names="paper")
    return heatmaps(
        np.asarray(seen.image), titles, maps, None, [*inside.numpy()], mu_w, letters=True, view=look, accounts=accounts
    )


def _title(name: str, logit: float, methods: Sequence[str]) -> str:
    """The class of a row and its logit, and a note where the network says no."""
    number = f"{logit:.2f}".replace("-", "\N{MINUS SIGN}")
    return noted(f"{name}, logit {number}", logit, tuple(methods))


def _can_be_framed(entry: Entry, task: Task) -> bool:
    try:
        framed(entry, task.geometry)
    except PictureError:
        return False
    return True


def with_several_classes(task: Task, number: int = 3) -> list[int]:
    """The first pictures that show several classes that can be explained."""
    found: list[int] = []
    for index in range(task.number):
        entry = task.data[index]
        classes = {thing.name for thing in entry.things if task.targets.get(thing.name)}
        if len(classes) >= 2 and not entry.problem and _can_be_framed(entry, task):
            found.append(index)
        if len(found) == number:
            break
    return found
