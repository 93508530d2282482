"""Relevance that waits at a value, and where in memory it lies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from relprop.rules.division import sums_in
from relprop.tape.tape import Value
from relprop.tape.torch_internals import base_of


@dataclass(eq=False)
class Waiting:
    """Relevance that came to a value and was not handed down yet.

    Attributes:
        R: (T, *value.shape).
        total: its sum per map and picture, (T, B).
        magnitude: the sum of its absolute values, (T, B); None until somebody asks.
        vanishes: whether it is proved to be 0 wherever the value, as it is held, is not positive.
    """

    R: Tensor
    total: Tensor
    magnitude: Tensor | None = None
    vanishes: bool = False

    @classmethod
    def at(cls, value: Value, R: Tensor, *, vanishes: bool = False) -> Waiting:
        """Relevance R, (T, *value.shape)."""
        return cls(R, value.owners.total(R), vanishes=vanishes)

    @classmethod
    def none(cls, value: Value, maps: int, dtype: torch.dtype) -> Waiting:
        """No relevance, in so many maps."""
        R = torch.zeros(maps, *value.shape, dtype=dtype, device=value.data.device)
        zeros = R.new_zeros(maps, value.owners.batch, dtype=sums_in(R.dtype))
        return cls(R, zeros, zeros, vanishes=True)

    def __add__(self, other: Waiting) -> Waiting:
        return Waiting(self.R + other.R, self.total + other.total, vanishes=self.vanishes and other.vanishes)

    def part(self, maps: slice) -> Waiting:
        """Some of its maps."""
        magnitude = None if self.magnitude is None else self.magnitude[maps]
        return Waiting(self.R[maps], self.total[maps], magnitude, self.vanishes)

    def repeated(self, times: int) -> Waiting:
        """Each of its maps so many times, one after the other."""
        magnitude = None if self.magnitude is None else self.magnitude.repeat_interleave(times, 0)
        again = (self.R.repeat_interleave(times, 0), self.total.repeat_interleave(times, 0))
        return Waiting(*again, magnitude, self.vanishes)

    def magnitude_at(self, value: Value) -> Tensor:
        """The sum of absolute relevance per map and picture, made once."""
        if self.magnitude is None:
            self.magnitude = value.owners.magnitude(self.R)
        return self.magnitude


def stacked(each: list[Waiting]) -> Waiting:
    """The maps of all, one after the other."""
    if len(each) == 1:
        return each[0]
    stack = common_stack([waiting.R for waiting in each])
    sizes = [waiting.magnitude for waiting in each if waiting.magnitude is not None]
    return Waiting(
        torch.cat([waiting.R for waiting in each]) if stack is None else stack,
        torch.cat([waiting.total for waiting in each]),
        torch.cat(sizes) if len(sizes) == len(each) else None,
        all(waiting.vanishes for waiting in each),
    )


def common_stack(maps: Sequence[Tensor]) -> Tensor | None:
    """The stack that these maps are consecutive slices of, if they are all of one; nothing needs to be copied then."""
    base = base_of(maps[0])
    if base is None or base.shape[1:] != maps[0].shape[1:] or not base.is_contiguous():
        return None
    place = base.data_ptr()
    for R in maps:
        if base_of(R) is not base or R.data_ptr() != place or not R.is_contiguous():
            return None
        place += R.numel() * R.element_size()
    return base if place == base.data_ptr() + base.numel() * base.element_size() else None


def addresses(R: Tensor) -> tuple[int, int]:
    """The addresses that a tensor lies between."""
    if R.is_contiguous():
        return R.data_ptr(), R.data_ptr() + R.numel() * R.element_size()
    whole = R.untyped_storage()
    return whole.data_ptr(), whole.data_ptr() + whole.nbytes()


def sum_over(terms: Iterable[Tensor]) -> Tensor:
    """The sum of tensors of one shape."""
    first, *others = terms
    return torch.stack([first, *others]).sum(0) if others else first
