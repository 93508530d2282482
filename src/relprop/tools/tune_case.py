"""What a measure of `tune` is given: maps of one method, and what they are measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from relprop import metrics
from relprop.support.errors import InputError

STEPS = 10
"""Of flipping: so many regions at a time that this many steps flip all."""
SIDE = 16
"""Regions along the shorter side of a picture that is flipped."""


@dataclass(frozen=True)
class Case:
    """N maps of one method, and what they are measured against.

    Attributes:
        model: the network.
        x: pictures (N, C, H, W), as the network got them.
        targets: (N,) the output that each map explains.
        R: relevance summed over channels, (N, H, W) float64.
        inside: (N, H, W) bool, where the class is; None where the data says nothing of it.
    """

    model: Any
    x: Tensor
    targets: Tensor
    R: Tensor
    inside: Tensor | None

    def boxes(self) -> Tensor:
        """Where the class is.

        Raises:
            InputError: the data says nothing of it.
        """
        if self.inside is None:
            raise InputError("this measure needs to know where the class is, and the data gives no masks")
        return self.inside

    def flips(self) -> metrics.Flips:
        """Flip the pictures by these maps."""
        region = max(1, min(self.R.shape[1:]) // SIDE)
        return metrics.flip(self.model, self.x, self.R.to(self.x), self.targets, region=region, steps=STEPS)
