"""What a family of networks is: rows of this make the table of `relprop.models.registry`.

Listing must be quick, so that nothing here, in `names` or in `needs` imports torch or the library that a network is
from; loading is in a file per family, imported only when a network of it is loaded.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

if TYPE_CHECKING:
    import torch

    from relprop.data.preprocess import Preprocess
    from relprop.models.families.not_stated import NotStated
    from relprop.models.files.weight_files import Weights

    Loaded: TypeAlias = tuple[torch.nn.Module, Preprocess | NotStated, tuple[str, ...] | NotStated]


class Loader(Protocol):
    """How each family gives a network: the function that `Family.loader` names."""

    def __call__(self, name: str, weights: str | Path | Weights | None) -> Loaded:
        """Return a network, its preprocessing and its classes, one per logit.

        Args:
            name: of the family's.
            weights: what `models.load` takes; where the family `converts`, also what a file holds that was read.

        Raises:
            ModelError: no such network or library; weights that are missing, damaged or of another network.
        """


@dataclass(frozen=True)
class Family:
    """A family of networks.

    Attributes:
        title: what the family is called in lists.
        includes: tells whether a name is one of its names, or of their form.
        names: gives the networks' names, those that can be listed.
        needs: says in a few words what loading the network of that name, or one of that form, takes.
        loader: where its `Loader` is: ``"package.module:function"``.
        form: what its names look like, where they are too many to list unasked, or cannot be; ``""``: they are listed.
        weights_apart: whether weights are a matter of their own; not where one file is both network and weights.
        converts: whether `relprop convert` takes weights for its networks.
    """

    title: str
    includes: Callable[[str], bool]
    names: Callable[[], Iterable[str]]
    needs: Callable[[str], str]
    loader: str
    form: str = ""
    weights_apart: bool = True
    converts: bool = False

    def load(self, name: str, weights: str | Path | Weights | None) -> Loaded:
        """Import the family's `Loader` and call it."""
        return cast("Loader", pkgutil.resolve_name(self.loader))(name, weights)
