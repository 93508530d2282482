"""Every network that `load` knows, by name, and where each comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from relprop.data.preprocess import Preprocess
from relprop.models import checkpoints, embedded
from relprop.models.checkpoints import ModelError
from relprop.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType

    Loaded = tuple[torch.nn.Module, Preprocess, tuple[str, ...]]


@dataclass(frozen=True)
class Source:
    """A family of networks.

    Attributes:
        title: what the family is called in lists.
        names: gives the networks' names.
        needs: says what loading the network of that name takes.
        load: gives the network of that name, its preprocessing and its classes, from what `load` below takes.
    """

    title: str
    names: Callable[[], Iterable[str]]
    needs: Callable[[str], str]
    load: Callable[[str, str | Path | None], Loaded]


def _load_embedded(name: str, weights: str | Path | None) -> Loaded:
    preprocess = Preprocess(64, 64, embedded.MEAN, embedded.STD)
    if weights is None:
        return embedded.load(name), preprocess, embedded.CLASSES
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = embedded.architecture(name)
    if weights != "random":
        checkpoints.demand(Path(weights), ["random"])
        checkpoints.fit(model, checkpoints.read(weights), str(weights), name)
    return model, preprocess, embedded.CLASSES


def _zoo() -> ModuleType:
    from relprop.models import zoo  # noqa: PLC0415 - torchvision takes longer to import than torch

    return zoo


SOURCES = (
    Source("embedded", lambda: embedded.NAMES, lambda _: "nothing: it is in the package", _load_embedded),
    Source(
        "torchvision",
        lambda: _zoo().names(),
        lambda name: _zoo().needs(name),
        lambda name, weights: _zoo().load(name, weights),
    ),
)


def names() -> list[str]:
    """Return the name of every network that `load` knows."""
    return [name for source in SOURCES for name in source.names()]


def source_of(name: str) -> Source:
    """Return the family of `name`.

    Raises:
        ModelError: there is no such network; the nearest names are offered.
    """
    for source in SOURCES:
        if name in source.names():
            return source
    raise ModelError(f"no model {name!r}{did_you_mean(name, names()) or '; relprop models lists them'}")


def needs(name: str) -> str:
    """Say in a few words what loading `name` takes: nothing, or a download of so many MB."""
    return source_of(name).needs(name)


def load(name: str, weights: str | Path | None = None) -> torch.nn.Module:
    """Load a network to be explained.

    Args:
        name: as `names` lists it: an embedded one (``"digits-deep"``) or torchvision's (``"vgg16"``).
        weights: None: its own, downloaded where they must be. ``"random"``: none, but numbers that are the
            same each time; enough to look at a network's structure. For torchvision also the name of one of
            its entries (``"IMAGENET1K_V1"``). Otherwise a safetensors or torch file, in which nothing is
            executed; the preprocessing stays that of the network's own weights.

    Returns:
        The network on the CPU in eval mode. Its attribute ``preprocess`` is a `Preprocess` (picture to
        (3, H, W) tensor) and ``classes`` a tuple with a name per logit.

    Raises:
        ModelError: no such network; weights missing, damaged, of another network, or not to be downloaded.
    """
    model, preprocess, classes = source_of(name).load(name, weights)
    vars(model).update(preprocess=preprocess, classes=classes)  # plain attributes, no part of its state
    return model.eval()
