"""What localisation measures of each map: for every column of `relprop.study.schema.MEASURES`, how it is computed."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from relprop import metrics
from relprop.study.measure import Maps, OfMaps
from relprop.study.schema import MEASURES as COLUMNS

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


LOCALISATION = OfMaps("localisation", COLUMNS, measured)
"""Whether relevance lies on the object. Its columns are those of `rows.parquet`, so every study has it."""
