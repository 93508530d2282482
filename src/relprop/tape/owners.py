"""Which picture of the batch each position of a tensor belongs to.

Inside a model the batch is not always axis 0 (patches folded into the batch, sequence-first layouts), so every
recorded value knows its owners. The ledger sums by them, and an op that mixes pictures is found.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from relprop.rules.division import BLOCK, at_once, sums_in


@dataclass(frozen=True, eq=False)
class Owners:
    """Whose picture each position of a tensor is.

    Attributes:
        index: the picture, an integer tensor of the tensor's axes, of size 1 along each axis that does not matter:
            (B, 1, 1, 1) for the usual (B, C, H, W).
        batch: the number of pictures B.
    """

    index: Tensor
    batch: int

    @property
    def batch_first(self) -> bool:
        """Whether the first axis is the batch, in its own order."""
        index, batch = self.index, self.batch
        return bool(
            index.ndim
            and index.numel() == index.shape[0] == batch
            and (index is (usual := in_order(batch, index.ndim).index) or torch.equal(index, usual))
        )

    def rows(self, shape: torch.Size) -> int:
        """Into how many rows, one a picture, a tensor of this shape can be cut as it lies; 0 if it cannot."""
        return self.batch if self.batch == 1 or self.first_axis_of(shape) else 0

    def first_axis_of(self, shape: torch.Size) -> bool:
        """Whether the first axis of this shape is the batch, and nothing else."""
        return bool(shape) and shape[0] == self.batch and self.batch_first

    def total(self, R: Tensor) -> Tensor:
        """Sum relevance (T, *shape) per map and picture, (T, B), in at least float32."""
        dtype = sums_in(R.dtype)
        if self.batch == 1:
            return R.reshape(len(R), -1).sum(1, keepdim=True, dtype=dtype)
        if self.batch_first:
            return R.flatten(2).sum(2, dtype=dtype) if R.ndim > 2 else R.to(dtype, copy=True)  # R may be overwritten
        idle = [axis + 1 for axis, size in enumerate(self.index.shape) if size == 1]
        R = R.sum(idle, keepdim=True, dtype=dtype) if idle else R.to(dtype)
        index = self.index.to(R.device).flatten()
        return R.new_zeros(R.shape[0], self.batch).index_add_(1, index, R.reshape(len(R), -1))

    def magnitude(self, R: Tensor) -> Tensor:
        """Sum absolute relevance (T, *shape) per map and picture, (T, B)."""
        rows = self.rows(R.shape[1:])
        if not rows:
            return self.total(R.abs())
        blocks = R.reshape(len(R), rows, -1).split(max(at_once(R, BLOCK) // rows, 1), 2)  # nothing large is allocated
        sums = [block.abs().sum(2, dtype=sums_in(R.dtype)) for block in blocks]
        return sums[0] if len(sums) == 1 else torch.stack(sums).sum(0)


@lru_cache(maxsize=256)
def one_owner(ndim: int, batch: int = 1) -> Owners:
    """All positions belong to the first picture; what is known of a tensor of a single picture."""
    return Owners(torch.zeros([1] * ndim, dtype=torch.long, device="cpu"), batch)


@lru_cache(maxsize=256)
def in_order(batch: int, ndim: int) -> Owners:
    """The first axis is the batch."""
    return Owners(torch.arange(batch, device="cpu").view(batch, *[1] * (ndim - 1)), batch)
