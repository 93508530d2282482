"""The only division by a network's own numbers: a sign-aware epsilon, and 0 where nothing can be divided.

Convention (the original paper's): sign(0) = +1.
"""

import torch
from torch import Tensor


def sign(z: Tensor) -> Tensor:
    """Return +1 or -1 for every number, with +1 for zero; the shape and dtype of z."""
    return torch.ones_like(z).copysign_(z.where(z != 0, 1.0))


def stabilize(z: Tensor, eps: float) -> Tensor:
    """Z + eps sign(z): never closer to zero than eps."""
    return z + eps * sign(z) if eps else z


def divide(R: Tensor, z: Tensor, eps: float = 0.0) -> Tensor:
    """R / (z + eps sign(z)), and 0 where that denominator is empty.

    Args:
        R: relevance from above, (T, *z.shape).
        z: the denominator before stabilisation.
        eps: at least 0; with 0 a z of exactly zero (or too small to be divided by: below the smallest
            normal number of its dtype) has no share to hand out and gives 0.

    Returns:
        The quotient, (T, *z.shape).
    """
    d = stabilize(z, eps)
    if eps >= torch.finfo(d.dtype).tiny:
        return R / d
    return torch.where(empty(d), 0.0, R / d)


def empty(d: Tensor) -> Tensor:
    """Where a denominator is zero for all that can be computed with it (boolean, the shape of d)."""
    return d.abs() < torch.finfo(d.dtype).tiny


def epsilon_share(R: Tensor, s: Tensor, z: Tensor, eps: float) -> Tensor:
    """The part of R that went to epsilon: eps sign(z) s, and all of R where the denominator is empty.

    Args:
        R: what was divided, (T, *z.shape).
        s: divide(R, z, eps).
        z: the denominator before stabilisation.
        eps: as given to `divide`.
    """
    if eps >= torch.finfo(z.dtype).tiny:
        return s * (eps * sign(z))
    return torch.where(empty(stabilize(z, eps)), R, 0.0)
