"""Torchvision's detectors of one stage, at their heads: logits of COCO's classes, and a box, for each anchor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from relprop.data.preprocess import Preprocess
from relprop.models.errors import ModelError
from relprop.models.families import library_names
from relprop.models.families.torchvision_zoo import Making, built, load_made
from relprop.models.files.weight_files import Weights
from relprop.models.networks.detector import Detector

if TYPE_CHECKING:
    from relprop.models.families.family import Loaded
    from relprop.models.files.checkpoints import State

COUNTED = "head.classification_head."
"""How the keys begin of the parameters that there are one of for each class and anchor."""


def load(name: str, weights: str | Path | Weights | None) -> Loaded:
    """Build a detector.

    Args:
        name: one of `library_names.one_stage`.
        weights: as for torchvision's classifiers.

    Returns:
        The network (`relprop.models.networks.detector.Detector`), its preprocessing, its classes: what torchvision does
        to pictures inside of a detector is done before it here. SSD's rescale to a fixed size, the others the shorter
        side, of which the centre is cut out.

    Raises:
        ModelError: the detector has two stages; or as for torchvision's classifiers.
    """
    if name not in library_names.one_stage():
        raise ModelError(
            f"{name}: a detector of two stages: which regions its second stage reads is chosen by sorting boxes, which "
            f"relevance cannot follow; take one of one stage: {', '.join(library_names.one_stage())}"
        )
    return load_made(MAKING, name, weights)


def _build(name: str, classes: int) -> nn.Module:
    detector = built(name, classes, weights_backbone=None)
    model = Detector(detector)
    vars(model)["prepares"] = detector.transform  # plain attribute: it says how pictures go in
    return model


def _preprocess(_: Any, model: nn.Module) -> Preprocess:
    """What torchvision's transform inside of the detector does, but that a square is cut out where sides are kept."""
    transform: Any = vars(model).pop("prepares")
    mean, std = tuple(transform.image_mean), tuple(transform.image_std)
    fixed = transform.fixed_size
    side = fixed[0] if fixed else transform.min_size[-1]
    return Preprocess(side, (side, side) if fixed else side, mean, std)


def _count(state: State, model: nn.Module) -> int:
    """How many classes a file has: its logits per anchor, by those of the network with the published number."""
    own = {key: len(value) for key, value in model.state_dict().items() if key.startswith(COUNTED) and value.ndim == 1}
    key = [key for key in own if key.endswith("bias")][-1]
    classes = PUBLISHED
    given = len(state[key]) if key in state and state[key].ndim == 1 else own[key]
    return given * classes // own[key] or classes


PUBLISHED = 91
"""COCO's classes, unused ones and the background included."""


def _settle(name: str, model: nn.Module, state: State) -> None:
    """Give the BatchNorms the eps that the weights were trained with.

    Torchvision's own for the first RetinaNet were, elsewhere, with 0. They are known by their frozen BatchNorms, which
    count no batches. A frozen BatchNorm computes what any does in eval mode, and is built as one here.
    """
    if name == "retinanet_resnet50_fpn" and not any(key.endswith("num_batches_tracked") for key in state):
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 0.0


MAKING = Making(_build, _preprocess, lambda state: state, _count, _settle)
