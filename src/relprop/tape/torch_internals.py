"""Everything of torch that is public in all but name, in one place, each with what it is needed for.

Whoever raises the bounds of torch in `pyproject.toml` looks here first; the tests run on both ends of them.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode, _pop_mode, _push_mode
from torch.utils._pytree import tree_leaves, tree_map_only

__all__ = [
    "NAMESPACES",
    "RANDOM_IN_TRAINING",
    "WITH_CHANNELS",
    "StorageWeakRef",
    "TorchDispatchMode",
    "base_of",
    "body_of",
    "memory_of",
    "property_of",
    "put_on",
    "take_off",
    "tree_leaves",
    "tree_map_only",
    "version",
]

NAMESPACES: tuple[Any, ...] = (torch, torch.Tensor, F, torch._C._nn, torch.special)  # noqa: SLF001
"""Where torch functions live that a `TorchFunctionMode` sees: F.linear and F.gelu are torch._C._nn's."""

RANDOM_IN_TRAINING = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd, nn.RReLU)  # noqa: SLF001
"""Modules that draw at random, or change their own statistics, while they train: bases of all their kinds."""

WITH_CHANNELS = (nn.modules.conv._ConvNd, nn.Linear)  # noqa: SLF001
"""Layers that say how many channels they take: all convolutions have one base."""


def version(t: Tensor) -> int:
    """How often a tensor was written to, to find writes past the record; tensors of inference mode do not count."""
    return -1 if t.is_inference() else t._version  # noqa: SLF001


def base_of(t: Tensor) -> Tensor | None:
    """The tensor that this one is a view of: writes go through views, and maps that lie in one stack share one."""
    return t._base  # noqa: SLF001


def memory_of(t: Tensor) -> int:
    """The memory that a tensor and its views share, as a key; 0 for layouts that have none."""
    return t.untyped_storage().data_ptr() if t.layout is torch.strided else 0


def property_of(name: str) -> Any:
    """The getter of a property of tensors, which arrives at a mode as `__get__`, bound to its own; None if unknown."""
    return getattr(torch.Tensor, name).__get__ if hasattr(torch.Tensor, name) else None


def take_off(kind: type[TorchDispatchMode]) -> TorchDispatchMode | None:
    """Take a dispatch mode of this kind off, if it is on top: seeing every kernel takes time."""
    return _pop_mode() if isinstance(_get_current_dispatch_mode(), kind) else None


def put_on(mode: TorchDispatchMode | None) -> None:
    """Put the mode that was taken off on again, if one was."""
    if mode is not None:
        _push_mode(mode)


def body_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """The body of a function of torch's that is written in Python: called by itself it asks no mode what to do.

    So what it calls is recorded in its place, and its numbers are torch's own.
    """
    assert isinstance(function, FunctionType), f"{function} has no body in Python"
    asks = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    around = {**function.__globals__, **dict.fromkeys(asks, lambda *_: False)}
    body = FunctionType(function.__code__, around, function.__name__, function.__defaults__, function.__closure__)
    body.__kwdefaults__ = function.__kwdefaults__
    return body
