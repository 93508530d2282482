"""A data set as pairs: each picture ready for a network, with the outputs that mean the classes shown on it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from relprop.data.entries import Dataset, Entry
from relprop.data.preprocess import Preprocess


class Labelled:
    """Pictures with labels.

    Args:
        data: pictures with their objects.
        preprocess: how the network wants them; objects that its crop cuts off still count as shown.
        outputs: for each class of the data the network's outputs that mean it.
        limit: so many pictures, from the first; None: all.
    """

    def __init__(
        self, data: Dataset, preprocess: Preprocess, outputs: Mapping[str, tuple[int, ...]], limit: int | None = None
    ) -> None:
        self.data = data
        self.preprocess = preprocess
        self.outputs = outputs
        self.limit = limit
        self._last: tuple[int, Entry] | None = None  # embedded pictures are drawn where their labels are asked for

    def __len__(self) -> int:
        return len(self.data) if self.limit is None else min(self.limit, len(self.data))

    def __getitem__(self, index: int) -> tuple[Tensor, frozenset[int]]:
        """Read a picture, (3, H, W), and its labels.

        Raises:
            PictureError: it cannot be read.
        """
        return self.preprocess(self.entry(index).open()), self.labels(index)

    def labels(self, index: int) -> frozenset[int]:
        """The outputs that mean one of the classes shown; no picture is decoded for it."""
        names = {thing.name for thing in self.entry(index).things}
        return frozenset(output for name in names for output in self.outputs.get(name, ()))

    def entry(self, index: int) -> Entry:
        """A picture's entry in the data.

        Raises:
            IndexError: there is none.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        if self._last is None or self._last[0] != index:
            self._last = index, self.data[index]
        return self._last[1]
