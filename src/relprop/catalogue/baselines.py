"""What every explanation has to beat."""

from __future__ import annotations

import torch
from torch import Tensor

from relprop.record.acceptance import Model


def uniform(model: Model, x: Tensor, target: Tensor) -> Tensor:
    """The same everywhere, the paper's baseline; x's shape."""
    del model, target
    return torch.ones_like(x)
