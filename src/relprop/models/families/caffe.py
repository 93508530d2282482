"""The Caffe family: `relprop.models.networks.caffenet`, with weights that `relprop convert` has converted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from relprop.models.errors import ModelError
from relprop.models.files import checkpoints, weight_files
from relprop.models.networks.caffenet import PREPROCESS, CaffeNet, build

if TYPE_CHECKING:
    from pathlib import Path

    from relprop.models.families.family import Loaded
    from relprop.models.files.weight_files import Weights


def load(name: str, weights: str | Path | Weights | None) -> Loaded:
    """Build CaffeNet.

    Args:
        name: ``"caffenet"``.
        weights: ``"random"``: numbers that are the same each time, ImageNet's thousand classes, and the mean
            pixel. Or a file that `relprop convert` wrote, whose card has preprocessing and classes; or what it holds.

    Raises:
        ModelError: the file is of another network, or has no card; no weights are published to be fetched.
    """
    if weights == "random":
        from relprop.models.families import torchvision_zoo  # noqa: PLC0415 - torchvision takes long to import

        classes = torchvision_zoo.categories()
        return build(len(classes)), PREPROCESS, classes
    convert = f"relprop convert FILE --model {name} --mean MEAN"
    if weights is None:
        raise ModelError(f"{name}: no weights are published for download here; convert a .caffemodel with {convert}")
    found = weight_files.weights_for(name, weights, ["random"])
    if found.preprocess is None:
        unsaid = f"{found.source}: weights without a card do not say how pictures are prepared for them"
        raise ModelError(f"{unsaid}, which is not guessed; use {convert}")
    with torch.device("meta"):
        count = checkpoints.classes_in(found.state, CaffeNet())
    model = build(count)
    checkpoints.fit(model, found.state, found.source, name)
    return model, found.preprocess, found.names(count, ())
