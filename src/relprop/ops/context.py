"""What the functions that hand relevance down need to know beside their node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from relprop.rules.division import BLOCK, sums_in
from relprop.tape.owners import is_batch_first, total

if TYPE_CHECKING:
    from torch import Tensor

    from relprop.tape.tape import Value


@dataclass
class Context:
    """The conventions of one walk, and what is known where it is now.

    Attributes:
        batch: the number of pictures B.
        dtype: of relevance, and of all that rules compute.
        ties: "first" or "split": how a max-pool treats equal winners.
        spend: whether nobody else needs the relevance from above, so that it may be overwritten.
        vanishes: whether that relevance is proved to be 0 wherever the output, as it is held, is 0.
        shared: whether more than one rule works at this op.
        memo: what was made for this op, whatever rules work there.
    """

    batch: int
    dtype: torch.dtype
    ties: str = "first"
    spend: bool = False
    vanishes: bool = False
    shared: bool = False
    memo: dict[str, Any] = field(default_factory=dict)

    def data(self, value: Value) -> Tensor:
        """A value's numbers in the precision of relevance."""
        return value.data.to(self.dtype)

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """What is made once for an op, whatever rules work there."""
        if key not in self.memo:
            self.memo[key] = make()
        return self.memo[key]

    def total(self, R: Tensor, value: Value) -> Tensor:
        """The sum of relevance (T, *value.shape) per map and picture, (T, B)."""
        return total(R, value.samples, self.batch)

    def magnitude(self, R: Tensor, value: Value) -> Tensor:
        """The sum of absolute relevance per map and picture, (T, B)."""
        rows = self.rows(value)
        if not rows:
            return self.total(R.abs(), value)
        blocks = R.reshape(len(R), rows, -1).split(max(BLOCK // rows, 1), 2)  # so that nothing large is allocated
        sums = [block.abs().sum(2, dtype=sums_in(R.dtype)) for block in blocks]
        return sums[0] if len(sums) == 1 else torch.stack(sums).sum(0)

    def rows(self, value: Value) -> int:
        """Into how many rows, one a picture, a value's numbers can be cut as they lie; 0 if they cannot."""
        return self.batch if self.batch == 1 or self.first_axis(value) else 0

    def first_axis(self, value: Value) -> bool:
        """Whether the first axis of a value is the batch, and nothing else."""
        return bool(value.shape) and value.shape[0] == self.batch and is_batch_first(value.samples, self.batch)
