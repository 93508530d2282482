"""The judge's own definitions of functions that few networks have: each as a sum of its inputs times fixed factors.

A definition is called like the function, and gives its numbers, so that the slope of what it gives times the input is
what each number is worth under LRP_z:

- a length, a deviation, a determinant are sum_i x_i f_i with f_i held fixed;
- a product of n factors is the mean of n products, in each of which one factor alone is not held fixed;
- the logarithm of a sum of exponentials is its tangent;
- a row of functions of each number, one of which has no value at 0, is one function, (f(x) - f(0)) / x times x.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def held(t: Any) -> Any:
    """A tensor held fixed."""
    return t.detach() if isinstance(t, Tensor) else t


def length(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """X . x / |x|, of the usual length alone."""
    order = kwargs.get("p", kwargs.get("ord", args[0] if args else 2))
    if order not in (2, 2.0, "fro", None):
        raise NotImplementedError
    dim, keepdim = kwargs.get("dim", args[1] if len(args) > 1 else None), kwargs.get("keepdim", False)
    axes = tuple(range(x.ndim)) if dim is None else dim
    size = held(x).square().sum(axes, keepdim=True).sqrt()
    return (x * (held(x) / size)).sum(axes, keepdim=keepdim)


def spread(x: Tensor, dim: Any = None, *args: Any, root: bool, keepdim: bool = False, **kwargs: Any) -> Tensor:
    """Of deviations from the mean, each of which is worth x times itself."""
    if args or isinstance(dim, bool) or set(kwargs) - {"unbiased", "correction"}:
        raise NotImplementedError
    axes = tuple(range(x.ndim)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    less = kwargs.get("correction", int(kwargs.get("unbiased", True)))
    d = held(x) - held(x).mean(axes, keepdim=True)
    n = torch.Size(d.shape[axis] for axis in axes).numel()
    variance = (x * d).sum(axes, keepdim=keepdim) / (n - less)
    return variance / held(variance).sqrt() if root else variance


def product(x: Tensor, dim: int) -> Tensor:
    """One factor after the other."""
    parts = x.unbind(dim)
    whole = torch.zeros_like(parts[0])
    for k, part in enumerate(parts):
        others = [held(other) for other in (*parts[:k], *parts[k + 1 :])]
        whole = whole + part * (torch.stack(others).prod(0) if others else 1.0)
    return whole / len(parts)


def running_product(x: Tensor, dim: int) -> Tensor:
    """Of the first, of the first two, ..."""
    return torch.stack([product(x.narrow(dim, 0, n), dim) for n in range(1, x.shape[dim] + 1)], dim)


def tangent(x: Tensor, dim: int, *, keepdim: bool = False) -> Tensor:
    """Log sum exp(x): its slopes are a softmax."""
    A = held(x).softmax(dim)
    y = held(x).logsumexp(dim, keepdim=keepdim)
    linear = (A * x).sum(dim, keepdim=keepdim)
    return linear + (y - held(linear))


def log_softmax(x: Tensor, dim: int, **_: Any) -> Tensor:
    """The numbers less the logarithm of their sum."""
    return x - tangent(x, dim, keepdim=True)


def running_tangent(x: Tensor, dim: int) -> Tensor:
    """Of the first, of the first two, ..."""
    return torch.stack([tangent(x.narrow(dim, 0, n), dim) for n in range(1, x.shape[dim] + 1)], dim)


def tangent_of_two(a: Tensor, b: Tensor) -> Tensor:
    """log(exp(a) + exp(b))."""
    a, b = torch.broadcast_tensors(a, b)
    return tangent(torch.stack([a, b]), 0)


def hypotenuse(a: Tensor, b: Tensor) -> Tensor:
    """(a a + b b) / c."""
    c = torch.hypot(held(a), held(b))
    return a * (held(a) / c) + b * (held(b) / c)


def distance(a: Tensor, b: Tensor, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The length of a - b + eps."""
    return length(a - b + eps, 2, -1, keepdim=keepdim)


def distances(a: Tensor, b: Tensor, p: float = 2.0, compute_mode: Any = None) -> Tensor:
    """The usual length of every difference of rows."""
    del compute_mode
    return length(a[..., :, None, :] - b[..., None, :, :], p, -1)


def determinant(A: Tensor) -> Tensor:
    """The mean over its rows of what each row times its cofactors is: the determinant, every time."""
    cofactors = torch.linalg.det(held(A))[..., None, None] * torch.linalg.inv(held(A)).mT
    return (A * cofactors).sum((-2, -1)) / A.shape[-1]


def singular_values(A: Tensor) -> Tensor:
    """u^T A v for the vectors u and v that belong to each."""
    U, _, Vh = torch.linalg.svd(held(A), full_matrices=False)
    return torch.diagonal(U.mT @ A @ Vh.mT, 0, -2, -1)


def cholesky(A: Tensor) -> Tensor:
    """Twice L phi(L^-1 A L^-T), phi the lower triangle with half of the diagonal: L, whose slope that is, once."""
    L = torch.linalg.cholesky(held(A))
    inverse = torch.linalg.inv(L)
    middle = inverse @ A @ inverse.mT
    lower = middle.tril() - torch.diag_embed(torch.diagonal(middle, 0, -2, -1)) / 2
    return 2 * L @ lower


def absolute(z: Tensor) -> Tensor:
    """Of complex numbers: both parts times where they point."""
    a, b = z.real, z.imag
    return hypotenuse(a, b)


def bilinear(a: Tensor, b: Tensor, w: Tensor, bias: Any = None) -> Tensor:
    """Each side held fixed for one half."""
    y = (torch.einsum("bi,oij,bj->bo", a, w, held(b)) + torch.einsum("bi,oij,bj->bo", held(a), w, b)) / 2
    return y if bias is None else y + bias


def sampled(x: Tensor, grid: Tensor, **kwargs: Any) -> Tensor:
    """Where it looks is held fixed."""
    return F.grid_sample(x, held(grid), **kwargs)


def written(name: str) -> Any:
    """A function of torch's by its name, wherever it stands."""
    for space in (torch, torch.Tensor, F, torch.linalg, torch.special, torch.fft):
        if hasattr(space, name):
            return getattr(space, name)
    raise AttributeError(name)


def everywhere(name: str) -> list[Any]:
    """All functions of a name."""
    spaces = (torch, torch.Tensor, F, torch.linalg, torch.special)
    return [getattr(space, name) for space in spaces if hasattr(space, name)]


DEFINITIONS: dict[Any, Callable[..., Tensor]] = {
    function: definition
    for names, definition in (
        ("norm vector_norm", length),
        ("std", lambda *a, **k: spread(*a, root=True, **k)),
        ("var", lambda *a, **k: spread(*a, root=False, **k)),
        ("prod", product),
        ("cumprod", running_product),
        ("logsumexp", tangent),
        ("log_softmax", log_softmax),
        ("logcumsumexp", running_tangent),
        ("logaddexp", tangent_of_two),
        ("hypot", hypotenuse),
        ("pairwise_distance", distance),
        ("cdist", distances),
        ("det", determinant),
        ("svdvals", singular_values),
        ("cholesky", cholesky),
        ("bilinear", bilinear),
        ("grid_sample", sampled),
    )
    for name in names.split()
    for function in everywhere(name)
}

# -- functions of each number --------------------------------------------------------------------------

OF_EACH_NUMBER = [
    function
    for name in (
        "floor ceil trunc round frac sign remainder fmod copysign atan2 i0 asinh atan cosh erfc exp2 expm1 sinc sinh "
        "tan __rpow__ float_power maximum minimum fmax __mod__ log log2 log10 logit rsqrt reciprocal polygamma "
        "__rdiv__ __rtruediv__"
    ).split()
    for function in everywhere(name)
]
"""Beside those that the judge knows already."""

WITHOUT_ZERO = [
    function
    for name in "log log2 log10 logit rsqrt reciprocal polygamma __rdiv__ __rtruediv__".split()
    for function in everywhere(name)
]
"""Those that are taken with all functions of each number before them."""

SLOPES = [
    function
    for name in (
        "quantile msort gradient cumulative_trapezoid kron chain_matmul multi_dot affine_grid nan_to_num nansum "
        "nanmean put scatter_reduce cross view_as_real complex mode aminmax lerp addcmul addcdiv trapezoid tensordot "
        "inner diagonal_scatter type_as rrelu"
    ).split()
    for function in everywhere(name)
] + [torch.fft.fft, torch.fft.rfft, torch.stft, torch.sparse.mm]
"""What autograd's slope is right for, as long as one value goes in."""
