"""From maps to rows: what one batch of pictures says, as plain records of `study.schema`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from relprop import metrics
from relprop.data.entries import Entry
from relprop.data.geometry import Framed

Record = dict[str, Any]


@dataclass
class Picture:
    """One picture on its way through the study.

    Attributes:
        index: position in the data set.
        entry: as the data set has it.
        framed: as the network sees it; None if it could not be read.
        x: the network's input, (3, H, W).
        problem: what went wrong, "" if nothing.
        targets: for each class that can be explained, the model's output.
        logits: (classes,) of the model.
    """

    index: int
    entry: Entry
    framed: Framed | None = None
    x: Tensor | None = None
    problem: str = ""
    targets: dict[str, int] = field(default_factory=dict)
    logits: Tensor | None = None

    @property
    def names(self) -> list[str]:
        """The classes on it, each once, in order."""
        return sorted({thing.name for thing in self.entry.things})

    def mask(self, name: str) -> Tensor:
        """Where a class is, (H, W)."""
        if self.framed is None:
            raise ValueError(f"{self.entry.id} could not be read")
        return self.framed.masks[name]

    def identity(self) -> Record:
        """Its columns in every table."""
        return {"image_id": self.entry.id, "image_index": self.index}


def area(picture: Picture, name: str) -> Record:
    """S_in and S_tot of a class."""
    if picture.framed is None:
        return {"s_in": 0, "s_tot": 0}
    mask = picture.framed.masks.get(name)
    height, width = picture.framed.image.height, picture.framed.image.width
    return {"s_in": 0 if mask is None else int(mask.sum()), "s_tot": height * width}


NOTHING: Record = dict.fromkeys(
    (
        "logit mu mu_w pointing_game rank_accuracy top_k relevance_sum relevance_positive negative_inside_others "
        "others_area"
    ).split()
)


def undefined(picture: Picture, methods: list[str]) -> Iterator[Record]:
    """Rows of what cannot be measured: they say why, and count."""
    if not picture.names:
        if picture.entry.problem or picture.framed is None:
            status = "missing_annotation" if picture.framed else "unreadable_image"
            yield from _undefined(picture, "", status, methods)
        return
    for name in picture.names:
        if picture.framed is None:
            yield from _undefined(picture, name, "unreadable_image", methods)
        elif name not in picture.framed.masks:
            yield from _undefined(picture, name, "box_cropped_out", methods)
        elif name not in picture.targets:
            yield from _undefined(picture, name, "no_target", methods)


def _undefined(picture: Picture, name: str, status: str, methods: list[str]) -> Iterator[Record]:
    about = picture.identity() | {"class_name": name, "target": picture.targets.get(name, -1), "status": status}
    for method in methods:
        yield NOTHING | about | area(picture, name) | {"method": method}


def measured(pictures: list[Picture], maps: dict[str, Tensor], top_k: int) -> tuple[list[Record], list[Record]]:
    """Rows and pairs of a batch.

    Args:
        pictures: those of the batch; the t-th explained class of each is the t-th of its `targets`.
        maps: per method (T, B, C, H, W).
        top_k: k in pixels.
    """
    places = [(t, b, name) for b, p in enumerate(pictures) for t, name in enumerate(p.targets)]
    t, b = torch.tensor([[t, b] for t, b, _ in places]).T
    own = torch.stack([pictures[b].mask(name) for _, b, name in places])
    others = torch.stack([_others(pictures[b], name) for _, b, name in places])
    about = [_about(pictures[b], name) for _, b, name in places]
    rows: list[Record] = []
    pairs: list[Record] = []
    for method, relevance in maps.items():
        R = relevance[t, b].sum(1, dtype=torch.float64).cpu()
        figures = _figures(R, own, others, top_k)
        for k, what in enumerate(about):
            rows.append({column: values[k] for column, values in figures.items()} | what | {"method": method})
        pairs += _pairs(pictures, places, R, method)
    return rows, pairs


def _about(picture: Picture, name: str) -> Record:
    """What the rows of all methods say alike of a class."""
    target = picture.targets[name]
    logit = None if picture.logits is None else float(picture.logits[target])
    return picture.identity() | area(picture, name) | {"class_name": name, "target": target, "logit": logit}


def _others(picture: Picture, name: str) -> Tensor:
    """The union of the other classes' boxes."""
    found = torch.zeros_like(picture.mask(name))
    for other in picture.framed.masks if picture.framed else ():
        if other != name:
            found = found | picture.mask(other)
    return found


def _figures(R: Tensor, own: Tensor, others: Tensor, top_k: int) -> dict[str, list[Any]]:
    """Every measure of (N, H, W) maps."""
    negative, share = metrics.negative_share_inside(R, others, own)
    k = min(top_k, own[0].numel())
    mu = metrics.inside_total_ratio(R, own)
    columns = {
        "mu": mu,
        "mu_w": metrics.weighted_by_area(mu, own),
        "pointing_game": metrics.pointing_game(R, own),
        "rank_accuracy": metrics.relevance_rank_accuracy(R, own),
        "top_k": metrics.top_k(R, own, k),
        "relevance_sum": R.sum((1, 2)),
        "relevance_positive": R.clamp(min=0).sum((1, 2)),
        "negative_inside_others": negative,
        "others_area": share,
    }
    return {name: values.tolist() for name, values in columns.items()} | {"status": metrics.statuses(R, own)}


def _pairs(pictures: list[Picture], places: list[tuple[int, int, str]], R: Tensor, method: str) -> list[Record]:
    """How alike the maps of every two classes of a picture are."""
    by_picture: dict[int, list[int]] = {}
    for k, (_, b, _) in enumerate(places):
        by_picture.setdefault(b, []).append(k)
    found = [(b, i, j) for b, ks in by_picture.items() for i, j in combinations(ks, 2)]
    if not found:
        return []
    cosines = metrics.similarity(R[[i for _, i, _ in found]], R[[j for _, _, j in found]]).tolist()
    return [
        pictures[b].identity() | {"class_a": places[i][2], "class_b": places[j][2], "method": method, "cosine": cosine}
        for (b, i, j), cosine in zip(found, cosines, strict=True)
    ]


def prediction(picture: Picture, targets: dict[str, tuple[int, ...]], classes: tuple[str, ...]) -> Record:
    """What the model itself says of a picture."""
    image = picture.framed.image if picture.framed else None
    logits = picture.logits
    wanted = sorted({index for name in picture.names for index in targets.get(name, ())})
    return picture.identity() | {
        "width": image.width if image else 0,
        "height": image.height if image else 0,
        "rescaled": bool(picture.framed and picture.framed.rescaled),
        "problem": picture.problem or picture.entry.problem,
        "labels": picture.names,
        "targets": wanted,
        "top5": [] if logits is None else logits.topk(min(5, len(logits))).indices.tolist(),
        "scores": [] if logits is None else [_score(logits, targets.get(name, ())) for name in classes],
    }


def _score(logits: Tensor, indices: tuple[int, ...]) -> float:
    return max((float(logits[index]) for index in indices), default=float("nan"))
