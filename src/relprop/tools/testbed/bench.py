"""What a protocol is: pictures to explain, and measures that know the truth about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from relprop.data.preprocess import Preprocess
from relprop.study.statistics import Estimate, Resamples
from relprop.support.devices import device_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]

BATCH = 64
"""Pictures that only go forward, at once."""


def means(values: Floats, picture: Ints, seed: int) -> list[Estimate]:
    """Return the mean of each column of (P, K) values over the defined ones, and its interval over pictures."""
    involved, place = np.unique(picture, return_inverse=True)
    if not len(involved):
        return [Estimate(float("nan"), float("nan"), float("nan"), 0, 0)] * values.shape[1]
    return Resamples(len(involved), seed).means(values, place).estimates()


@dataclass(frozen=True, eq=False)
class Measure:
    """A question about maps whose true answer is known.

    Attributes:
        name: a short name, for tables and JSON.
        meaning: what the number is, in one sentence, with the values of a uniform map and of the truth.
        best: the value of a map that tells the truth.
        score: from the maps (N, H, W) of a bench, summed over colours, to P values; NaN where undefined.
        picture: (P,) the picture that each value is of.
        oracle: (N, H, W) maps that tell the truth.
        summary: from values (P, K) of K methods, `picture` and a seed to K estimates.
    """

    name: str
    meaning: str
    best: float
    score: Callable[[Floats], Floats]
    picture: Ints
    oracle: Floats
    summary: Callable[[Floats, Ints, int], list[Estimate]] = means


@dataclass(frozen=True, eq=False)
class Example:
    """A picture to be shown with its maps.

    Attributes:
        row: which of a bench's pictures.
        title: what is asked there.
        regions: half-open boxes x0, y0, x1, y1 to be outlined.
    """

    row: int
    title: str
    regions: tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True, eq=False)
class Bench:
    """Pictures that are explained once, and what is measured on their maps.

    Attributes:
        name: for people.
        model: what is explained.
        pictures: (N, H, W, 3) uint8.
        target: (N,) int64, the output explained in each.
        measures: what is asked of the maps.
        facts: what is true of the network and the pictures, in sentences.
        example: a picture to be shown.
    """

    name: str
    model: nn.Module
    pictures: Bytes
    target: Tensor
    measures: tuple[Measure, ...]
    facts: tuple[str, ...]
    example: Example | None

    def x(self, rows: slice = slice(None)) -> Tensor:
        """Return some of the pictures as the model takes them."""
        return as_input(self.model, self.pictures[rows])


def as_input(model: nn.Module, pictures: Bytes) -> Tensor:
    """Return pictures (N, H, W, 3) as the model takes them: (N, 3, H, W)."""
    pixels = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255
    return cast("Preprocess", model.preprocess).normalise(pixels).to(device_of(model))


def logits(model: nn.Module, pictures: Sequence[Bytes] | Bytes) -> Floats:
    """Return what the model makes of pictures (H, W, 3): (N, C)."""
    with torch.no_grad():
        parts = [
            model(as_input(model, np.stack(list(pictures[k : k + BATCH])))) for k in range(0, len(pictures), BATCH)
        ]
    found: Floats = torch.cat(parts).double().cpu().numpy()
    return found


def share(inside: Any, total: Any) -> Floats:
    """Return inside / total, NaN where the total is not positive or not finite."""
    inside, total = np.asarray(inside, dtype=np.float64), np.asarray(total, dtype=np.float64)
    good = np.isfinite(total) & (total > 0)
    result: Floats = np.divide(inside, total, out=np.full(total.shape, np.nan), where=good)
    return result
