"""What `concepts` finds, as plain data that prints itself as a table."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from relprop.support.tables import counted, folded, html_table, text_table
from relprop.tools.regions import Region

HEAD = ("channel", "mean relevance", "95 % interval", "share", "mean |R|", "best pictures")
FEW = 4
"""So many of a channel's pictures are named in the table."""


@dataclass(frozen=True, eq=False, repr=False)
class Shown:
    """A picture that shows what a channel stands for.

    Attributes:
        picture: its index in the data.
        relevance: of the channel, its sum or maximum over positions, in units of the logit.
        value: the logit that was explained.
        region: where the positive relevance of the map is: for each axis of a picture, (height, width), its first place
            and the one behind its last; None where the map has no positive relevance.
        map: relevance through that channel alone, of a picture's shape (C, H, W).
    """

    picture: int
    relevance: float
    value: float
    region: Region | None
    map: Tensor

    def __repr__(self) -> str:
        return f"Shown(picture {self.picture}, relevance {self.relevance:.4g}, region {self.region})"


@dataclass(frozen=True, eq=False)
class Concept:
    """A channel.

    Attributes:
        channel: its index.
        mean: its relevance, summed over positions, in the mean over the pictures of the class; in units of the logit.
        low, high: 95 % bootstrap interval of the mean; NaN for a single picture.
        magnitude: the mean of the sum of its absolute relevance: more than `mean` where it speaks for the class at some
            places and against it at others.
        shown: the pictures in which its relevance is greatest, greatest first, none of them without positive relevance.
    """

    channel: int
    mean: float
    low: float
    high: float
    magnitude: float
    shown: tuple[Shown, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Concepts:
    """The channels of a layer that matter most for a class.

    Attributes:
        layer: the path of the module.
        outputs: the model's outputs that mean the class.
        by: "sum" or "max": what pictures were compared by.
        number: how many pictures of the class were explained.
        skipped: why pictures could not be read, one line each.
        total: the mean relevance of all channels of the layer together.
        channels: best first.
    """

    layer: str
    outputs: tuple[int, ...]
    by: str
    number: int
    skipped: tuple[str, ...]
    total: float
    channels: tuple[Concept, ...]

    def __repr__(self) -> str:
        best = ", ".join(str(concept.channel) for concept in self.channels)
        return f"Concepts({self.layer}, {counted(self.number, 'picture')}: channels {best})"

    def __str__(self) -> str:
        """A row per channel."""
        return f"{folded(self._caption())}\n\n{text_table(HEAD, self._rows())}"

    def _repr_html_(self) -> str:
        """What a notebook shows: the same table."""
        return html_table(self._caption(), HEAD, self._rows())

    def _caption(self) -> str:
        several = len(self.outputs) > FEW
        outputs = f"of {len(self.outputs)} outputs" if several else " or ".join(map(str, self.outputs))
        return (
            f"{self.layer}, class {outputs}, {counted(self.number, 'picture')}; "
            f"mean relevance of all channels together {self.total:.4g}"
        )

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                str(concept.channel),
                f"{concept.mean:.4g}",
                f"{concept.low:.4g} to {concept.high:.4g}",
                f"{concept.mean / self.total:.1%}" if self.total > 0 else "-",
                f"{concept.magnitude:.4g}",
                ", ".join(str(view.picture) for view in concept.shown[:FEW]) + ", ..." * (len(concept.shown) > FEW),
            )
            for concept in self.channels
        ]
