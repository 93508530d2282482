"""Sparseness as a measure of a study: on how few pixels a map lies."""

from __future__ import annotations

from relprop import metrics
from relprop.study.measure import OfMaps
from relprop.study.schema import Column

SPARSENESS = OfMaps(
    "sparseness",
    (
        Column(
            "gini", "float64", "Gini index of absolute relevance: 0 everywhere alike, 1 all on one pixel", null=True
        ),
        Column("entropy", "float64", "entropy of absolute relevance as shares of its sum, in nats", null=True),
    ),
    lambda maps: {"gini": metrics.sparseness(maps.R), "entropy": metrics.complexity(maps.R)},
)
"""Chalasani et al. (2020) and Bhatt et al. (2020)."""
