"""From pictures and maps to the records of the tables of a study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from relprop import metrics
from relprop.data.entries import Entry
from relprop.data.geometry import Framed
from relprop.explanation import Explanation
from relprop.study.measure import Batch, Measure, Network
from relprop.study.measures import measured
from relprop.study.schema import LEDGER, MEASURES
from relprop.walk.ledger import Ledger

Record = dict[str, Any]


@dataclass
class Picture:
    """One picture on its way through the study.

    Attributes:
        index: position in the data set.
        entry: as the data set has it.
        framed: as the network sees it; None if it could not be read or its boxes not be placed.
        x: the network's input, (3, H, W).
        problem: what went wrong, "" if nothing.
        without: of a picture that is not framed, the status of its rows.
        targets: for each class that can be explained, the model's output.
        logits: (classes,) of the model.
        sha256: of its file.
    """

    index: int
    entry: Entry
    framed: Framed | None = None
    x: Tensor | None = None
    problem: str = ""
    without: str = "unreadable_image"
    targets: dict[str, int] = field(default_factory=dict)
    logits: Tensor | None = None
    sha256: str | None = None

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


UNMEASURED: Record = dict.fromkeys(measure.name for measure in MEASURES)
"""What the rows say of a map whose figures would mean nothing."""
UNTOLD: Record = dict.fromkeys(column.name for column in LEDGER)
"""What they say where there is no ledger."""
NOTHING: Record = {"logit": None} | UNMEASURED | UNTOLD
"""What they say of a map that there is not."""


def undefined_rows(picture: Picture, methods: list[str]) -> Iterator[Record]:
    """Rows of what cannot be measured: they say why, and count."""
    if not picture.names:
        if picture.entry.problem or picture.framed is None:
            status = "missing_annotation" if picture.framed else picture.without
            yield from _undefined(picture, "", status, methods)
        return
    for name in picture.names:
        if picture.framed is None:
            yield from _undefined(picture, name, picture.without, methods)
        elif name not in picture.framed.masks:
            yield from _undefined(picture, name, "box_cropped_out", methods)
        elif name not in picture.targets:
            yield from _undefined(picture, name, "no_target", methods)


def _undefined(picture: Picture, name: str, status: str, methods: list[str]) -> Iterator[Record]:
    about = picture.identity() | {"class_name": name, "target": picture.targets.get(name, -1), "status": status}
    for method in methods:
        yield NOTHING | about | area(picture, name) | {"method": method}


@dataclass(frozen=True)
class Measured:
    """The maps of a batch of pictures, ready to be measured.

    Attributes:
        pictures: those of the batch.
        places: for each of N pairs of picture and class which of the picture's classes, which picture, its name.
        batch: what measures are given of them.
        accounts: by method, for each pair whether the ledger closes, and what its row says of it.
    """

    pictures: Sequence[Picture]
    places: list[tuple[int, int, str]]
    batch: Batch
    accounts: dict[str, list[tuple[bool, Record]]]

    def rows_and_pairs(self) -> tuple[list[Record], list[Record]]:
        """What localisation says of the maps, as rows; and how alike those of a picture are, as pairs."""
        about = [_about(self.pictures[b], name) for _, b, name in self.places]
        rows: list[Record] = []
        pairs: list[Record] = []
        for method, R in self.batch.maps.items():
            columns, accounts = measured(self.batch.by(method)), self.accounts[method]
            statuses = metrics.statuses(R, self.batch.inside)
            for k, (found, what, (closed, account)) in enumerate(zip(statuses, about, accounts, strict=True)):
                trusted = closed or found == "non_finite"  # where nothing is finite, nothing can add up
                values = {column: numbers[k] for column, numbers in columns.items()} if trusted else UNMEASURED
                status = found if trusted else "ledger_open"
                rows.append(values | account | what | {"method": method, "status": status})
            pairs += _pairs(self.pictures, self.places, R, method, [closed for closed, _ in accounts])
        return rows, pairs

    def rows_of(self, measure: Measure, network: Network | None) -> list[Record]:
        """What a measure that has its own table says; of a map whose ledger is open nothing that can be null."""
        undefined = {column.name: None for column in measure.columns if column.null}
        found: list[Record] = []
        for n, row in measure.rows(replace(self.batch, network=network)):
            _, b, name = self.places[n]
            picture, accounts = self.pictures[b], self.accounts.get(row.get("method", ""))
            untrusted = accounts is not None and not accounts[n][0]
            about = picture.identity() | {"class_name": name, "target": picture.targets[name]}
            found.append(about | row | (undefined if untrusted else {}))
        return found


def to_measure(pictures: Sequence[Picture], x: Tensor, explanation: Explanation, top_k: int) -> Measured:
    """Lay the maps of a batch out for measures.

    Args:
        pictures: those of the batch; the t-th explained class of each is the t-th of its `targets`.
        x: what the network was given of them, (B, C, H, W).
        explanation: with maps per method (T, B, C, H, W), and ledgers of the methods that have one. Of a map whose
            ledger is open every figure is undefined.
        top_k: k in pixels.
    """
    places = [(t, b, name) for b, p in enumerate(pictures) for t, name in enumerate(p.targets)]
    t, b = torch.tensor([[t, b] for t, b, _ in places]).T
    maps = {method: R[t, b].sum(1, dtype=torch.float64).cpu() for method, R in explanation.relevance.items()}
    batch = Batch(
        maps=maps,
        inside=torch.stack([pictures[b].mask(name) for _, b, name in places]),
        others=torch.stack([_others(pictures[b], name) for _, b, name in places]),
        top_k=top_k,
        pictures=x,
        outputs=explanation.outputs,
        of=b,
        indices=torch.tensor([pictures[b].index for _, b, _ in places]),
        targets=torch.tensor([pictures[b].targets[name] for _, b, name in places]),
    )
    accounts = {method: _accounts(explanation.ledger.get(method), places) for method in maps}
    return Measured(pictures, places, batch, accounts)


def _accounts(ledger: Ledger | None, places: list[tuple[int, int, str]]) -> list[tuple[bool, Record]]:
    """Whether the ledger closes for each map, and what its row says of it; of one that does not the error alone."""
    if ledger is None:
        return [(True, UNTOLD)] * len(places)
    unaccounted, errors = ledger.open.tolist(), ledger.errors.tolist()
    took = {column.name: ledger.sum(column.name).tolist() for column in LEDGER[1:]}
    return [
        (False, UNTOLD | {LEDGER[0].name: errors[t][b]})
        if unaccounted[t][b]
        else (True, {LEDGER[0].name: errors[t][b]} | {name: numbers[t][b] for name, numbers in took.items()})
        for t, b, _ in places
    ]


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


def _pairs(
    pictures: Sequence[Picture], places: list[tuple[int, int, str]], R: Tensor, method: str, trusted: list[bool]
) -> list[Record]:
    """How alike the maps of every two classes of a picture are; undefined where one of them is not trusted."""
    by_picture: dict[int, list[int]] = {}
    for k, (_, b, _) in enumerate(places):
        by_picture.setdefault(b, []).append(k)
    found = [(b, i, j) for b, ks in by_picture.items() for i, j in combinations(ks, 2)]
    if not found:
        return []
    cosines = metrics.similarity(R[[i for _, i, _ in found]], R[[j for _, _, j in found]]).tolist()
    return [
        pictures[b].identity()
        | {"class_a": places[i][2], "class_b": places[j][2], "method": method}
        | {"cosine": cosine if trusted[i] and trusted[j] else None}
        for (b, i, j), cosine in zip(found, cosines, strict=True)
    ]


def prediction(picture: Picture, targets: dict[str, tuple[int, ...]], classes: tuple[str, ...]) -> Record:
    """What the model itself says of a picture."""
    width, height = picture.framed.size if picture.framed else (0, 0)
    logits = picture.logits
    wanted = sorted({index for name in picture.names for index in targets.get(name, ())})
    return picture.identity() | {
        "width": width,
        "height": height,
        "rescaled": bool(picture.framed and picture.framed.rescaled),
        "problem": picture.problem or picture.entry.problem,
        "picture_sha256": picture.sha256,
        "labels": picture.names,
        "targets": wanted,
        "top5": [] if logits is None else logits.topk(min(5, len(logits))).indices.tolist(),
        "scores": [] if logits is None else [_score(logits, targets.get(name, ())) for name in classes],
    }


def _score(logits: Tensor, indices: tuple[int, ...]) -> float:
    return max((float(logits[index]) for index in indices), default=float("nan"))
