"""Conditions: relevance through some channels or neurons of some modules alone (concept relevance).

Reference: Achtibat et al., "From attribution maps to human-understandable explanations through Concept Relevance
Propagation" (2023), Nature Machine Intelligence 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from relprop.rules.layer import Kind
from relprop.support.errors import InputError
from relprop.support.suggest import did_you_mean
from relprop.tape.tape import Value

Condition = Mapping[str, Any]
"""Module paths to what of the module's output is let through: indices along its channels, or a mask."""


@dataclass(frozen=True)
class Conditions:
    """What is let through.

    Attributes:
        number: K, how many conditions there are; a map is made for each of them.
        masks: at a value 1 for what is let through and 0 for the rest, (1, K, 1, *1, C, *1) or alike.
        words: what the ledger says of it.
    """

    number: int = 1
    masks: Mapping[Value, Tensor] = field(default_factory=dict)
    words: str = ""


UNCONDITIONAL = Conditions()


def conditions_at(conditions: Sequence[Condition], places: Mapping[str, Value], modules: Iterable[str]) -> Conditions:
    """The masks of conditions.

    Args:
        conditions: what is let through, for each.
        places: the outputs of the modules that they name.
        modules: the paths of all modules, to suggest the near one.

    Raises:
        InputError: a module is not there, does not run, or has no such channel.
    """
    masks: dict[Value, list[Tensor]] = {}
    for k, condition in enumerate(conditions):
        for path, wanted in condition.items():
            value = _place(path, places, modules)
            if not value.owners.batch_first:
                raise InputError(f"conditions: the first axis of the output of {path!r} is not the batch")
            everything = torch.ones([1] * (len(value.shape) - 1), device=value.data.device)
            masks.setdefault(value, [everything] * len(conditions))[k] = let_through(path, value, wanted)
    compact = {v: torch.stack(torch.broadcast_tensors(*each))[None, :, None] for v, each in masks.items()}
    words = "one of " * (len(conditions) > 1) + "; ".join(dict.fromkeys(_told(c) for c in conditions[:SHOWN]))
    return Conditions(len(conditions), compact, words + "; ..." * (len(conditions) > SHOWN))


SHOWN = 3
"""So many conditions are written out in the ledger."""


def let_through(path: str, value: Value, wanted: Any) -> Tensor:
    """A mask, broadcastable to the value's shape without the batch, 1 for what is let through."""
    shape, device = value.shape[1:], value.data.device
    if isinstance(wanted, Tensor) and wanted.dtype == torch.bool:
        try:
            return wanted.to(device, torch.float32).expand(shape)
        except RuntimeError:
            raise InputError(
                f"conditions: the mask for {path!r} has shape {tuple(wanted.shape)}, and its output {tuple(shape)}"
            ) from None
    axis = channels_of(value) - 1
    try:
        indices = [int(i) for i in ([wanted] if isinstance(wanted, int) else wanted)]
    except (TypeError, ValueError):
        raise InputError(
            f"conditions: {path!r} takes channels, such as [17], or a boolean mask, not {wanted!r}"
        ) from None
    for index in indices:
        if not 0 <= index < shape[axis]:
            raise InputError(f"conditions: {path!r} has channels 0 to {shape[axis] - 1}, not {index}")
    mask = torch.zeros(shape[axis], device=device)
    mask[indices] = 1.0
    return mask.view([-1 if k == axis else 1 for k in range(len(shape))])


def channels_of(value: Value) -> int:
    """The axis of a value's channels: 1 behind convolutions, the last one behind linear layers on (B, L, D)."""
    if len(value.shape) != 3:
        return 1
    source = value.source
    while source is not None and source.kind not in (*ALONG_AXIS_1, *ALONG_THE_LAST):
        source = source.inputs[0].source if source.inputs else None
    return 2 if source is not None and source.kind in ALONG_THE_LAST else 1


ALONG_AXIS_1 = (Kind.CONV, Kind.AVG_POOL, Kind.MAX_POOL)
ALONG_THE_LAST = (Kind.LINEAR, Kind.EMBEDDING)


def _place(path: str, places: Mapping[str, Value], modules: Iterable[str]) -> Value:
    if path in places:
        return places[path]
    if path in set(modules):
        raise InputError(f"conditions name {path!r}, whose output is no single recorded tensor, or which does not run")
    raise InputError(f"conditions name {path!r}, which is no module of the model{did_you_mean(path, modules)}")


def _told(condition: Condition) -> str:
    """A condition in a few words."""
    parts = []
    for path, wanted in condition.items():
        few = [wanted] if isinstance(wanted, int) else list(wanted)[:SHOWN] if not isinstance(wanted, Tensor) else []
        more = ", ..." if not isinstance(wanted, (int, Tensor)) and len(list(wanted)) > SHOWN else ""
        parts.append(f"{path} {', '.join(map(str, few))}{more}" if few else f"{path} by a mask")
    return ", ".join(parts)
