"""Where the logits are in what a model returned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from relprop.support.errors import InputError

Output = str | int | None
"""Which of several outputs is meant: a key or an index; None: the only one that can be logits."""


def logits_of(result: Any, output: Output = None) -> Tensor:
    """The logits in what a model returned.

    Args:
        result: a tensor; an object or a mapping with ``logits``; or a tuple or list in which one tensor of numbers has
            two dimensions, as in (loss, logits) or (logits, feature maps).
        output: which of several is meant.

    Raises:
        InputError: it is none of these, or more than one could be meant; the message tells what came.
    """
    if output is not None:
        return _chosen(result, output)
    if isinstance(result, Tensor):
        return result
    named = result.get("logits") if isinstance(result, Mapping) else getattr(result, "logits", None)
    if isinstance(named, Tensor):
        return named
    several = dict(result) if isinstance(result, Mapping) else dict(enumerate(_sequence(result)))
    could_be = {k: t for k, t in several.items() if isinstance(t, Tensor) and t.ndim == 2 and t.is_floating_point()}
    if len(could_be) == 1 and not isinstance(result, Mapping):  # a key may say that it is no logits
        return next(iter(could_be.values()))
    if could_be:
        choice = " or ".join(f"output={key!r} {tuple(t.shape)}" for key, t in could_be.items())
        raise InputError(
            f"the model returned {_described(result)}, and which of these are logits is not clear: say {choice}"
        )
    raise InputError(
        f"the model returned {_described(result)}, and a tensor of logits (or .logits, or a tuple that holds "
        f"a (B, classes) tensor) is needed; wrap the model so that it returns that"
    )


class OneOutput(nn.Module):
    """A model that returns one of another's outputs, for functions that know of one alone."""

    def __init__(self, model: Callable[[Tensor], Any], output: str | int) -> None:
        super().__init__()
        self.model = model
        self.output = output
        self.train(getattr(model, "training", False))

    def forward(self, x: Tensor) -> Tensor:
        """The output that was chosen."""
        return logits_of(self.model(x), self.output)


def _sequence(result: Any) -> Sequence[Any]:
    return result if isinstance(result, (tuple, list)) else ()


def _chosen(result: Any, output: str | int) -> Tensor:
    """The output that was asked for."""
    try:
        found = getattr(result, output) if isinstance(output, str) and hasattr(result, output) else result[output]
    except (KeyError, IndexError, TypeError):
        found = None
    if not isinstance(found, Tensor) or isinstance(result, Tensor):
        raise InputError(f"the model returned {_described(result)}, which has no tensor at output={output!r}")
    return found


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


class LogitsError(InputError):
    """The output is not one row of logits per picture."""


def check_logits(output: Tensor, batch: int) -> None:
    """Refuse an output that is not one row of logits per picture."""
    if output.ndim != 2 or output.shape[0] != batch:
        raise LogitsError(
            f"the model's output has shape {tuple(output.shape)}, and one row of logits per picture, "
            f"({batch}, classes), is needed; wrap the model so that it returns that"
        )
