"""How much of a map lies on how few pixels: the Gini index and the entropy of its absolute values.

Sources: Chalasani et al., "Concise Explanations of Neural Networks using Adversarial Training" (2020), sparseness by
the Gini index of Hurley and Rickard (2009); Bhatt et al., "Evaluating and Aggregating Feature-based Model Explanations"
(2020), complexity. Neither looks at the object or at the network: a map can be sparse and wrong.
"""

from __future__ import annotations

import torch
from torch import Tensor

from relprop.metrics.arrays import Array
from relprop.metrics.localization import checked_plane, precision


def sparseness(R: Array) -> Tensor:
    """Return the Gini index of each map's absolute values, (B,), from 0 (the same everywhere) to 1 - 1 / pixels.

    Args:
        R: relevance, (B, C, H, W), summed over channels first, or (B, H, W).

    Returns:
        NaN where the map is zero everywhere or not finite.

    Raises:
        InputError: the shape is another.

    Example:
        >>> import torch, relprop as rp
        >>> rp.metrics.sparseness(torch.ones(1, 8, 8))
        tensor([0.])
    """
    sizes = checked_plane(R).abs().flatten(1)
    pixels = sizes.shape[1]
    weights = 2 * torch.arange(1, pixels + 1, dtype=torch.float64, device=sizes.device) - pixels - 1
    found = [(weights * row).sum() / (pixels * row.sum()) for row in sizes.sort(dim=1).values]
    return _defined(found, sizes).to(precision(R))


def complexity(R: Array) -> Tensor:
    """Return the entropy of each map's absolute values as shares of their sum, (B,), in nats.

    Args:
        R: relevance, (B, C, H, W), summed over channels first, or (B, H, W).

    Returns:
        From 0 (one pixel has all) to the logarithm of the number of pixels (the same everywhere); NaN where the map is
        zero everywhere or not finite.

    Raises:
        InputError: the shape is another.

    Example:
        >>> import torch, relprop as rp
        >>> rp.metrics.complexity(torch.ones(1, 8, 8))  # the logarithm of 64
        tensor([4.1589])
    """
    sizes = checked_plane(R).abs().flatten(1)
    found = [torch.special.entr(row / row.sum()).sum() for row in sizes]
    return _defined(found, sizes).to(precision(R))


def _defined(values: list[Tensor], sizes: Tensor) -> Tensor:
    """Put the pictures' values together, NaN where the map says nothing."""
    total = sizes.sum(1)
    stacked = torch.stack(values) if values else total
    return torch.where((total > 0) & total.isfinite(), stacked, torch.nan)
