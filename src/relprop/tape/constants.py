"""Constants of a call: tensors that no record follows, and whether somebody wrote to them since."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from relprop.tape.torch_internals import version

SAMPLED = 16
"""So many numbers of each weight are remembered."""


class Constant(NamedTuple):
    """An unrecorded tensor among the arguments of a call, and what tells whether somebody wrote to it since."""

    tensor: Tensor
    version: int
    sample: Tensor

    @classmethod
    def of(cls, tensor: Tensor) -> Constant:
        """As it is now."""
        return cls(tensor, version(tensor), sample_of(tensor))

    @property
    def changed(self) -> bool:
        """Whether it holds other numbers than it did, as far as a few of them tell."""
        now = sample_of(self.tensor)
        same = now.shape == self.sample.shape and now.dtype == self.sample.dtype
        return version(self.tensor) != self.version or not (same and torch.equal(now, self.sample))


def sample_of(tensor: Tensor) -> Tensor:
    """A few numbers of a tensor: they change with it, also by ways that torch does not count."""
    tensor = tensor.detach()
    if tensor.layout is not torch.strided:
        return torch.empty(0)
    if not tensor.is_contiguous() or tensor.numel() <= SAMPLED:
        return (
            tensor.flatten()[: 4 * SAMPLED].nan_to_num().clone() if tensor.is_floating_point() else tensor.new_empty(0)
        )
    return tensor.view(-1)[:: tensor.numel() // SAMPLED][:SAMPLED].nan_to_num()
