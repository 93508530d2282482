"""Maps for Quantus: `explain_func` is what its metrics call. Quantus itself is not imported and need not be there."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from relprop.propagate import attribute


def explain_func(
    model: nn.Module, inputs: Tensor | NDArray[Any], targets: Tensor | NDArray[Any] | int | None = None, **kwargs: Any
) -> NDArray[np.float32]:
    """Explain as `relprop.attribute` does, from arrays to an array.

    Args:
        model: the network, in eval mode.
        inputs: pictures, (B, C, H, W).
        targets: (B,) outputs; None: the predicted ones.
        kwargs: of `relprop.attribute`, above all ``method``; besides ``device``, where to compute, and ``channels``,
            "keep" (x's shape) or "sum" (one channel, whose ranks are those of pixels). What Quantus adds on its own,
            such as ``softmax`` and ``batch_size``, is left aside.

    Returns:
        Relevance, (B, C, H, W), or (B, 1, H, W) where channels are summed.

    Raises:
        InputError: as `relprop.attribute`.

    Example:
        >>> import torch, relprop as rp
        >>> model = rp.models.load("digits-shallow")
        >>> rp.quantus.explain_func(model, torch.rand(2, 3, 64, 64).numpy(), channels="sum", method="lrp-z").shape
        (2, 1, 64, 64)

        With Quantus::

            metric = quantus.Sparseness(abs=True, normalise=False)
            metric(
                model=model, x_batch=x, y_batch=y, a_batch=None,
                explain_func=relprop.quantus.explain_func, explain_func_kwargs={"method": "cmp-alpha2-flat"},
            )
    """
    device = kwargs.get("device") or next(iter(model.parameters()), torch.zeros(0)).device
    x = torch.as_tensor(np.asarray(inputs) if isinstance(inputs, np.ndarray) else inputs, device=device)
    target = targets if targets is None or isinstance(targets, int) else torch.as_tensor(targets, device=device)
    given = {key: kwargs[key] for key in _TAKEN if key in kwargs}
    R: Tensor = attribute(model, x if x.is_floating_point() else x.float(), target, **given)
    R = R.sum(1, keepdim=True) if kwargs.get("channels", "keep") == "sum" else R
    return R.detach().float().cpu().numpy()


_TAKEN = ("method", "profile", "start", "dtype", "output", "of", "check")

__all__ = ["explain_func"]


def __dir__() -> list[str]:
    return __all__
