"""The family of the user's own networks: ``package.module:factory`` is imported and called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from relprop.data.preprocess import Preprocess
from relprop.models.errors import ModelError
from relprop.models.families.not_stated import NotStated
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
        weights: None: as the factory made it; ``"random"``: likewise, of whose answers nothing is wanted, so that it
            need not say what they mean; or a file, fitted into it.

    Returns:
        The network, its preprocessing and its classes, which it has as attributes; of a network that is only looked at
        a `NotStated` for each that it has not.

    Raises:
        ModelError: nothing of that name; importing or calling it failed; it gave no network, or one without those
            attributes; a file that does not fit.
    """
    network = _network(name)
    if weights is None:
        return network, *_stated(network, name)
    if weights == "random":
        return network, *_as_far_as_stated(network, name)
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
    preprocess, classes = _preprocess(network), _classes(network)
    if preprocess is None or classes is None:
        raise ModelError(_missing(network, name))
    return preprocess, classes


def _as_far_as_stated(network: nn.Module, name: str) -> tuple[Preprocess | NotStated, tuple[str, ...] | NotStated]:
    """What a network says of its input and its output, as far as it does."""
    missing = NotStated(_missing(network, name))
    return _preprocess(network) or missing, _classes(network) or missing


def _preprocess(network: nn.Module) -> Preprocess | None:
    found = getattr(network, "preprocess", None)
    return found if isinstance(found, Preprocess) else None


def _classes(network: nn.Module) -> tuple[str, ...] | None:
    found = getattr(network, "classes", None)
    good = isinstance(found, (tuple, list)) and found and all(isinstance(label, str) for label in found)
    return tuple(found) if isinstance(found, (tuple, list)) and good else None


def _missing(network: nn.Module, name: str) -> str:
    """What a network does not say, and how it can be said."""
    wrong = [
        f"network.{what} is {_kind(getattr(network, what, None))}"
        for what, found in (("preprocess", _preprocess(network)), ("classes", _classes(network)))
        if found is None
    ]
    return f"{name}: {' and '.join(wrong)}; set both before it is returned, such as\n{EXAMPLE}"


def _kind(value: Any) -> str:
    return "missing" if value is None else f"{type(value).__name__}, not what it should be"
