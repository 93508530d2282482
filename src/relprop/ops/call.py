"""One call of an op as a rule sees it, and the vector-Jacobian product, for ops that are linear by themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from relprop.rules.layer import Kind
from relprop.tape.tape import Node
from relprop.tape.trees import float_tensors
from relprop.tape.visit import Visit


@dataclass(frozen=True)
class Call:
    """A recorded call, as `rules.layer.Call` promises it."""

    node: Node
    visit: Visit

    @property
    def kind(self) -> Kind:
        """The kind of op."""
        return self.node.kind

    @property
    def name(self) -> str:
        """The op's name, as plans show it."""
        return self.node.op.name

    @property
    def inputs(self) -> int:
        """How many of its arguments were recorded."""
        return len(self.node.inputs)

    def gradient(self, R: list[Tensor]) -> tuple[Tensor, ...]:
        """The vector-Jacobian product: R (T, *shape) of each output to (T, *shape) of each input."""
        inputs = [value.data.to(self.visit.dtype) for value in self.node.inputs]
        return vjp(lambda *leaves: float_tensors(self.node.call(leaves, self.visit.dtype)), inputs, R)


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
