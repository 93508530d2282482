"""Measures of how well heat maps find objects. They take tensors and know nothing of how maps are made."""

from relprop.metrics.flipping import Flips, flip
from relprop.metrics.localization import (
    inside_total_ratio,
    negative_share_inside,
    pointing_game,
    relevance_rank_accuracy,
    similarity,
    statuses,
    top_k,
    weighted_by_area,
    weighted_inside_total_ratio,
)
from relprop.metrics.occlusion import delta, occlude

__all__ = [
    "Flips",
    "delta",
    "flip",
    "inside_total_ratio",
    "negative_share_inside",
    "occlude",
    "pointing_game",
    "relevance_rank_accuracy",
    "similarity",
    "statuses",
    "top_k",
    "weighted_by_area",
    "weighted_inside_total_ratio",
]
