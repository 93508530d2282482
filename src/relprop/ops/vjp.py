"""Relevance through ops that are linear by themselves: their own vector-Jacobian product."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def vjp(
    function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor], upper: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Hand `upper` back through the function, map by map.

    Args:
        function: inputs to outputs, both sequences of tensors.
        inputs: where to take the product.
        upper: one tensor (T, *shape) per output.

    Returns:
        One tensor (T, *shape) per input; zeros where an input does not reach the outputs.
    """
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_() for x in inputs]
        outputs = function(*leaves)
    reached = [(o, u) for o, u in zip(outputs, upper, strict=True) if o.requires_grad]
    maps = upper[0].shape[0]
    lower = []
    for t in range(maps):
        grads = torch.autograd.grad(
            [o for o, _ in reached],
            leaves,
            [u[t].to(o.dtype) for o, u in reached],
            retain_graph=t + 1 < maps,
            allow_unused=True,
            materialize_grads=True,
        )
        lower.append(grads)
    stacked = [g[0].unsqueeze(0) if maps == 1 else torch.stack(g) for g in zip(*lower, strict=True)]
    return tuple(s.to(upper[0].dtype) for s in stacked)
