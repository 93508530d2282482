"""Torchvision's segmentation networks: a map of logits, one for each of VOC's classes and the background."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from relprop.data.preprocess import Preprocess
from relprop.models.families.torchvision_zoo import Making, built, load_made
from relprop.models.files import checkpoints
from relprop.models.files.weight_files import Weights

if TYPE_CHECKING:
    from relprop.models.families.family import Loaded
    from relprop.models.files.checkpoints import State

AUXILIARY = "aux_classifier."
"""How the keys begin of a second classifier that training alone needs."""


def load(name: str, weights: str | Path | Weights | None) -> Loaded:
    """Build a network: (B, 3, H, W) to a mapping, with the map of logits (B, classes, H, W) as "out".

    The second classifier that training adds ("aux") is left out.

    Args:
        name: one of `library_names.torchvision("segmentation")`.
        weights: as for torchvision's classifiers.

    Returns:
        The network, its preprocessing (the centre of a picture, a square of 520 pixels), its classes.

    Raises:
        ModelError: as for torchvision's classifiers.
    """
    return load_made(MAKING, name, weights)


def _build(name: str, classes: int) -> nn.Module:
    more: dict[str, Any] = {} if name.startswith("lraspp") else {"aux_loss": False}
    return built(name, classes, weights_backbone=None, **more)


def _preprocess(entry: Any, _: nn.Module) -> Preprocess:
    """Torchvision's preset as ours, which cuts the centre out of a picture that is not square."""
    preset = entry.transforms()
    (side,) = preset.resize_size
    return Preprocess(side, side, tuple(preset.mean), tuple(preset.std), preset.interpolation.value)


def _translated(state: State) -> State:
    for key in [key for key in state if key.startswith(AUXILIARY)]:
        del state[key]
    return state


MAKING = Making(_build, _preprocess, _translated, checkpoints.classes_in)
