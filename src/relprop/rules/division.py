"""The only division by a network's own numbers: a sign-aware epsilon, and 0 where nothing can be divided.

Convention (the original paper's): sign(0) = +1.
"""

from collections.abc import Callable

import torch
from torch import Tensor

BLOCK = 2**18
"""Numbers that are worked on at a time: they stay in the processor's cache, and nothing large is allocated."""


ON_DEVICE = 2**26
"""The same on anything but the CPU, which is kept busy by large kernels alone."""


def at_once(t: Tensor, on_cpu: int) -> int:
    """How many numbers are worked on at a time where a tensor lies."""
    return on_cpu if t.device.type == "cpu" else ON_DEVICE


def least(dtype: torch.dtype) -> float:
    """The least denominator: relevance divided by a smaller one would outgrow its precision."""
    return float(torch.finfo(dtype).tiny) * 2.0**20


def sums_in(dtype: torch.dtype) -> torch.dtype:
    """The precision in which numbers of this one are summed: at least float32."""
    return torch.promote_types(dtype, torch.float32)


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
        eps: at least 0; with 0 a z of exactly zero (or too small to be divided by, see `least`) has no share to
            hand out and gives 0.

    Returns:
        The quotient, (T, *z.shape).
    """
    d = stabilize(z, eps)
    if eps < least(d.dtype) and any_empty(d):
        d = d.masked_fill(empty(d), torch.inf)  # a number divided by infinity is 0
    return R / d


def empty(d: Tensor) -> Tensor:
    """Where a denominator is zero for all that can be computed with it (boolean, the shape of d)."""
    return d.abs() < least(d.dtype)


def any_empty(d: Tensor) -> bool:
    """Whether a denominator is, or is no number: to ask for the smallest is several times faster than to ask each."""
    return bool(d.numel()) and not float(d.abs().amin()) >= least(d.dtype)


def taken(R: Tensor, s: Tensor, z: Tensor, eps: float) -> Tensor | None:
    """What epsilon took, eps sign(z) s, and all of R where the denominator is empty; None for nothing.

    Args:
        R: what was divided, (T, *z.shape).
        s: divide(R, z, eps).
        z: the denominator before stabilisation.
        eps: as given to `divide`.
    """
    if eps >= least(z.dtype):
        return s * (eps * sign(z))
    d = stabilize(z, eps)
    return R * empty(d) if any_empty(d) else None


def quotient(
    R: Tensor,
    z: Tensor,
    eps: float,
    scale: float,
    *,
    rows: int,
    total: Callable[[Tensor], Tensor],
    into: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Scale R / (z + eps sign(z)), and the sum per map and picture of what eps and empty denominators took.

    Args:
        R: relevance, (T, *z.shape).
        z: the denominator before stabilisation.
        eps: at least 0.
        scale: a factor.
        rows: into how many rows, one a picture, z can be cut as it lies; 0 if it cannot.
        total: sums relevance per map and picture, where it cannot.
        into: R or z (z if T is 1), if it may be overwritten by the quotient.
    """
    if not rows or z.shape != R.shape[1:]:
        s = divide(R, z, eps)
        took = taken(R, s, z, eps)
        return s.mul_(scale), total(torch.zeros_like(R) if took is None else took) * scale
    if not (R.is_contiguous() and z.is_contiguous()):
        R, z, into = R.contiguous(), z.contiguous(), None
    return divide_rows(R, z, rows, eps, scale, into)


def divide_rows(
    R: Tensor, z: Tensor, rows: int, eps: float, scale: float, into: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Do what `divide` and `taken` do, block by block, and multiply both by `scale`.

    Args:
        R: (T, *z.shape), contiguous.
        z: contiguous.
        rows: into how many rows z is cut, one a picture.
        eps: as for `divide`.
        scale: a factor.
        into: R or z, if it may be overwritten by the quotient (z if T is 1).

    Returns:
        The quotient, (T, *z.shape), and the sum of what was taken, (T, rows).
    """
    d = z.view(1, rows, -1)
    upper = R.view(len(R), rows, -1)
    out = upper if into is R else d if into is z else torch.empty_like(upper)
    took = R.new_zeros(len(R), rows, dtype=sums_in(R.dtype))
    width = max(at_once(R, BLOCK) // rows, 1)
    for start in range(0, d.shape[2], width):
        at = slice(start, start + width)
        took += _divide_block(upper[:, :, at], d[:, :, at], eps, out[:, :, at])
        if scale != 1:
            out[:, :, at].mul_(scale)
    return out.view(R.shape), took if scale == 1 else took * scale


def _divide_block(R: Tensor, z: Tensor, eps: float, out: Tensor) -> Tensor | float:
    """The quotient goes to `out`, which may be R or z; what was taken is given, (T, rows)."""
    tiny, dtype = least(z.dtype), sums_in(z.dtype)
    if eps >= tiny:
        if float(z.amin()) >= 0:  # the numbers of a ReLU
            torch.div(R, z + eps, out=out)
            return eps * out.sum(2, dtype=dtype)
        e = torch.copysign(z.new_tensor(eps), z + 0.0)  # -0 + 0 is +0
        torch.div(R, z + e, out=out)
        return (out * e).sum(2, dtype=dtype)
    d = stabilize(z, eps)
    took: Tensor | float = 0.0
    if any_empty(d):
        nothing = empty(d)
        took = (R * nothing).sum(2, dtype=dtype)
        d = d.masked_fill(nothing, torch.inf)
    torch.div(R, d, out=out)
    return took
