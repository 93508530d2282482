"""A network that provably cannot see three of four cells: whoever finds relevance there is wrong.

DiFull of Rao et al., "Towards Better Understanding Attribution Methods" (2022): the cells of a mosaic go through the
network apart, and each has logits of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from relprop.catalogue.patterns import Patterns
from relprop.data.clutter import CLASSES, SIDE
from relprop.support.fingerprint import weights_hash
from relprop.tools.testbed.bench import Bench, Bools, Example, Floats, Measure, share
from relprop.tools.testbed.mosaics import CELLS, box, cell, fours, joined


class Apart(nn.Module):
    """A network on each of the four cells of a mosaic: (B, 3, 2 H, 2 W) to (B, 4 C) logits, cell by cell.

    Args:
        network: takes (B, 3, H, W) and gives (B, C).

    Example:
        >>> net = Apart(nn.Sequential(nn.Flatten(), nn.Linear(12, 5))).eval()
        >>> net(torch.zeros(1, 3, 4, 4)).shape
        torch.Size([1, 20])
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.train(network.training)
        if preprocess := getattr(network, "preprocess", None):
            self.preprocess = preprocess
        if isinstance(patterns := getattr(network, "patterns", None), Patterns):
            self.patterns = self._of_every_cell(patterns)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the four cells, side by side."""
        height, width = (side // 2 for side in x.shape[2:])
        cells = [
            x[:, :, row * height : (row + 1) * height, column * width : (column + 1) * width] for row, column in CELLS
        ]
        return torch.cat([self.network(each) for each in cells], 1)

    def _of_every_cell(self, patterns: Patterns) -> Patterns:
        """The network's patterns, for each of its four calls."""
        layers: dict[str, Any] = {}
        for key, pattern in patterns.layers.items():
            path, _, call = key.rpartition("#")
            if call != "1":
                return patterns  # called more than once even alone: whose is whose cannot be told, and they are refused
            layers |= {f"network.{path}#{k + 1}": pattern for k in range(len(CELLS))}
        return Patterns(layers, weights_hash(self), patterns.samples, patterns.source)


def bench(model: nn.Module, number: int, seed: int) -> Bench:
    """Return the bench of mosaics whose cells are seen apart; in each another cell's class is explained.

    Args:
        model: the network.
        number: mosaics.
        seed: of the pictures.
    """
    side = 2 * SIDE
    drawn = [(joined([picture for picture, _ in four]), [label for _, label in four]) for four in fours(number, seed)]
    asked = [(k % len(CELLS), labels[k % len(CELLS)]) for k, (_, labels) in enumerate(drawn)]
    masks = np.stack([cell(k, side) for k, _ in asked])
    return Bench(
        "cells apart",
        Apart(model),
        np.stack([picture for picture, _ in drawn]),
        torch.tensor([k * len(CLASSES) + label for k, label in asked]),
        (
            Measure(
                "DiFull",
                "where the cells of a mosaic go through the network apart, the share of relevance, whatever its sign, "
                "that lies in the only cell that can matter; every sound method has exactly 1, a uniform map 0.25",
                1.0,
                lambda R: inside(R, masks),
                np.arange(number),
                masks.astype(np.float64),
            ),
        ),
        (),
        Example(0, f"cells apart: {CLASSES[asked[0][1]]}", (box(asked[0][0], side),)),
    )


def inside(R: Floats, masks: Bools) -> Floats:
    """Return the share of the absolute relevance inside each mask: 1 where there is none outside, not nearly none."""
    magnitude = np.abs(R)
    within = np.array([r[mask].sum() for r, mask in zip(magnitude, masks, strict=True)])
    without = np.array([r[~mask].sum() for r, mask in zip(magnitude, masks, strict=True)])
    return share(within, within + without)
