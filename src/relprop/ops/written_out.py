"""Functions of linear algebra and of statistics, written out in sums, products, sorted numbers and lengths.

Each takes what torch's function of the name takes, and gives what it gives, to rounding; NotImplemented for what it
does not understand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

# -- linear algebra ------------------------------------------------------------------------------------


def linear(input: Any, weight: Any, bias: Any = None) -> Any:  # noqa: A002  (torch's name)
    """A layer whose weight is a value, too: x w^T + b."""
    y = torch.matmul(input, weight.t() if weight.ndim == 2 else weight)
    return y if bias is None else y + bias


def addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:  # noqa: A002
    """B c + a x y, of several values."""
    return torch.add(input if beta == 1 else input * beta, torch.matmul(mat1, mat2), alpha=alpha)


def matmul(input: Any, other: Any) -> Any:  # noqa: A002
    """Vectors as matrices of one row or column."""
    if input.ndim > 1 and other.ndim > 1:
        return NotImplemented  # which has a rule as it is
    if input.ndim == 0 or other.ndim == 0:
        return NotImplemented
    if input.ndim == 1 and other.ndim == 1:
        return torch.matmul(input.unsqueeze(0), other.unsqueeze(1)).squeeze(1).squeeze(0)
    if input.ndim == 1:
        return torch.matmul(input.unsqueeze(0), other).squeeze(-2)
    return torch.matmul(input, other.unsqueeze(1)).squeeze(-1)


def multi_dot(tensors: Sequence[Any]) -> Any:
    """From left to right."""
    y = tensors[0]
    for other in tensors[1:]:
        y = torch.matmul(y, other)
    return y


def chain_matmul(*matrices: Any) -> Any:
    """From left to right."""
    return multi_dot(matrices[0] if len(matrices) == 1 and isinstance(matrices[0], (list, tuple)) else matrices)


def kron(input: Any, other: Any) -> Any:  # noqa: A002
    """Each number of one times all of another."""
    axes = max(input.ndim, other.ndim)
    a = input.reshape([1] * (axes - input.ndim) + list(input.shape))
    b = other.reshape([1] * (axes - other.ndim) + list(other.shape))
    wide = a.reshape([n for size in a.shape for n in (size, 1)])
    high = b.reshape([n for size in b.shape for n in (1, size)])
    return (wide * high).reshape([n * m for n, m in zip(a.shape, b.shape, strict=True)])


def cross(input: Any, other: Any, dim: int | None = None) -> Any:  # noqa: A002
    """a_2 b_3 - a_3 b_2, and so on round."""
    if dim is None:  # torch's old choice
        return NotImplemented
    a, b = torch.broadcast_tensors(input, other) if input.shape != other.shape else (input, other)
    return a.roll(-1, dim) * b.roll(-2, dim) - a.roll(-2, dim) * b.roll(-1, dim)


def linalg_cross(input: Any, other: Any, *, dim: int = -1) -> Any:  # noqa: A002
    """As cross, along the last axis."""
    return cross(input, other, dim)


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    """The length of the difference."""
    return torch.linalg.vector_norm(x1 - x2 + eps, p, -1, keepdim)


def cdist(x1: Any, x2: Any, p: float = 2.0, compute_mode: Any = None) -> Any:
    """The length of the difference of each row of one and each of another."""
    del compute_mode  # of one result by several ways
    return torch.linalg.vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


def hypot(input: Any, other: Any) -> Any:  # noqa: A002
    """The root of a^2 + b^2."""
    return torch.sqrt(input.square() + other.square())


def affine_grid(theta: Any, size: Any, align_corners: bool | None = None) -> Any:
    """Places, each a product of its own place, (x, y, 1), and a picture's matrix."""
    axes = [_places(n, bool(align_corners), theta) for n in list(size)[2:]]
    grid = torch.stack([*reversed(torch.meshgrid(*axes, indexing="ij")), torch.ones(*size[2:]).to(axes[0])], -1)
    places = torch.matmul(grid.reshape(-1, len(axes) + 1), theta.transpose(1, 2))
    return places.reshape(len(theta), *list(size)[2:], len(axes))


def _places(n: int, corners: bool, like: Tensor) -> Tensor:
    """Where n pixels lie between -1 and 1."""
    if n <= 1:
        return torch.zeros(n, dtype=like.dtype, device=like.device)
    ends = torch.linspace(-1, 1, n, dtype=like.dtype, device=like.device)
    return ends if corners else ends * (n - 1) / n


# -- statistics ----------------------------------------------------------------------------------------


def quantile(
    input: Any,  # noqa: A002
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Any:
    """Between two of the sorted numbers."""
    wanted = q.tolist() if isinstance(q, Tensor) else q
    y = input.reshape(-1) if dim is None else input
    axis = 0 if dim is None else dim
    ordered = y.sort(axis).values
    found = [
        _between(ordered, axis, each, interpolation) for each in (wanted if isinstance(wanted, list) else [wanted])
    ]
    if keepdim:
        found = [each.reshape([1] * input.ndim) if dim is None else each for each in found]
    else:
        found = [each.squeeze(axis) for each in found]
    return torch.stack(found) if isinstance(wanted, list) else found[0]


def _between(ordered: Tensor, axis: int, q: float, interpolation: str) -> Tensor:
    place = q * (ordered.shape[axis] - 1)
    low, high = math.floor(place), math.ceil(place)
    weight = {
        "linear": place - low,
        "lower": 0.0,
        "higher": 1.0,
        "midpoint": 0.5 if high > low else 0.0,
        "nearest": float(round(place) - low),
    }[interpolation]
    least, most = ordered.narrow(axis, low, 1), ordered.narrow(axis, high, 1)
    if weight in (0.0, 1.0):
        return most if weight else least
    return least * (1 - weight) + most * weight


def msort(input: Any) -> Any:  # noqa: A002
    """Along the first axis."""
    return input.sort(0).values


def softmin(input: Any, dim: Any = None, _stacklevel: int = 3, dtype: Any = None) -> Any:  # noqa: A002
    """The softmax of the negative."""
    return torch.softmax(-input, dim, dtype=dtype)


def gradient(input: Any, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1) -> Any:  # noqa: A002
    """Half the difference of both neighbours, of one neighbour at the ends."""
    if not isinstance(spacing, (int, float)) or edge_order != 1:
        return NotImplemented
    axes = range(input.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    return [_slope(input, axis, spacing) for axis in axes]


def _slope(y: Tensor, axis: int, spacing: float) -> Tensor:
    n = y.shape[axis]
    inner = (y.narrow(axis, 2, n - 2) - y.narrow(axis, 0, n - 2)) / (2 * spacing)
    first = (y.narrow(axis, 1, 1) - y.narrow(axis, 0, 1)) / spacing
    last = (y.narrow(axis, n - 1, 1) - y.narrow(axis, n - 2, 1)) / spacing
    return torch.cat([first, inner, last], axis)


def cumulative_trapezoid(y: Any, x: Any = None, *, dx: float = 1, dim: int = -1) -> Any:
    """The area below straight lines between neighbours, so far."""
    if x is not None:
        return NotImplemented
    last = y.shape[dim] - 1
    return ((y.narrow(dim, 0, last) + y.narrow(dim, 1, last)) * (dx / 2)).cumsum(dim)


def scatter_reduce(input: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True) -> Any:  # noqa: A002
    """Sums and means of terms at places that the call names; of the others `ops.winners` knows."""
    if reduce not in ("sum", "mean"):
        return NotImplemented
    start = input if include_self else input.scatter(dim, index, 0.0)
    total = start.scatter_add(dim, index, src)
    if reduce == "sum":
        return total
    ones = torch.ones(index.shape, dtype=src.dtype, device=src.device)
    terms = torch.zeros(input.shape, dtype=src.dtype, device=src.device).scatter_add(dim, index, ones)
    return total / (terms + 1 if include_self else terms.clamp(min=1))


# -- rounding and quotients ----------------------------------------------------------------------------


def div(input: Any, other: Any, *, rounding_mode: Any = None) -> Any:  # noqa: A002
    """The quotient, rounded."""
    if rounding_mode is None:
        return NotImplemented  # which has a rule as it is
    return {"floor": torch.floor, "trunc": torch.trunc}[rounding_mode](torch.div(input, other))


def floor_divide(input: Any, other: Any) -> Any:  # noqa: A002
    """The quotient, rounded down."""
    return torch.floor(torch.div(input, other))


def rdiv(input: Any, other: Any) -> Any:  # noqa: A002
    """A constant over a value."""
    return torch.reciprocal(input) * other


WRITTEN_OUT: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        linear,
        addmm,
        matmul,
        multi_dot,
        chain_matmul,
        kron,
        cross,
        linalg_cross,
        pairwise_distance,
        cdist,
        hypot,
        affine_grid,
        quantile,
        msort,
        softmin,
        gradient,
        cumulative_trapezoid,
        scatter_reduce,
        div,
        floor_divide,
        rdiv,
    )
}
