"""Where the logits are in what a model returned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from relprop.support.errors import InputError


def logits_of(result: Any) -> Tensor:
    """The logits in what a model returned.

    Args:
        result: a tensor; an object or a mapping with ``logits``; or a tuple or list, of which the first tensor of
            numbers with two dimensions is meant, as in (logits, features) or (loss, logits).

    Raises:
        InputError: it is none of these; the message tells what came.
    """
    if isinstance(result, Tensor):
        return result
    named = result.get("logits") if isinstance(result, Mapping) else getattr(result, "logits", None)
    if isinstance(named, Tensor):
        return named
    if isinstance(result, (tuple, list)):
        for item in result:
            if isinstance(item, Tensor) and item.ndim == 2 and item.is_floating_point():
                return item
    raise InputError(
        f"the model returned {_described(result)}, and a tensor of logits (or .logits, or a tuple that holds "
        f"a (B, classes) tensor) is needed; wrap the model so that it returns that"
    )


def _described(result: Any, deep: bool = True) -> str:
    """What something is: its type, a tensor's shape too, and of a collection what it holds."""
    kind = type(result).__name__
    if isinstance(result, Tensor):
        return f"{kind} {tuple(result.shape)}"
    if deep and isinstance(result, Mapping):
        return f"{kind} of {', '.join(f'{key}: {_described(value, False)}' for key, value in result.items())}"
    if deep and isinstance(result, (tuple, list)):
        return f"{kind} of {', '.join(_described(item, False) for item in result)}"
    return kind


def check_logits(output: Tensor, batch: int) -> None:
    """Refuse an output that is not one row of logits per picture."""
    if output.ndim != 2 or output.shape[0] != batch:
        raise InputError(
            f"the model's output has shape {tuple(output.shape)}, and one row of logits per picture, "
            f"({batch}, classes), is needed; wrap the model so that it returns that"
        )
