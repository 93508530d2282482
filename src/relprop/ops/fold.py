"""Back from a broadcast shape to the one that was repeated."""

from __future__ import annotations

import torch
from torch import Tensor


def fold(R: Tensor, shape: torch.Size) -> Tensor:
    """Sum relevance (T, *broadcast shape) over the axes that a term of this shape was repeated along."""
    wide = [1] * (R.ndim - 1 - len(shape)) + list(shape)
    repeated = [axis + 1 for axis, n in enumerate(wide) if n == 1 and R.shape[axis + 1] != 1]
    R = R.sum(repeated, keepdim=True) if repeated else R
    return R.reshape(R.shape[0], *shape)
