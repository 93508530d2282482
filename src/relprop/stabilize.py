"""The only division by a network's own numbers: a sign-aware epsilon, and 0 where nothing can be divided.

Convention (the original paper's): sign(0) = +1.
"""

import torch
from torch import Tensor


def sign(z: Tensor) -> Tensor:
    """Return +1 or -1 for every number, with +1 for zero; the shape and dtype of z."""
    return torch.where(z >= 0, 1.0, -1.0).to(z.dtype)


def stabilize(z: Tensor, eps: float) -> Tensor:
    """Move z away from zero: z + eps sign(z)."""
    return torch.where(z >= 0, z + eps, z - eps) if eps else z


def divide(R: Tensor, z: Tensor, eps: float = 0.0) -> Tensor:
    """Divide relevance by z + eps sign(z); 0 where that denominator is empty.

    Args:
        R: relevance from above, (T, *z.shape).
        z: the denominator before stabilisation.
        eps: at least 0; with 0 a z of exactly zero (or too small to be divided by: below the smallest
            normal number of its dtype) has no share to hand out and gives 0.

    Returns:
        The quotient, (T, *z.shape).
    """
    d = stabilize(z, eps)
    if eps < torch.finfo(d.dtype).tiny:
        d = d.masked_fill(empty(d), torch.inf)  # a number divided by infinity is 0
    return R / d


def empty(d: Tensor) -> Tensor:
    """Where a denominator is zero for all that can be computed with it (boolean, the shape of d)."""
    return d.abs() < torch.finfo(d.dtype).tiny
