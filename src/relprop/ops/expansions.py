"""Functions that are made of others which have rules: the recorder makes those calls in their place.

Each takes what torch's function of the name takes, and gives what it gives, to rounding.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from relprop.ops.contractions import cosine_similarity, dstack, einsum, inner, tensordot, trapezoid
from relprop.ops.written_out import WRITTEN_OUT
from relprop.tape.arguments import per_axis


def lerp(input: Any, end: Any, weight: Any) -> Any:  # noqa: A002  (torch's name)
    """(1 - w) a + w b."""
    return input * (1 - weight) + end * weight


def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:  # noqa: A002
    """X + v a b."""
    return torch.add(input, tensor1 * tensor2, alpha=value)


def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:  # noqa: A002
    """X + v a / b."""
    return torch.add(input, tensor1 / tensor2, alpha=value)


def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Any:  # noqa: A002
    """B c + a x y."""
    return torch.add(input if beta == 1 else input * beta, torch.matmul(batch1, batch2), alpha=alpha)


def glu(input: Tensor, dim: int = -1) -> Any:  # noqa: A002
    """One half of the channels, and the other as its gate."""
    signal, gate = input.chunk(2, dim)
    return signal * torch.sigmoid(gate)


def diff(input: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Any:  # noqa: A002
    """Differences of neighbours, n times."""
    parts = [part for part in (prepend, input, append) if part is not None]
    y = torch.cat(parts, dim) if len(parts) > 1 else input
    for _ in range(n):
        last = y.shape[dim] - 1
        y = y.narrow(dim, 1, last) - y.narrow(dim, 0, last)
    return y


def outer(input: Any, vec2: Any) -> Any:  # noqa: A002
    """Each number of one vector times each of another."""
    return input.unsqueeze(1) * vec2.unsqueeze(0)


def _lp_pool_of(axes: int) -> Callable[..., Any]:
    pool: Callable[..., Tensor] = getattr(F, f"avg_pool{axes}d")

    def lp_pool(
        input: Any,  # noqa: A002
        norm_type: float,
        kernel_size: Any,
        stride: Any = None,
        ceil_mode: bool = False,
    ) -> Any:
        """(sum_i x_i^p)^(1 / p) over windows."""
        places = torch.Size(per_axis(kernel_size, axes)).numel()
        mean = pool(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
        return (mean * places).pow(1 / norm_type)

    return lp_pool


def clamp(input: Any, min: Any = None, max: Any = None) -> Any:  # noqa: A002
    """Between bounds that are tensors: the larger of two, the smaller of two."""
    if not isinstance(min, Tensor) and not isinstance(max, Tensor):
        return NotImplemented  # constant numbers, which have a rule as they are
    y = input if min is None else torch.maximum(input, min)
    return y if max is None else torch.minimum(y, max)


def clamp_max(input: Any, max: Any) -> Any:  # noqa: A002
    """Below a bound that is a tensor."""
    return clamp(input, max=max)


EXPANSIONS: dict[str, Callable[..., Any]] = {
    "lerp": lerp,
    "addcmul": addcmul,
    "addcdiv": addcdiv,
    "baddbmm": baddbmm,
    "glu": glu,
    "diff": diff,
    "outer": outer,
    "ger": outer,
    "clamp": clamp,
    "clamp_min": clamp,
    "clip": clamp,
    "clamp_max": clamp_max,
    **WRITTEN_OUT,
    **{f.__name__: f for f in (einsum, tensordot, inner, cosine_similarity, trapezoid, dstack)},
    **{f"lp_pool{axes}d": _lp_pool_of(axes) for axes in (1, 2, 3)},
}


def in_parts_of(name: str) -> Callable[[Any, Sequence[Any], dict[str, Any]], Any]:
    """How the recorder makes a call of this name: by others; what works in place writes the result."""
    expansion = EXPANSIONS[name]
    takes = inspect.signature(expansion)

    def made(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        try:
            given = takes.bind(*args, **kwargs)
        except TypeError:  # a spelling of the arguments that is not known
            return NotImplemented
        result = expansion(*given.args, **given.kwargs)
        if result is NotImplemented:
            return result
        name = getattr(func, "__name__", "")
        in_place = name.endswith("_") and not name.endswith("__")
        return args[0].copy_(result) if in_place else result

    return made
