"""What is explained: from a target as it was given to where relevance starts, and with which numbers.

A class starts at its logit. A function of the model's output is recorded like the model, and starts at its value.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from relprop.record.inputs import Inputs
from relprop.record.logits import Output, chosen, described, logits_of, rows_of
from relprop.record.narrow import narrowed
from relprop.support.class_names import class_index
from relprop.support.errors import InputError, RelpropError
from relprop.tape.tape import Tape
from relprop.tape.torch_internals import version
from relprop.tape.trees import mapped, tensors_of
from relprop.tokens import At, Few, Pick, is_text, picked

Function = Callable[[Any], Tensor]
"""From what the model returned to one number per picture, (B,)."""

Target = int | str | Tensor | None | Function | At
Targets = Sequence[Target] | Target | Callable[[Tensor], Sequence[Target] | Tensor]
Unseen = contextlib.AbstractContextManager[None]
"""While it is entered nothing is recorded."""

FUNCTION = -1
"""The class index of a target that is a function."""


@dataclass(eq=False)
class Starts:
    """Where relevance starts for every target; known once the model has returned.

    Attributes:
        targets: as for `relprop.explain`.
        model: its `.classes` say which outputs names mean.
        output: which of several outputs is meant.
        inputs: what goes into the model.
        each: the targets, one by one.
        indices: (T, B) class indices or token ids; `FUNCTION` where the target is a function.
        picks: by its place among the targets, where one that `rp.at` made stands in logits (B, L, V).
        root_of: for each target, which of the roots it starts from.
        few: the places and tokens that relevance starts at, where the tape holds these alone.
        roots: the logits (B, C) where a class is a target, those (B, L, V) where a token is, then each function's
            value (B,).
        returned: what the model returned, or the output that was chosen.
        rows_as_returned: whether the logits are what the model returned, and no regression's (B,).
    """

    targets: Targets
    model: object
    output: Output
    inputs: Inputs
    each: list[Target] = field(default_factory=list)
    indices: Tensor = field(default_factory=lambda: torch.empty(0))
    picks: dict[int, Pick] = field(default_factory=dict)
    root_of: list[int] = field(default_factory=list)
    roots: list[Tensor] = field(default_factory=list)
    few: Few | None = None
    rows_as_returned: bool = True
    returned: Any = None

    def find(self, returned: Any, unseen: Unseen) -> list[Tensor]:
        """The roots in what the model returned; what functions do is recorded, choices are not.

        Raises:
            InputError: if a target is no class of the model's, or a function gives something else than (B,).
        """
        if self.each:  # a replay asks again, of what the model makes of other numbers
            return self._roots(returned)
        y = chosen(returned, self.output)
        with unseen:
            self.each = self._listed(y, returned)
            self.returned = mapped(Tensor, Tensor.detach, y)
        self.roots = self._roots(returned)
        with unseen:
            classes, tokens = self._of_classes, self._of_tokens
            places = iter(range(classes + tokens, len(self.roots)))
            self.root_of = [
                next(places) if is_function(target) else classes if isinstance(target, At) else 0
                for target in self.each
            ]
            self.rows_as_returned = not classes or logits_of(returned, self.output).ndim == 2
            for place, target in enumerate(self.each):
                if isinstance(target, At):
                    self.picks[place] = picked(target, self.roots[classes].detach(), self.inputs, self.model)
            self.indices = self._indices()
        return self.roots

    @property
    def _of_classes(self) -> bool:
        """Whether a class is a target."""
        return any(not isinstance(target, At) and not is_function(target) for target in self.each)

    @property
    def _of_tokens(self) -> bool:
        """Whether a token at some place is."""
        return any(isinstance(target, At) for target in self.each)

    def _roots(self, returned: Any) -> list[Tensor]:
        """The logits where a class or a token is a target, and what each function makes of the output."""
        functions = [target for target in self.each if is_function(target)]
        roots = []
        if self._of_classes:
            roots.append(rows_of(logits_of(returned, self.output), self.inputs.batch))
        if self._of_tokens:
            roots.append(logits_of(returned, self.output))
        y = chosen(returned, self.output) if functions else None
        return roots + [value_of(function, y, self.inputs.batch) for function in functions]

    @property
    def outputs(self) -> Any:
        """The logits (B, C), a regression's (B,); where no class is a target, what the model returned."""
        if not self._of_classes:
            return self.returned
        return self.roots[0].detach() if self.rows_as_returned else self.roots[0].detach()[:, 0]

    @property
    def labels(self) -> tuple[str, ...]:
        """A word for every target: the class index of the first picture, or the name of a function or a place."""
        first = self.indices[:, 0].tolist()
        return tuple(_label(target, index) for index, target in zip(first, self.each, strict=True))

    def values(self) -> Tensor:
        """What is explained, (T, B): a logit, or a function's value."""
        found = []
        for t, (index, root) in enumerate(zip(self.indices, self.root_of, strict=True)):
            numbers = self.roots[root].detach()
            if t in self.picks:
                found.append(self.picks[t].value(numbers))
            else:
                found.append(numbers.gather(1, index[:, None])[:, 0] if numbers.ndim == 2 else numbers)
        dtype = found[0].dtype
        return torch.stack([values.to(dtype) for values in found])

    def relevance(self, start: str, dtype: torch.dtype) -> list[Tensor]:
        """Relevance of each root, (T, *root.shape): the target's value or one, zero elsewhere."""
        roots = [root.detach() for root in self.roots]
        if self.few is not None:
            roots[self._of_classes] = self.few.of(roots[self._of_classes])
        started = [torch.zeros(len(self.each), *root.shape, dtype=dtype, device=root.device) for root in roots]
        for t, (index, place) in enumerate(zip(self.indices, self.root_of, strict=True)):
            root, R = roots[place].to(dtype), started[place][t]
            values = torch.ones_like(root) if start == "one" else root
            if t in self.picks:
                pick = self.picks[t] if self.few is None else self.few.among(self.picks[t])
                pick.start(R, root, one=start == "one")
            elif root.ndim == 1:
                R.copy_(values)
            else:
                R.scatter_(1, index[:, None], values.gather(1, index[:, None]))
        return started

    def narrow(self, tape: Tape) -> None:
        """Let relevance start at the few logits of a text that are explained: all the others get none."""
        if not self.picks:
            return
        few = Few.of_all([*self.picks.values()])
        if narrowed(tape, tape.outputs[self._of_classes], few.positions, few.tokens) is not None:
            self.few = few

    def _listed(self, y: Any, returned: Any) -> list[Target]:
        """The targets, one by one."""
        targets = self.targets
        if is_function(targets):
            targets = self._said_by(targets, y, returned)
        several: list[Any] = list(targets) if isinstance(targets, (list, tuple, range)) else [targets]
        if not several:
            raise InputError("no target was named; None means the predicted class")
        return [self._in_text(target, y) for target in several]

    def _in_text(self, target: Target, y: Any) -> Target:
        """The predicted token behind the last, where nothing is named and the model gives logits of a text's places.

        Raises:
            InputError: an index or a name was given, which does not say at which place.
        """
        logits = y if isinstance(y, Tensor) else getattr(y, "logits", None)
        if not (isinstance(logits, Tensor) and logits.ndim == 3 and is_text(self.inputs)):
            return target
        if isinstance(target, At) or is_function(target):
            return target
        if target is not None:
            raise InputError(
                f"the model gives logits {tuple(logits.shape)} of every place of a text: say which, such as "
                f"rp.at(-1, {target!r}) for the last"
            )
        return At(-1)

    def _said_by(self, function: Any, y: Any, returned: Any) -> Any:
        """A function in the place of a list: a target itself, or a choice of classes by the logits."""
        y = y.detach() if isinstance(y, Tensor) else y
        try:
            said = function(y)
        except Exception:  # noqa: BLE001 - it may be a choice by the logits alone; if it is none it will fail again
            said = None
        if isinstance(said, Tensor) and said.is_floating_point():
            return [function]
        if said is None or not isinstance(y, Tensor):
            try:
                logits = rows_of(logits_of(returned, self.output), self.inputs.batch).detach()
            except InputError:
                return [function]
            said = function(logits)
        return list(said)

    def _indices(self) -> Tensor:
        """Class indices (T, B)."""
        device = self.roots[0].device
        none = torch.full((self.inputs.batch,), FUNCTION, dtype=torch.long, device=device)
        logits = self.roots[0].detach()
        found = []
        for place, target in enumerate(self.each):
            if is_function(target):
                found.append(none)
            elif place in self.picks:
                found.append(self.picks[place].token)
            else:
                found.append(_target(_index_of(target, self.model) if isinstance(target, str) else target, logits))
        return torch.stack(found)


def _label(target: Target, index: int) -> str:
    """A word for a target; a class is called by its index."""
    if isinstance(target, At):
        return target.label
    return getattr(target, "__name__", type(target).__name__) if is_function(target) else str(index)


def is_function(target: Any) -> bool:
    """Whether a target is a function of the output."""
    return callable(target) and not isinstance(target, Tensor)


def value_of(function: Any, y: Any, batch: int) -> Tensor:
    """What a function makes of the model's output, (B,).

    Raises:
        InputError: it fails, or gives something else.
    """
    name = getattr(function, "__name__", type(function).__name__)
    held = tensors_of(y)
    before = [version(t) for t in held]
    try:
        value = function(y)
    except RelpropError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise InputError(f"target {name} fails on what the model returned, {described(y)}: {text}") from error
    if before != [version(t) for t in held]:
        raise InputError(f"target {name} writes into what the model returned; let it work on a clone, y.clone()")
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise InputError(f"target {name} gives {described(value)}; one number per picture, ({batch},), is needed")
    if value.shape == (batch, 1) or (batch == 1 and value.ndim == 0):
        value = value.reshape(batch)
    if value.shape != (batch,):
        raise InputError(
            f"target {name} gives a tensor of shape {tuple(value.shape)}; one number per picture, ({batch},), is "
            f"needed: sum or average over the other axes, or pick one place of them"
        )
    return value


def _index_of(name: str, model: object) -> int:
    """The output that a name means."""
    classes = getattr(model, "classes", None)
    if not isinstance(classes, (tuple, list)):
        raise InputError(f"target is {name!r}, and the model has no .classes that name its outputs; give the index")
    return class_index(name, classes)


def _target(target: Any, outputs: Tensor) -> Tensor:
    batch, classes = outputs.shape
    misread = _misread(target, outputs)
    if misread:
        raise InputError(misread)
    if target is None:
        return outputs.argmax(1)
    if isinstance(target, Tensor) and target.ndim == 1:
        if target.shape[0] != batch:
            raise InputError(f"target has {target.shape[0]} classes for {batch} pictures")
        indices = target
    else:
        try:
            index = int(operator.index(target))
        except TypeError:
            shown = " ".join(repr(target).split())[:80]
            raise InputError(
                f"target is {shown}; an index, a (B,) integer tensor or None (the predicted class) is needed"
            ) from None
        if not 0 <= index < classes:  # of any size: one that no tensor holds, too
            raise _out_of_range([index], classes)
        indices = torch.tensor([index] * batch)
    if indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool:
        raise InputError(f"target is {indices.dtype}; whole numbers are needed")
    if int(indices.min()) < 0 or int(indices.max()) >= classes:
        raise _out_of_range(indices.tolist(), classes)
    return indices.to(outputs.device, torch.long)


def _out_of_range(indices: list[int], classes: int) -> InputError:
    return InputError(f"target {str(indices)[:80]} is out of range: the model has classes 0 to {classes - 1}")


def _misread(target: Any, outputs: Tensor) -> str:
    """What was probably meant by a target of another form; "" where it is of none of these."""
    if isinstance(target, (list, tuple)):
        return _of_several(list(target), len(outputs))
    if isinstance(target, bool) or (isinstance(target, Tensor) and target.ndim < 2 and target.dtype == torch.bool):
        return "target is a bool; an index, a (B,) integer tensor or None is needed"
    if isinstance(target, Tensor):
        return _of_two_axes(target, outputs) if target.ndim == 2 else ""
    array = bool(getattr(target, "ndim", 0))
    return f"target is of type {type(target).__name__}; make it a tensor, torch.as_tensor(target)" if array else ""


def _of_several(target: list[Any], batch: int) -> str:
    """What a list of classes may mean."""
    shown = str(target) if len(target) <= SHOWN else f"[{', '.join(map(str, target[:SHOWN]))}, ...]"
    one = f"torch.tensor({shown})" if len(target) == batch else f"a tensor of {batch}, as there are {batch} pictures"
    return (
        f"target is a list, {shown}. Several classes of each picture: explain(model, x, targets={shown}); "
        f"one class per picture: target={one}"
    )


SHOWN = 8
"""So many classes of a list are shown."""


def _of_two_axes(target: Tensor, outputs: Tensor) -> str:
    """What a tensor of two axes may mean."""
    about = f"target has shape {tuple(target.shape)}, and (B,) is needed: "
    if target.shape == (len(outputs), 1):
        return f"{about}target[:, 0]"
    if target.shape == outputs.shape and bool(((target == 0) | (target == 1)).all()):
        return f"{about}of one-hot rows, target.argmax(1)"
    return f"{about}for several classes of each picture, explain(model, x, targets=list(target))"
