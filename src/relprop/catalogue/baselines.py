"""What LRP is compared with that needs no rules: each a function of model, x and target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from relprop.catalogue import cam, gradients
from relprop.record.prepare import Model

Function = Callable[[Model, Tensor, Tensor], Tensor]
"""(model, x, target (B,)) to relevance of x's shape."""


@dataclass(frozen=True)
class Baseline:
    """A method by name.

    Attributes:
        summary: one line for people.
        function: (model, x, target (B,)) to relevance of x's shape; options as keywords.
        takes: the options that mean something here.
    """

    summary: str
    function: Callable[..., Tensor]
    takes: frozenset[str] = frozenset()

    def with_options(self, options: dict[str, Any]) -> Function:
        """The function as it is to be called."""
        return partial(self.function, **options) if options else self.function


def uniform(model: Model, x: Tensor, target: Tensor) -> Tensor:
    """The same everywhere: what every explanation has to beat; x's shape."""
    del model, target
    return torch.ones_like(x)


BASELINES: dict[str, Baseline] = {
    "gradient": Baseline("the derivative of the logit", gradients.gradient),
    "gradient-x-input": Baseline("gradient times input", gradients.gradient_x_input),
    "smoothgrad": Baseline(
        "the mean gradient over noisy copies of the picture",
        gradients.smoothgrad,
        frozenset({"samples", "std", "seed"}),
    ),
    "integrated-gradients": Baseline(
        "input times the mean gradient on the way to it from a baseline",
        gradients.integrated_gradients,
        frozenset({"steps", "baseline"}),
    ),
    "cam": Baseline("class activation map, for networks that end in global average pooling", cam.cam),
    "grad-cam": Baseline(
        "the last convolution's maps, weighted by their mean gradients", cam.grad_cam, frozenset({"layer"})
    ),
    "uniform": Baseline("the same everywhere: the paper's baseline", uniform),
}
