"""What a measure is: the protocol that those of a study follow, the user's own too, and what they are given.

A measure is given all maps of a batch at once, of every method, so that what it has to ask the network it can ask once
for all. It returns rows; the study adds which picture, class and output each row is of, and writes them. Localisation
fills columns of `rows.parquet`; every other measure has a table of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from relprop import metrics
from relprop.record.logits import logits_of
from relprop.study.schema import Column

Row = tuple[int, dict[str, Any]]
"""Which of a batch's pairs of picture and class a row is of, and its columns."""


@dataclass(frozen=True)
class Maps:
    """N maps of one method, and what they are measured against.

    Attributes:
        R: relevance summed over channels, (N, H, W) float64.
        inside: (N, H, W) bool, where the class is that each map explains: the union of its boxes, or its mask.
        others: likewise, the picture's other classes.
        top_k: k of the top-k measure, in pixels.
    """

    R: Tensor
    inside: Tensor
    others: Tensor
    top_k: int

    @cached_property
    def mu(self) -> Tensor:
        """The inside-total ratio (N,), which two measures start from."""
        return metrics.inside_total_ratio(self.R, self.inside)

    @cached_property
    def contradiction(self) -> tuple[Tensor, Tensor]:
        """The share of negative relevance on the other classes, and the share of the area that they take."""
        return metrics.negative_share_inside(self.R, self.others, self.inside)


@dataclass(frozen=True)
class Network:
    """The explained network, for a measure that asks it something.

    Attributes:
        model: itself. It is the user's: a measure that wants another one makes a copy.
        at_once: so many pictures it gets in one call.
        mean_image: gives the data set's mean image, normalised, (C, H, W); computed when it is first asked for.
        explain: maps of all the study's methods by name, (N, H, W) float64 each, from another model of the same kind,
            pictures (N, C, H, W) and outputs (N,).
    """

    model: nn.Module
    at_once: int
    mean_image: Callable[[], Tensor]
    explain: Callable[[nn.Module, Tensor, Tensor], dict[str, Tensor]]

    def __call__(self, x: Tensor) -> Tensor:
        """Return the logits (n, classes) of pictures (n, C, H, W), as many as there may be."""
        with torch.no_grad():
            return torch.cat([logits_of(self.model(some)) for some in x.split(max(1, self.at_once))])


@dataclass(frozen=True)
class Batch:
    """N pairs of a picture and a class on it, and the map that every method made of each.

    Attributes:
        maps: by method, relevance summed over channels, (N, H, W) float64.
        inside: (N, H, W) bool, where the class is.
        others: likewise, the picture's other classes.
        top_k: as `Maps` has it.
        pictures: (B, C, H, W), what the network was given, on its device.
        outputs: (B, classes), what it said of them, likewise.
        of: (N,) which of `pictures` each pair is of.
        indices: (N,) that picture's position in the data set: what a seed may depend on, as batches may not matter.
        targets: (N,) the output that each map explains.
        network: None for measures that do not need the model.
    """

    maps: Mapping[str, Tensor]
    inside: Tensor
    others: Tensor
    top_k: int
    pictures: Tensor
    outputs: Tensor
    of: Tensor
    indices: Tensor
    targets: Tensor
    network: Network | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def x(self) -> Tensor:
        """What the network was given of each pair's picture, (N, C, H, W)."""
        return self.pictures[self.of]

    def by(self, method: str) -> Maps:
        """Return the maps of one method, with what they are measured against."""
        return Maps(self.maps[method], self.inside, self.others, self.top_k)

    def asked(self) -> Network:
        """Return the network.

        Raises:
            ValueError: the measure does not say that it needs it.
        """
        if self.network is None:
            raise ValueError("a measure that asks the network must say so: needs_model = True")
        return self.network


@runtime_checkable
class Measure(Protocol):
    """What a study can measure of maps, or of the network on its pictures.

    Attributes:
        name: of it and of its table, in letters, digits, "-" and "_".
        columns: what its rows have beside the picture, the class and the output: each with a description, so that the
            table explains itself. One named "method" holds the method; text columns tell a picture's rows apart.
        needs_model: whether it asks the network anything, which costs time.
    """

    @property
    def name(self) -> str:
        """See above."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """See above."""

    @property
    def needs_model(self) -> bool:
        """See above."""

    def rows(self, batch: Batch) -> Iterator[Row]:
        """Measure a batch.

        Its result for a pair may not depend on what else is in the batch. NaN is what is undefined. Rows of a pair
        stay in the order given, those of each method together, in the study's order of methods.
        """
        ...


@dataclass(frozen=True)
class OfMaps:
    """A measure that gives a number, or several, for every map, and needs the maps alone.

    Attributes:
        name: as `Measure` has it.
        columns: one for each number; `method` is added.
        values: from N maps of one method to the numbers by column, each (N,), NaN where undefined.

    Example::

        peak = OfMaps(
            "peak",
            (Column("peak", "float64", "the largest relevance, in units of the logit", null=True),),
            lambda maps: {"peak": maps.R.amax((1, 2))},
        )
    """

    name: str
    numbers: tuple[Column, ...]
    values: Callable[[Maps], Mapping[str, Tensor | Sequence[float]]]
    needs_model: bool = False

    @property
    def columns(self) -> tuple[Column, ...]:
        """The method's name, and the numbers."""
        return METHOD, *self.numbers

    def rows(self, batch: Batch) -> Iterator[Row]:
        """Measure every method's maps."""
        for method in batch.maps:
            found = {name: _listed(numbers) for name, numbers in self.values(batch.by(method)).items()}
            for n in range(len(batch)):
                yield n, {"method": method} | {name: numbers[n] for name, numbers in found.items()}


METHOD = Column("method", "string", "the method that made the map")
"""The column of every measure that says something of maps."""


def _listed(numbers: Tensor | Sequence[float]) -> list[float]:
    return [float(number) for number in numbers]
