"""Which network this is: the hash of its weights, for what was measured on it or fitted to it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def weights_hash(model: Callable[..., Any]) -> str:
    """SHA-256 of every parameter and buffer with its name, in order; "" of a function, which has none.

    Numbers of float64 that float32 holds exactly count as those: `model.double()` is the same network.
    """
    if not isinstance(model, torch.nn.Module):
        return ""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(_bytes(tensor) if isinstance(tensor, Tensor) else repr(tensor).encode())
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes | memoryview:
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.float64 and torch.equal(tensor.float().double(), tensor):
        tensor = tensor.float()
    return tensor.contiguous().flatten().view(torch.uint8).numpy().data if tensor.numel() else b""
