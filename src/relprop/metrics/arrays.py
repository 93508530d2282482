"""What the measures take: tensors, and NumPy arrays, which become tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from relprop.support.errors import InputError

Array = Tensor | NDArray[Any]


def as_tensor(values: Array, name: str) -> Tensor:
    """Return a tensor as it is, and a NumPy array as a tensor of its own memory.

    Args:
        values: what was passed in.
        name: of the argument, for the error.

    Raises:
        InputError: it is neither, or an array of what is no number.
    """
    if isinstance(values, Tensor):
        return values
    if not isinstance(values, np.ndarray):
        raise InputError(f"{name} is of type {type(values).__name__}; give a tensor or a NumPy array")
    try:
        return torch.from_numpy(np.array(values, order="C"))
    except TypeError:
        raise InputError(f"{name} is an array of {values.dtype}; give one of numbers or of bool") from None
