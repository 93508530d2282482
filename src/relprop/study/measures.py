"""What is measured of each map: for every column of `relprop.study.schema.MEASURES`, how it is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from relprop import metrics


@dataclass(frozen=True)
class Maps:
    """N maps of one method, and what they are measured against.

    Attributes:
        R: relevance summed over channels, (N, H, W) float64.
        inside: (N, H, W) bool, the union of the boxes of the class that each map explains.
        others: likewise, of the picture's other classes.
        top_k: k of the top-k measure, in pixels.
    """

    R: Tensor
    inside: Tensor
    others: Tensor
    top_k: int

    @cached_property
    def mu(self) -> Tensor:
        """The inside-total ratio (N,), which two measures start from."""
        return metrics.inside_total_ratio(self.R, self.inside)

    @cached_property
    def contradiction(self) -> tuple[Tensor, Tensor]:
        """The share of negative relevance on the other classes, and the share of the area that they take."""
        return metrics.negative_share_inside(self.R, self.others, self.inside)


MEASURES: dict[str, Callable[[Maps], Tensor]] = {
    "mu": lambda maps: maps.mu,
    "mu_w": lambda maps: metrics.weighted_by_area(maps.mu, maps.inside),
    "pointing_game": lambda maps: metrics.pointing_game(maps.R, maps.inside),
    "rank_accuracy": lambda maps: metrics.relevance_rank_accuracy(maps.R, maps.inside),
    "top_k": lambda maps: metrics.top_k(maps.R, maps.inside, min(maps.top_k, maps.inside[0].numel())),
    "relevance_sum": lambda maps: maps.R.sum((1, 2)),
    "relevance_positive": lambda maps: maps.R.clamp(min=0).sum((1, 2)),
    "negative_inside_others": lambda maps: maps.contradiction[0],
    "others_area": lambda maps: maps.contradiction[1],
}
"""By column, from maps to a number each, (N,), NaN where undefined."""


def measured(maps: Maps) -> dict[str, list[float]]:
    """Return every measure of the maps, by column."""
    return {name: measure(maps).tolist() for name, measure in MEASURES.items()}
