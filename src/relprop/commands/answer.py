"""Does a network answer, and has each of its answers a name? Asked before anything is explained or measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from relprop.models.errors import ModelError
from relprop.models.networks.regional import Regional, map_in
from relprop.record.logits import described, logits_of
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
        ModelError: its own code fails, or it gives another number of logits than it has names, or no row of logits.
    """
    answer = answer_of(model, name, x)
    found = map_in(answer)
    if found is not None:
        raise ModelError(
            f"{name}: it gives a map of logits {tuple(found.shape)}, and a row of them is needed; relprop explain and "
            f"compare take a place of the map, --pixel X,Y or --region X0,Y0,X1,Y1"
        )
    if isinstance(answer, Mapping) and "cls_logits" in answer:
        raise ModelError(
            f"{name}: it gives logits for each of many boxes; in Python the score of a box can be explained"
        )
    logits = logits_of(answer)
    if classes is not None and logits.ndim == 2 and logits.shape[1] != len(classes):
        raise ModelError(f"{name}: it has names for {len(classes)} classes, and gives {logits.shape[1]} logits")


def answer_of(model: nn.Module, name: str, x: Tensor) -> Any:
    """Return what a network gives for a picture (1, 3, H, W), whatever it is.

    Raises:
        ModelError: its own code fails.
    """
    try:
        with torch.no_grad():
            return model(x)
    except RelpropError:
        raise
    except user_code.FAILURES as error:
        shape = tuple(x.shape)
        raise ModelError(
            f"{name}: its forward pass failed on a picture {shape}: {user_code.in_one_line(error)}"
        ) from error


def whole(model: nn.Module, name: str, x: Tensor) -> nn.Module:
    """Return a network that gives logits: where it gives a map of them, their mean over the map."""
    return Regional(model) if map_in(answer_of(model, name, x)) is not None else model


def reads_texts(model: nn.Module) -> bool:
    """Whether a model takes texts."""
    return hasattr(model, "encode")


def reader_of_texts(model: nn.Module, name: str) -> nn.Module:
    """Return the model if it reads texts.

    Raises:
        ModelError: it does not.
    """
    if not reads_texts(model):
        raise ModelError(
            f"{name}: it takes no texts; name a language model or a classifier of texts, --model hf:FOLDER"
        )
    return model


def logits_of_texts(model: nn.Module, name: str, x: dict[str, Tensor]) -> Tensor:
    """Return the logits, (B, L, V) or (B, C), of a model as it is.

    Raises:
        ModelError: its own code fails.
    """
    try:
        with torch.no_grad():
            logits = logits_of(model(**x))
    except RelpropError:
        raise
    except user_code.FAILURES as error:
        raise ModelError(
            f"{name}: its forward pass failed on {described(x)}: {user_code.in_one_line(error)}"
        ) from error
    return logits
