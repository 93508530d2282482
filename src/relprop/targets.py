"""What is explained: from a target as it was given to class indices, and the relevance that starts there."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from relprop.support.class_names import class_index
from relprop.support.errors import InputError

Target = int | str | Tensor | None
Targets = Sequence[Target] | Target | Callable[[Tensor], Sequence[Target] | Tensor]


def targets_of(targets: Targets, outputs: Tensor, model: object = None) -> Tensor:
    """Class indices, (T, B).

    Args:
        targets: as for `relprop.explain`.
        outputs: logits (B, C).
        model: where names are meant, its `.classes` says which outputs they are.

    Raises:
        InputError: if a target is no class of the model's.
    """
    if callable(targets) and not isinstance(targets, Tensor):
        targets = list(targets(outputs))
    several = list(targets) if isinstance(targets, (list, tuple, range)) else [targets]
    if not several:
        raise InputError("no target was named; None means the predicted class")
    return torch.stack([_target(_index_of(t, model) if isinstance(t, str) else t, outputs) for t in several])


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
            indices = torch.tensor([int(operator.index(target))] * batch)
        except TypeError:
            shown = " ".join(repr(target).split())[:80]
            raise InputError(
                f"target is {shown}; an index, a (B,) integer tensor or None (the predicted class) is needed"
            ) from None
    if indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool:
        raise InputError(f"target is {indices.dtype}; whole numbers are needed")
    if int(indices.min()) < 0 or int(indices.max()) >= classes:
        raise InputError(f"target {indices.tolist()} is out of range: the model has classes 0 to {classes - 1}")
    return indices.to(outputs.device, torch.long)


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


def starting_relevance(outputs: Tensor, targets: Tensor, start: str, dtype: torch.dtype) -> Tensor:
    """Relevance of the output, (T, B, C): the target's logit or one, zero elsewhere."""
    R = torch.zeros(len(targets), *outputs.shape, dtype=dtype, device=outputs.device)
    index = targets.unsqueeze(2)
    if start == "one":
        return R.scatter_(2, index, 1.0)
    logits = outputs.to(dtype).expand(len(targets), -1, -1)
    return R.scatter_(2, index, logits.gather(2, index))
