"""What the functions that hand relevance down need to know beside their node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from relprop.samples import is_batch_first, total

if TYPE_CHECKING:
    from torch import Tensor

    from relprop.tape import Value


@dataclass(frozen=True)
class Context:
    """The conventions of one walk.

    Attributes:
        batch: the number of pictures B.
        dtype: of relevance: that of the input, at least float32.
        ties: "first" or "split": how a max-pool treats equal winners.
    """

    batch: int
    dtype: torch.dtype
    ties: str = "first"

    def data(self, value: Value) -> Tensor:
        """A value's numbers in the precision of relevance."""
        return value.data.to(self.dtype)

    def total(self, R: Tensor, value: Value) -> Tensor:
        """The sum of relevance (T, *value.shape) per map and picture, (T, B)."""
        return total(R, value.samples, self.batch)

    def magnitude(self, R: Tensor, value: Value) -> Tensor:
        """The sum of absolute relevance per map and picture, (T, B)."""
        if is_batch_first(value.samples, self.batch):
            size: Tensor = torch.linalg.vector_norm(R.reshape(len(R), self.batch, -1), 1, dim=2)
            return size
        return self.total(R.abs(), value)
