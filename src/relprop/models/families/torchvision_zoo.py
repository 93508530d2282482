"""The torchvision family: its classification networks, with the preprocessing and the classes of their weights."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torchvision import models  # type: ignore[import-untyped]

from relprop.data.preprocess import Preprocess
from relprop.models.families import download
from relprop.models.families.torch_cache import cached
from relprop.models.files import checkpoints, weight_files
from relprop.models.files.weight_files import Weights

if TYPE_CHECKING:
    from relprop.models.families.family import Loaded
    from relprop.models.files.checkpoints import State

_GOOGLE: dict[str, Any] = {"transform_input": True, "aux_logits": False, "init_weights": False}
ARGUMENTS: dict[str, dict[str, Any]] = {"googlenet": _GOOGLE, "inception_v3": _GOOGLE}
"""What a network's published weights demand of its constructor, where that is not the default."""

_TRAINING_ONLY = re.compile(r"^(aux1|aux2|AuxLogits)\.")  # auxiliary classifiers, silent in eval mode
_DOTTED = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)")  # DenseNet's files say norm.1 for norm1


@dataclass(frozen=True)
class Making:
    """How the networks of one of torchvision's kinds are made.

    Attributes:
        build: from a name and a number of classes to the network, with random weights.
        preprocess: from an entry of weights, and the network, to the preprocessing.
        translated: brings a file's keys to those of the network.
        count: how many classes a file has, given the network with the published number.
        settle: what else the weights of a file demand of the network that holds them.
    """

    build: Callable[[str, int], torch.nn.Module]
    preprocess: Callable[[Any, torch.nn.Module], Preprocess]
    translated: Callable[[State], State]
    count: Callable[[State, torch.nn.Module], int]
    settle: Callable[[str, torch.nn.Module, State], None] = lambda *_: None


def load(name: str, weights: str | Path | Weights | None) -> Loaded:
    """Build a classifier.

    Args:
        name: one of `library_names.torchvision`.
        weights: as `load_made` has it.

    Returns:
        The network, its preprocessing, its classes.

    Raises:
        ModelError: as `load_made` does.
    """
    return load_made(CLASSIFIERS, name, weights)


def load_made(making: Making, name: str, weights: str | Path | Weights | None) -> Loaded:
    """Build a network.

    Args:
        making: of its kind.
        name: torchvision's.
        weights: None: the published ones that torchvision recommends, if they were downloaded before; ``"download"``:
            the same, fetched where they are not; the name of others that it publishes (``"IMAGENET1K_V1"``), likewise;
            ``"random"``; a file; or what one holds.

    Returns:
        The network, its preprocessing, its classes. A file with a card gives preprocessing and classes, Keras'
        files preprocessing, by definition of their format; otherwise the preprocessing stays that of the
        published weights, and a file with another number of classes than those gives a network with that many,
        called ``class 0``, ``class 1``, ...

    Raises:
        ModelError: as `weight_files.weights_for`, `checkpoints.fit`, `download.fetch` and `download.not_here` do.
    """
    published = _published(name)
    entry = published.get(weights if isinstance(weights, str) else "", published["DEFAULT"])
    classes = tuple(entry.meta["categories"])
    if weights == "random":
        model = making.build(name, len(classes))
        return model, making.preprocess(entry, model), classes
    if weights is None and not cached(entry.url).exists():
        download.not_here(name, entry.meta.get("_file_size"))
    if weights is None or (isinstance(weights, str) and weights in (*published, download.DOWNLOAD)):
        weights = download.fetch(entry.url, name)
    found = weight_files.weights_for(name, weights, [*published, download.DOWNLOAD, "random"])
    state = making.translated(found.state)
    model = making.build(name, len(classes))
    count = making.count(state, model)
    if count != len(classes):
        model = making.build(name, count)
    checkpoints.fit(model, state, found.source, name)
    making.settle(name, model, state)
    return model, found.preprocess or making.preprocess(entry, model), found.names(count, classes)


def preprocessing(name: str) -> Preprocess:
    """Return the preprocessing of the weights that torchvision recommends for `name`."""
    return _preprocess(_published(name)["DEFAULT"])


def categories() -> tuple[str, ...]:
    """Return torchvision's names of ImageNet's thousand classes, in the order of their WordNet ids."""
    return tuple(_published("vgg16")["DEFAULT"].meta["categories"])


def _published(name: str) -> dict[str, Any]:
    """Torchvision's entries of weights by name, those without classes (features only) left out."""
    entries = models.get_model_weights(name).__members__
    return {key: entry for key, entry in entries.items() if entry.meta["categories"]}


def built(name: str, classes: int, **arguments: Any) -> torch.nn.Module:
    """Build with random weights, the same each time, leaving the caller's random numbers alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: torch.nn.Module = models.get_model(name, num_classes=classes, **arguments)
    return model


def _translated(state: State) -> State:
    """Bring old names up to date and leave out what only training needs; torch's notes beside them stay."""
    for key in list(state):
        if _TRAINING_ONLY.match(key):
            del state[key]
        elif _DOTTED.search(key):
            state[_DOTTED.sub(r"\1", key)] = state.pop(key)
    return state


def _preprocess(entry: Any) -> Preprocess:
    """Torchvision's preset as ours."""
    preset = entry.transforms()
    (crop,), (resize,) = preset.crop_size, preset.resize_size
    return Preprocess(crop, resize, tuple(preset.mean), tuple(preset.std), preset.interpolation.value)


CLASSIFIERS = Making(
    build=lambda name, classes: built(name, classes, **ARGUMENTS.get(name, {})),
    preprocess=lambda entry, _: _preprocess(entry),
    translated=_translated,
    count=checkpoints.classes_in,
)
