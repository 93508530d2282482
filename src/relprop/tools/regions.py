"""The region of a map: the box that its positive relevance lies in."""

from __future__ import annotations

from torch import Tensor

Region = tuple[tuple[int, int], ...]
"""For each axis the first place and the one behind the last."""

SHARE = 0.8
"""Of the positive relevance, along each axis, that lies within a region."""


def region_of(R: Tensor, share: float = SHARE) -> Region | None:
    """Return the box that positive relevance lies in.

    Along each axis it reaches from where a tenth of the positive relevance lies before it to where a tenth lies behind
    it, so that a few stray pixels do not blow it up to the whole picture.

    Args:
        R: the map of one picture, (C, H, W), of a series (C, L), a volume (C, D, H, W), or (F,); channels are summed.
        share: of the positive relevance, that lies between the ends of each axis.

    Returns:
        ((top, bottom), (left, right)), half-open; None where no relevance is positive.

    Example:
        >>> import torch
        >>> R = torch.zeros(3, 8, 8)
        >>> R[:, 2:4, 5] = 1.0
        >>> region_of(R)
        ((2, 4), (5, 6))
    """
    positive = (R.double().sum(0) if R.ndim > 1 else R.double()).clamp(min=0)
    whole = float(positive.sum())
    if whole <= 0:
        return None
    tail = (1 - share) / 2 * whole
    ends = []
    for axis in range(positive.ndim):
        others = [other for other in range(positive.ndim) if other != axis]
        before = (positive.sum(others) if others else positive).cumsum(0)
        first = int((before <= tail).sum())
        last = int((before < float(before[-1]) - tail).sum())
        ends.append((first, last + 1))
    return tuple(ends)
