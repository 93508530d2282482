"""Occlusion as a measure: how a class's logit changes when its object, or all else, is hidden (Fig. 2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from relprop import metrics
from relprop.study.measure import Batch, Row
from relprop.study.schema import OCCLUDED, Column

_PARTS: tuple[Literal["context", "object"], ...] = ("context", "object")


@dataclass(frozen=True)
class Occlusion:
    """The measure: it says something of the network, not of maps, so there is a row per part and none per method."""

    name: str = "occlusion"
    columns: tuple[Column, ...] = OCCLUDED
    needs_model: bool = True

    def rows(self, batch: Batch) -> Iterator[Row]:
        """Hide the context, then the object, in the data set's mean image."""
        network, before = batch.asked(), batch.outputs[batch.of]
        fill = network.mean_image()
        changes = {
            part: metrics.delta(before, network(metrics.occlude(batch.x, batch.inside, fill, part)), batch.targets)
            for part in _PARTS
        }
        area = batch.inside.flatten(1).sum(1).tolist()
        for n in range(len(batch)):
            for part, change in changes.items():
                yield (
                    n,
                    {
                        "part": part,
                        "delta": float(change[n]),
                        "s_in": area[n],
                        "s_tot": batch.inside[n].numel(),
                    },
                )
