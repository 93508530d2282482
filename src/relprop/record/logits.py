"""Where the logits are in what a model returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

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
            f"the model returned {described(result)}, and which of these are logits is not clear: say {choice}"
        )
    raise InputError(
        f"the model returned {described(result)}, and a tensor of logits (or .logits, or a tuple that holds "
        f"a (B, classes) tensor) is needed; wrap the model so that it returns that"
    )


def _sequence(result: Any) -> Sequence[Any]:
    return result if isinstance(result, (tuple, list)) else ()


def _chosen(result: Any, output: str | int) -> Tensor:
    """The output that was asked for."""
    try:
        found = getattr(result, output) if isinstance(output, str) and hasattr(result, output) else result[output]
    except (KeyError, IndexError, TypeError):
        found = None
    if not isinstance(found, Tensor) or isinstance(result, Tensor):
        raise InputError(f"the model returned {described(result)}, which has no tensor at output={output!r}")
    return found


def described(result: Any, deep: bool = True) -> str:
    """What something is, for messages: its type, a tensor's shape too, and of a collection what it holds."""
    kind = type(result).__name__
    if isinstance(result, Tensor):
        return f"{kind} {tuple(result.shape)}"
    if deep and isinstance(result, Mapping):
        return f"{kind} of {', '.join(f'{key}: {described(value, False)}' for key, value in result.items())}"
    if deep and isinstance(result, (tuple, list)):
        return f"{kind} of {', '.join(described(item, False) for item in result)}"
    return kind


class LogitsError(InputError):
    """The output is not one row of logits per picture."""


def rows_of(output: Tensor, batch: int) -> Tensor:
    """An output as one row of logits per picture, (B, C); a regression's (B,) are rows of one.

    Raises:
        LogitsError: it is of another form.
    """
    if output.ndim == 1 and output.shape[0] == batch:
        return output[:, None]
    if output.ndim == 2 and output.shape[0] == batch:
        return output
    at = f"y[:, 0{', 0' * max(output.ndim - 2, 0)}]" if output.ndim > 2 and output.shape[0] == batch else ""
    more = f"name a number of it by a function, such as target=lambda y: {at}, or " if at else ""
    raise LogitsError(
        f"the model's output has shape {tuple(output.shape)}, and one row of logits per picture, "
        f"({batch}, classes), is needed; {more}wrap the model so that it returns that"
    )


def chosen(returned: Any, output: Output) -> Any:
    """What a function of the output gets: all that the model returned, or the one that was chosen."""
    return returned if output is None else logits_of(returned, output)
