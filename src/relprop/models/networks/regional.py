"""A segmentation network at one place: logits of classes, as of a classifier, instead of a map of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from relprop.support.errors import InputError

Box = tuple[int, int, int, int]
"""x0, y0, x1, y1 in pixels of the network's input, half-open."""


class Regional(nn.Module):
    """Gives the mean logit of each class over a region of the map of logits that a segmentation network gives.

    Args:
        network: (B, 3, H, W) to a map (B, classes, H, W), or to a mapping with such a map as "out".
        region: where; None: everywhere.

    Raises:
        InputError: when it is called, if the network gives no such map, or the region is not within it.

    Example:
        >>> import torch
        >>> net = Regional(torch.nn.Conv2d(3, 21, 1), (2, 3, 4, 5))
        >>> net(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 21])
    """

    def __init__(self, network: nn.Module, region: Box | None = None) -> None:
        super().__init__()
        self.network = network
        self.region = region
        self.train(network.training)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, classes)."""
        found = map_in(self.network(x))
        if found is None:
            raise InputError("a pixel or a region is of a network that gives a map of logits (B, classes, H, W)")
        height, width = found.shape[2:]
        x0, y0, x1, y1 = self.region or (0, 0, width, height)
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise InputError(f"the region {x0},{y0},{x1},{y1} is not within the map of {width}x{height} pixels")
        return found[:, :, y0:y1, x0:x1].mean((2, 3))


def map_in(returned: Any) -> Tensor | None:
    """The map of logits (B, classes, H, W) in what a network returned; None: there is none."""
    found = returned.get("out") if isinstance(returned, Mapping) else returned
    return found if isinstance(found, Tensor) and found.ndim == 4 else None
