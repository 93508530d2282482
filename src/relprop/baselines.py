"""What LRP is compared with that needs no rules: each a function of model, x and target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from relprop.prepare import Model
from relprop.record import logits_of


@dataclass(frozen=True)
class Baseline:
    """A method by name.

    Attributes:
        summary: one line for people.
        function: (model, x, target (B,)) to relevance of x's shape.
    """

    summary: str
    function: Callable[[Model, Tensor, Tensor], Tensor]


def gradient(model: Model, x: Tensor, target: Tensor) -> Tensor:
    """The derivative of the target's logit by the input; x's shape."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        logits = logits_of(model(leaf)).gather(1, target.view(-1, 1))
        (slope,) = torch.autograd.grad(logits.sum(), leaf)
    return slope


def gradient_x_input(model: Model, x: Tensor, target: Tensor) -> Tensor:
    """Gradient times input, which LRP_z equals in ReLU networks; x's shape."""
    return gradient(model, x, target) * x


def uniform(model: Model, x: Tensor, target: Tensor) -> Tensor:
    """The same everywhere: what every explanation has to beat; x's shape."""
    del model, target
    return torch.ones_like(x)


BASELINES: dict[str, Baseline] = {
    "gradient": Baseline("the derivative of the logit", gradient),
    "gradient-x-input": Baseline("gradient times input", gradient_x_input),
    "uniform": Baseline("the same everywhere: the paper's baseline", uniform),
}
