"""How numbers go forward with given weights, and how relevance comes back with them.

Everything that a rule asks of a layer is made of this (see `ops.layer`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from relprop.rules.division import divide


class LinearMap(Protocol):
    """What a linear op does, apart from its numbers: z_j = sum_i x_i w_ij + b_j."""

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        """sum_i x_i w_ij + b_j."""
        ...

    def backward(self, s: Tensor, w: Tensor, shape: torch.Size) -> Tensor:
        """sum_j w_ij s_j, for s with an axis of maps in front; (T, *shape)."""
        ...

    # For the flat rule: all inputs of an output are alike.

    def count(self, x: Tensor, w: Tensor, real: Tensor | None = None) -> Tensor:
        """The number of real inputs of each output, broadcastable to it.

        Args:
            x: input, of which only the shape matters.
            w: weight, likewise.
            real: where the input is no constant, broadcastable to x; None: everywhere.
        """
        ...

    def area(self, w: Tensor) -> int:
        """The number of inputs of an output that no padding touches."""
        ...

    def spread(self, R: Tensor, d: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """sum_j R_j / d_j over the outputs that each input is connected with; (T, *x.shape)."""
        ...


class NeuronMap(LinearMap, Protocol):
    """A linear op whose outputs are neurons, each with weights of its own: a BatchNorm can be merged into it."""

    def scale(self, w: Tensor, factor: Tensor) -> Tensor:
        """The weights with each neuron's multiplied by a factor, (neurons,)."""
        ...

    def channels(self, ndim: int) -> tuple[int, ...]:
        """The shape in which a number per neuron is broadcast to an output of so many axes."""
        ...


class Linear:
    """z = x w^T on the last axis: w is (out, in)."""

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        """sum_i x_i w_ij + b_j."""
        return F.linear(x, w, b)

    def backward(self, s: Tensor, w: Tensor, shape: torch.Size) -> Tensor:
        """sum_j w_ij s_j; (T, *shape)."""
        return (s @ w).view(s.shape[0], *shape)

    def scale(self, w: Tensor, factor: Tensor) -> Tensor:
        """The weights with each output scaled, (out,)."""
        return w * factor[:, None]

    def channels(self, ndim: int) -> tuple[int, ...]:
        """The last axis."""
        del ndim
        return (-1,)

    def count(self, x: Tensor, w: Tensor, real: Tensor | None = None) -> Tensor:
        """All real inputs, of every output."""
        return x.new_full((1,), w.shape[1]) if real is None else _as_mask(real, x).sum(-1, keepdim=True)

    def area(self, w: Tensor) -> int:
        """All inputs."""
        return int(w.shape[1])

    def spread(self, R: Tensor, d: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """sum_j R_j / d_j, the same for every input."""
        del w
        return divide(R, d).sum(-1, keepdim=True).expand(-1, *x.shape)


@dataclass(frozen=True)
class Product:
    """Matrix products with a constant: x w (w on the right) or w x (on the left); w may be a batch of matrices."""

    right: bool

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        """sum_i x_i w_ij + b_j."""
        z = x @ w if self.right else w @ x
        return z if b is None else z.add_(b)

    def backward(self, s: Tensor, w: Tensor, shape: torch.Size) -> Tensor:
        """sum_j w_ij s_j; (T, *shape)."""
        out = s @ w.mT if self.right else w.mT @ s
        return out.view(s.shape[0], *shape)

    def scale(self, w: Tensor, factor: Tensor) -> Tensor:
        """The weights with each output scaled, (out,)."""
        return w * factor.view(self.channels(2))

    def channels(self, ndim: int) -> tuple[int, ...]:
        """The last axis, or the one before it."""
        del ndim
        return (-1,) if self.right else (-1, 1)

    def count(self, x: Tensor, w: Tensor, real: Tensor | None = None) -> Tensor:
        """All real inputs, of every output."""
        if real is None:
            return x.new_full((1,), self.area(w))
        return _as_mask(real, x).sum(-1 if self.right else -2, keepdim=True)

    def area(self, w: Tensor) -> int:
        """All inputs."""
        return int(w.shape[-2 if self.right else -1])

    def spread(self, R: Tensor, d: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """sum_j R_j / d_j, the same for every input."""
        del w
        return divide(R, d).sum(-1 if self.right else -2, keepdim=True).expand(-1, *x.shape)


class Elementwise:
    """z_i = w_i x_i + b_i: each output has one input, so the flat rule passes relevance."""

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        """x_i w_i + b_i."""
        return x * w if b is None else torch.addcmul(b, x, w)

    def backward(self, s: Tensor, w: Tensor, shape: torch.Size) -> Tensor:
        """w_i s_i; (T, *shape)."""
        return (s * w).view(s.shape[0], *shape)

    def count(self, x: Tensor, w: Tensor, real: Tensor | None = None) -> Tensor:
        """One, or none."""
        del w
        return torch.ones_like(x) if real is None else _as_mask(real, x)

    def area(self, w: Tensor) -> int:
        """One."""
        del w
        return 1

    def spread(self, R: Tensor, d: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """R_i / d_i."""
        del x, w
        return divide(R, d)


def _as_mask(real: Tensor, x: Tensor) -> Tensor:
    """One where an input is real, else zero; x's shape."""
    return real.to(x.dtype).expand(x.shape)
