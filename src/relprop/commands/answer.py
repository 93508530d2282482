"""Does a network answer, and has each of its answers a name? Asked before anything is explained or measured."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from relprop.models.errors import ModelError
from relprop.record.logits import logits_of
from relprop.support import user_code
from relprop.support.errors import RelpropError


def demand_answer(model: nn.Module, name: str, x: Tensor, classes: Sequence[str] | None = None) -> None:
    """Run a network once, as it is.

    Args:
        model: in eval mode.
        name: what the user called it.
        x: one picture, (1, 3, H, W).
        classes: its names of classes; None: they do not matter.

    Raises:
        ModelError: its own code fails, or it gives another number of logits than it has names.
    """
    try:
        with torch.no_grad():
            logits = logits_of(model(x))
    except RelpropError:
        raise
    except user_code.FAILURES as error:
        shape = tuple(x.shape)
        raise ModelError(
            f"{name}: its forward pass failed on a picture {shape}: {user_code.in_one_line(error)}"
        ) from error
    if classes is not None and logits.ndim == 2 and logits.shape[1] != len(classes):
        raise ModelError(f"{name}: it has names for {len(classes)} classes, and gives {logits.shape[1]} logits")
