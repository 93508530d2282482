"""The embedded family: the networks of `relprop.models.networks.digits`, whose weights come with the package."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load as read_safetensors

from relprop.catalogue.patterns import parse
from relprop.data.clutter import CLASSES
from relprop.models.files import checkpoints, weight_files
from relprop.models.networks.digits import PREPROCESS, Network, architecture

if TYPE_CHECKING:
    from pathlib import Path

    from relprop.models.families.family import Loaded
    from relprop.models.files.weight_files import Weights


def load(name: str, weights: str | Path | Weights | None) -> Loaded:
    """Load an embedded network, with preprocessing and classes from the card of `weights` where there is one."""
    if weights is None:
        return trained(name), PREPROCESS, CLASSES
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = architecture(name)
    if weights == "random":
        return model, PREPROCESS, CLASSES
    found = weight_files.weights_for(name, weights, ["random"])
    checkpoints.fit(model, found.state, found.source, name)
    return model, found.preprocess or PREPROCESS, found.names(len(CLASSES), CLASSES)


def trained(name: str) -> Network:
    """Return a network with the weights it comes with, in eval mode, on the CPU, in float32.

    Its attribute ``patterns`` holds what Pattern Attribution needs (`relprop.catalogue.patterns`).
    """
    with torch.device("meta"):  # no random weights for nothing, and none of the caller's random numbers
        network = architecture(name)
    folder = resources.files("relprop.models") / "weights"
    network.load_state_dict(read_safetensors((folder / f"{name}.safetensors").read_bytes()), assign=True)
    patterns = folder / f"{name}.patterns.safetensors"
    if patterns.is_file():  # it is made from the weights, later
        vars(network).update(patterns=parse(patterns.read_bytes(), patterns.name))  # no part of its state
    return network.eval()
