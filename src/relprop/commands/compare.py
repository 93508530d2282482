"""``relprop compare``: the grid of Figures 1 and 4, rows are classes, columns methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from relprop import metrics
from relprop.commands import explain_pictures
from relprop.commands.closer import OF_ONE
from relprop.commands.picture_requests import CompareRequest
from relprop.data.entries import Entry
from relprop.data.geometry import around, normalise
from relprop.data.orientation import framed
from relprop.data.pictures import PictureError
from relprop.explanation import Explanation
from relprop.plots.heatmaps import heatmaps
from relprop.plots.named import COLUMNS
from relprop.plots.outlines import Box
from relprop.plots.view import View
from relprop.plots.viewer import page
from relprop.plots.viewer.documents import document
from relprop.propagate import explain
from relprop.study.task import Task, highest
from relprop.support.account import noted
from relprop.support.devices import device_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

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


@dataclass(frozen=True)
class Looked:
    """What the maps of every class that a picture of a study shows are.

    Attributes:
        seen: (H, W, 3), the picture as the network saw it.
        names: of T classes.
        explanation: of them.
        targets: T outputs that stand for them.
        inside: (T, H, W) bool, their boxes or masks.
        boxes: of all of them.
    """

    seen: NDArray[np.uint8]
    names: list[str]
    explanation: Explanation
    targets: list[int]
    inside: Tensor
    boxes: Sequence[Box]

    def figure(self) -> Figure:
        """Draw the grid: the picture (a), then a column for each method, mu_w under each map."""
        logits, methods = self.explanation.outputs[0], list(self.explanation.relevance)
        titles = [_title(n, float(logits[t]), methods) for n, t in zip(self.names, self.targets, strict=True)]
        found = {m: self.explanation.relevance[m][:, 0].cpu() for m in methods}
        mu_w = {m: metrics.weighted_inside_total_ratio(R.double(), self.inside).tolist() for m, R in found.items()}
        maps = {m: R.float().numpy() for m, R in found.items()}
        accounts = {m: [self.explanation.cell(t, m)[1] for t in range(len(self.names))] for m in methods}
        look = View(names="paper")
        inside = [*self.inside.numpy()]
        return heatmaps(self.seen, titles, maps, None, inside, mu_w, letters=True, view=look, accounts=accounts)

    def closer(self, title: str) -> str | None:
        """The page on which these maps can be looked at closely; None where their numbers are too many."""
        e, places = self.explanation, range(len(self.names))
        if len(places) * len(e.relevance) * self.inside[0].numel() > OF_ONE:
            return None
        cells = {m: [e.cell(t, m) for t in places] for m in e.relevance}
        found = document(
            self.seen,
            [(name, float(e.values[t, 0])) for t, name in enumerate(self.names)],
            {m: [values for values, _ in each] for m, each in cells.items()},
            {m: [account for _, account in each] for m, each in cells.items()},
            boxes=self.boxes,
        )
        return page(found, title=title)


def grid(task: Task, index: int, methods: Sequence[str] = METHODS) -> Figure:
    """Draw the maps of every class that a picture of a study shows, its boxes around, and mu_w under each.

    With the methods of the paper's figure these are its seven columns: the picture (a), then (b) to (g).

    Args:
        task: the study.
        index: the picture's position in its data.
        methods: names.
    """
    return looked_at(task, index, methods).figure()


def looked_at(task: Task, index: int, methods: Sequence[str] = METHODS) -> Looked:
    """Explain every class that a picture of a study shows.

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
    inside = torch.stack([seen.masks[name] for name in names])
    boxes = [around(mask) for mask in inside if mask.any()]
    return Looked(np.asarray(seen.image), names, explanation, explanation.targets[:, 0].tolist(), inside, boxes)


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
