"""The pictures of a class, found among others and read one after the other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from relprop.data.pictures import PictureError
from relprop.support.errors import InputError

Label = int | Collection[int]
"""The output of the model that means a picture's class, or several of them."""
Progress = Callable[[str, int, int], None]
"""Called with what is being done ("pictures", "regions"), how many are done, and how many there are."""


class Samples(Protocol):
    """Pictures ready for the network, each with its class, in a fixed order; the same each time they are read.

    Where there is a method `labels`, from an index to the label alone, pictures of other classes are never read.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Tensor, Label]: ...


@dataclass
class Members:
    """The pictures of a class.

    Attributes:
        skipped: why a picture cannot be read.
        met: the labels that came by.
    """

    data: Samples
    outputs: tuple[int, ...]
    skipped: list[str] = field(default_factory=list)
    met: set[int] = field(default_factory=set)

    def batches(self, size: int, progress: Progress) -> Iterator[tuple[list[int], Tensor]]:
        """Indices and pictures (B, ...): so many of the class in a row, less those that cannot be read."""
        indices: list[int] = []
        pictures: list[Tensor] = []
        of_class = 0
        for index in range(len(self.data)):
            mine, x = self._read(index)
            of_class += mine
            if x is not None:
                indices.append(index)
                pictures.append(x)
            if of_class == size or index + 1 == len(self.data):
                if pictures:
                    yield indices, torch.stack(pictures)
                indices, pictures, of_class = [], [], 0
            progress("pictures", index + 1, len(self.data))

    def named(self, progress: Progress) -> list[int]:
        """Indices of the class's pictures by their labels alone, as `batches` has them.

        Raises:
            InputError: the data tells no label without a picture.
        """
        labels = getattr(self.data, "labels", None)
        if not callable(labels):
            raise InputError(
                "data has no method `labels`, from an index to the picture's label, by which pictures are handed out"
            )
        found = []
        for index in range(len(self.data)):
            if self._mine(labels(index)):
                found.append(index)
            progress("labels", index + 1, len(self.data))
        return found

    def read(self, indices: Collection[int]) -> tuple[list[int], Tensor | None]:
        """Those of some pictures that can be read, and the pictures (B, ...); None where there is none."""
        read = [(index, x) for index in indices for _, x in [self._read(index)] if x is not None]
        return [index for index, _ in read], torch.stack([x for _, x in read]) if read else None

    def _read(self, index: int) -> tuple[bool, Tensor | None]:
        """Whether a picture is known to be of the class, and the picture where it is and can be read."""
        alone = getattr(self.data, "labels", None)
        known = False
        try:
            if callable(alone):
                known = self._mine(alone(index))
                if not known:
                    return False, None
            x, label = self.data[index]
        except PictureError as error:
            self.skipped.append(str(error))
            return known, None
        mine = self._mine(label)
        return mine, x if mine else None

    def _mine(self, label: Label) -> bool:
        found = label_of(label)
        self.met |= found
        return not found.isdisjoint(self.outputs)

    def missing(self, model: nn.Module) -> str:
        """What to say where there is no picture."""
        names = tuple(getattr(model, "classes", None) or ())

        def word(k: int) -> str:
            return f"{k} ({names[k]})" if 0 <= k < len(names) else str(k)

        wanted = " or ".join(map(word, self.outputs))
        if self.skipped:
            return f"no picture of class {wanted} can be read; of {len(self.skipped)} the first: {self.skipped[0]}"
        met = sorted(self.met)
        there = ", ".join(map(word, met[:10])) + ", ..." * (len(met) > 10) if met else "none"
        return f"none of the data's {len(self.data)} pictures is of class {wanted}; classes that are there: {there}"


def label_of(label: Any) -> frozenset[int]:
    """The outputs that a label means."""
    if isinstance(label, Tensor):
        label = label.tolist()
    try:
        return frozenset([int(label)] if not isinstance(label, Collection) else map(int, label))
    except (TypeError, ValueError):
        raise InputError(
            f"data gives the label {label!r}; the index of the output that means the class, or several, is needed"
        ) from None
