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
    if isinstance(target, (list, tuple)):
        per_picture = f"torch.tensor({list(target)}) for one a picture" if len(target) == batch else "a (B,) tensor"
        raise InputError(
            f"target is the list {list(target)}: explain(..., targets=[...]) for several, or {per_picture}"
        )
    if target is None:
        return outputs.argmax(1)
    if isinstance(target, Tensor) and target.ndim == 1:
        if target.shape[0] != batch:
            raise InputError(f"target has {target.shape[0]} classes for {batch} pictures")
        indices = target
    elif isinstance(target, bool) or (isinstance(target, Tensor) and target.dtype == torch.bool):
        raise InputError("target is a bool; an index, a (B,) integer tensor or None is needed")
    else:
        try:
            indices = torch.tensor([int(operator.index(target))] * batch)
        except TypeError:
            raise InputError(
                f"target is {target!r}; an index, a (B,) integer tensor or None (the predicted class) is needed"
            ) from None
    if indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool:
        raise InputError(f"target is {indices.dtype}; whole numbers are needed")
    if int(indices.min()) < 0 or int(indices.max()) >= classes:
        raise InputError(f"target {indices.tolist()} is out of range: the model has classes 0 to {classes - 1}")
    return indices.to(outputs.device, torch.long)


def starting_relevance(outputs: Tensor, targets: Tensor, start: str, dtype: torch.dtype) -> Tensor:
    """Relevance of the output, (T, B, C): the target's logit or one, zero elsewhere."""
    R = torch.zeros(len(targets), *outputs.shape, dtype=dtype, device=outputs.device)
    index = targets.unsqueeze(2)
    if start == "one":
        return R.scatter_(2, index, 1.0)
    logits = outputs.to(dtype).expand(len(targets), -1, -1)
    return R.scatter_(2, index, logits.gather(2, index))
