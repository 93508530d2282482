"""The networks of the command line, and no others: each is loaded once, when it is first asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from relprop.support.suggest import did_you_mean
from relprop.web.refused import Refused, shown

PICTURES, TEXT = "pictures", "text"


@dataclass(eq=False)
class Network:
    """A network that is served.

    Attributes:
        name: as requests call it.
        load: loads it, on its device; raises what `relprop.models.load` raises.
        prove: is called with it, its name, its first input and its classes, and raises where its answer is no row of
            logits.
        in_words: how it wants its pictures.
        one_of_all: whether the classes of a network that is loaded exclude each other, so that softmax says something.
        code: loads it in Python.
        kind: `PICTURES` or `TEXT`; None: not known before it is loaded.
        model: once it is loaded.
        checked: whether its record has been replayed.
    """

    name: str
    load: Callable[[], nn.Module]
    prove: Callable[[nn.Module, str, torch.Tensor, Sequence[str]], None]
    in_words: Callable[[Any], str]
    one_of_all: Callable[[nn.Module], bool]
    code: str
    kind: str | None = None
    model: Any = None
    checked: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """A name per logit, none of a language model, or of one that is not loaded."""
        return tuple(getattr(self.model, "classes", ()) or ())

    @property
    def prepared(self) -> str | None:
        """How pictures are prepared, in words; None where it is not loaded, or takes texts."""
        return self.in_words(self.model.preprocess) if self.model is not None and self.kind == PICTURES else None

    def about(self) -> dict[str, Any]:
        """Describe it; what only the loaded network knows is null before."""
        targets = ("tokens" if self.kind == TEXT and not self.classes else "classes") if self.model else None
        return {
            "name": self.name,
            "kind": self.kind,
            "prepared": self.prepared,
            "classes": len(self.classes) if self.model is not None else None,
            "targets": targets,
            "loaded": self.model is not None,
        }


@dataclass
class Networks:
    """All that are served.

    Attributes:
        all: in the command line's order, the first is the one that is shown first.
        tell: is told in a line what was loaded.
    """

    all: Sequence[Network]
    tell: Callable[[str], object]
    _by_name: dict[str, Network] = field(init=False)

    def __post_init__(self) -> None:
        self._by_name = {network.name: network for network in self.all}

    def named(self, name: str) -> Network:
        """Return a network by its name, loaded or not.

        Raises:
            Refused: none of that name is served.
        """
        if name not in self._by_name:
            near = did_you_mean(name, self._by_name)
            raise Refused(404, f"no network {shown(name)!r} is served here{near or '; --model names those that are'}")
        return self._by_name[name]

    def ready(self, name: str, kind: str) -> Network:
        """Return a network that is loaded, now or before.

        Args:
            name: of it.
            kind: what it is to be asked about.

        Raises:
            Refused: none of that name is served, or it takes the other kind.
            RelpropError: it cannot be loaded.
        """
        network = self.named(name)
        self.load(network)
        if network.kind != kind:
            other = "a text" if network.kind == TEXT else "a picture"
            raise Refused(422, f"{network.name} takes {network.kind}, not {kind}; give it {other}")
        return network

    def load(self, network: Network) -> None:
        """Load a network if it is not loaded yet."""
        if network.model is not None:
            return
        began = time.monotonic()
        network.model = network.load()
        network.kind = TEXT if hasattr(network.model, "encode") else PICTURES
        what = f"pictures, {network.prepared}" if network.kind == PICTURES else "texts"
        classes = f"{len(network.classes)} classes" if network.classes else "tokens"
        self.tell(f"loaded {network.name} in {time.monotonic() - began:.1f} s: {classes}; it takes {what}")
