"""The family of the user's own networks: ``package.module:factory`` is imported and called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from relprop.data.preprocess import Preprocess
from relprop.models.errors import ModelError
from relprop.models.files import checkpoints, weight_files
from relprop.support import user_code

if TYPE_CHECKING:
    from relprop.models.families.family import Loaded

EXAMPLE = """\
    from relprop.models import Preprocess
    network.preprocess = Preprocess(crop=224, resize=256, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    network.classes = ("cat", "dog")  # a name per logit"""
"""What a factory has to add to a network."""


def load(name: str, weights: str | Path | None) -> Loaded:
    """Import a module and call what it names, or take that if it is a network.

    Args:
        name: ``package.module:factory``; the current folder is searched first, as ``python -m`` does.
        weights: None or ``"random"``: as the factory made it; or a file, fitted into that.

    Returns:
        The network, its preprocessing and its classes, which it has as attributes.

    Raises:
        ModelError: nothing of that name; importing or calling it failed; it gave no network, or one without those
            attributes; a file that does not fit.
    """
    network = _network(name)
    if weights is None or weights == "random":
        return network, *_stated(network, name)
    found = weight_files.weights_for(name, weights, ["random"])
    checkpoints.fit(network, found.state, found.source, name)
    if found.preprocess and found.classes:
        return network, found.preprocess, found.classes
    return network, *_stated(network, name)


def _network(name: str) -> nn.Module:
    """The network that the name stands for."""
    try:
        found = user_code.find(name, ["timm", "hf"])
    except user_code.UserCodeError as error:
        raise ModelError(f"{name}: {error}") from error.__cause__
    if isinstance(found, nn.Module):
        return found
    if not callable(found):
        raise ModelError(f"{name}: {type(found).__name__}, neither a network nor a function that returns one")
    try:
        with user_code.current_folder_first():
            network = found()
    except user_code.FAILURES as error:
        raise ModelError(f"{name}: calling it without arguments failed: {user_code.in_one_line(error)}") from error
    if not isinstance(network, nn.Module):
        raise ModelError(f"{name}: it returned {type(network).__name__}, not a torch.nn.Module")
    return network


def _stated(network: nn.Module, name: str) -> tuple[Preprocess, tuple[str, ...]]:
    """What a network says of its input and its output.

    Raises:
        ModelError: nothing, or something else; with an example.
    """
    preprocess, classes = getattr(network, "preprocess", None), getattr(network, "classes", None)
    good = isinstance(classes, (tuple, list)) and classes and all(isinstance(label, str) for label in classes)
    wrong = [
        *([] if isinstance(preprocess, Preprocess) else [f"network.preprocess is {_kind(preprocess)}"]),
        *([] if good else [f"network.classes is {_kind(classes)}"]),
    ]
    if not isinstance(preprocess, Preprocess) or not isinstance(classes, (tuple, list)) or wrong:
        raise ModelError(f"{name}: {' and '.join(wrong)}; set both before it is returned, such as\n{EXAMPLE}")
    return preprocess, tuple(classes)


def _kind(value: Any) -> str:
    return "missing" if value is None else f"{type(value).__name__}, not what it should be"
