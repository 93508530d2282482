"""The target's value of versions of pictures and texts, in few passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from relprop.metrics.flipped import Pictures, Tokens
from relprop.support.class_names import class_index
from relprop.support.errors import InputError


class Token(Protocol):
    """What `relprop.at` gives: a token at a place of a text, perhaps against another."""

    position: Any
    token: Any
    against: Any


Target = int | str | Tensor | None | Callable[[Any], Tensor] | Token


class Values:
    """Runs a model on versions of x, and reads the target's value.

    Args:
        model: any callable.
        subject: what is flipped.
        target: as for `flip`.
        batch: how many versions the model gets in one call.
    """

    def __init__(self, model: Callable[..., Any], subject: Pictures | Tokens, target: Target, batch: int) -> None:
        self.model, self.subject, self.batch = model, subject, batch
        self.number, self.device = len(subject.can), subject.can.device
        self._read = self._reader(target)

    def of(self, which: Tensor, flipped: Tensor) -> Tensor:
        """(n,) float64.

        Args:
            which: (n,) picture that each is a version of.
            flipped: (n, N) bool.
        """
        return self._read(self._run(which, flipped), which).double()

    def _run(self, which: Tensor, flipped: Tensor) -> Any:
        arguments = self.subject.versions(which, flipped)
        return self.model(**arguments) if isinstance(arguments, Mapping) else self.model(arguments)

    def _whole(self, read: Callable[[Any, Tensor], Tensor]) -> Tensor:
        """What is read of the whole pictures, (B, ...)."""
        parts = torch.arange(self.number, device=self.device).split(self.batch)
        return torch.cat([read(self._run(part, torch.zeros_like(self.subject.can[part])), part) for part in parts])

    def _reader(self, target: Any) -> Callable[[Any, Tensor], Tensor]:
        """From what the model returned, and of which pictures, to the target's values."""
        if callable(target) and not isinstance(target, Tensor):
            return lambda returned, which: _checked(target(returned), len(which))
        if hasattr(target, "position") and hasattr(target, "against"):
            return self._of_token(target)
        if target is None:
            index = self._whole(lambda returned, which: _rows(returned, len(which)).argmax(1))
        else:
            index = self._integers(self._class(target) if isinstance(target, str) else target, "target")

        def of_class(returned: Any, which: Tensor) -> Tensor:
            return _picked(_rows(returned, len(which)), index[which])

        return of_class

    def _class(self, name: str) -> int:
        classes = getattr(self.model, "classes", None)
        if not isinstance(classes, (tuple, list)):
            raise InputError(f"target is {name!r}, and the model has no .classes that name its outputs; give the index")
        return class_index(name, classes)

    def _of_token(self, target: Any) -> Callable[[Any, Tensor], Tensor]:
        """A token's logit at a place among a text's own tokens, less another's."""
        if not isinstance(self.subject, Tokens):
            raise InputError("target names a token at a place, and x is pictures; name a class")
        place = self._integers(target.position, "position")
        own = [row.nonzero()[:, 0] for row in self.subject.real]
        if not all(-len(tokens) <= int(n) < len(tokens) for n, tokens in zip(place, own, strict=True)):
            raise InputError(f"target: position {target.position} is out of range of a text's own tokens")
        at = torch.stack([tokens[int(n)] for n, tokens in zip(place, own, strict=True)])

        def there(returned: Any, which: Tensor) -> Tensor:
            logits = _logits(returned)
            if logits.ndim != 3 or logits.shape[:2] != (len(which), self.subject.can.shape[1]):
                raise InputError(f"the model returned {tuple(logits.shape)}, and logits of every place are needed")
            return logits[torch.arange(len(which), device=logits.device), at[which]]

        none = target.token is None
        token = self._whole(lambda *y: there(*y).argmax(-1)) if none else self._integers(target.token, "token")
        other = None if target.against is None else self._integers(target.against, "against")

        def of_token(returned: Any, which: Tensor) -> Tensor:
            logits = there(returned, which)
            value = _picked(logits, token[which])
            return value if other is None else value - _picked(logits, other[which])

        return of_token

    def _integers(self, given: Any, name: str) -> Tensor:
        """Whole numbers, one for each picture, (B,)."""
        try:
            found = torch.as_tensor(given, device=self.device)
        except (TypeError, ValueError, RuntimeError):
            found = torch.empty(0)
        if found.is_floating_point() or found.dtype == torch.bool or found.shape not in ((), (self.number,)):
            raise InputError(
                f"{name} is {given!r}; an index, a ({self.number},) integer tensor or a function is needed"
            )
        return found.expand(self.number).long()


def _checked(value: Any, number: int) -> Tensor:
    """What a function of the output gave."""
    if not isinstance(value, Tensor) or value.shape != (number,):
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"target gives {got} for {number} versions; one number for each is needed")
    return value


def _picked(logits: Tensor, index: Tensor) -> Tensor:
    """One of each row."""
    if int(index.min()) < 0 or int(index.max()) >= logits.shape[1]:
        raise InputError(f"target {index.unique().tolist()}: the outputs have the classes 0 to {logits.shape[1] - 1}")
    return logits.gather(1, index[:, None])[:, 0]


def _logits(returned: Any) -> Tensor:
    """The tensor of logits in what a model returned."""
    named = returned.get("logits") if isinstance(returned, Mapping) else getattr(returned, "logits", None)
    logits = returned if isinstance(returned, Tensor) else named
    if not isinstance(logits, Tensor):
        raise InputError(
            f"the model returned {type(returned).__name__}; a row of logits is needed, or a function of it"
        )
    return logits


def _rows(returned: Any, number: int) -> Tensor:
    """The logits (n, C) in what a model returned."""
    logits = _logits(returned)
    logits = logits[:, None] if logits.shape == (number,) else logits
    if logits.ndim != 2 or len(logits) != number:
        raise InputError(
            f"the model returned {tuple(logits.shape)}, and a row of logits per picture, ({number}, classes), is "
            f"needed; name a number of it by a function, such as target=lambda y: y[:, 0, 0]"
        )
    return logits
