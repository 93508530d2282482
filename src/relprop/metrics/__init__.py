"""Measures of how well heat maps find objects. They take tensors and know nothing of how maps are made."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from relprop.metrics.concentration import complexity, sparseness
from relprop.metrics.flipping import Flips, flip
from relprop.metrics.likeness import spearman, ssim
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

# These explain networks, so they stand above the engine, which knows nothing of measures; imported when first used.
_PLACES = {"Randomised": "relprop.randomising", "randomise": "relprop.randomising"}

# To a type checker, a module with such a function has every name; what `_PLACES` holds is of no type to it.
if TYPE_CHECKING:
    Randomised: Any
    randomise: Any
else:

    def __getattr__(name: str) -> Any:
        if name not in _PLACES:
            raise AttributeError(f"module 'relprop.metrics' has no attribute {name!r}")
        return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [  # noqa: PLE0604
    *_PLACES,
    "Flips",
    "complexity",
    "delta",
    "flip",
    "inside_total_ratio",
    "negative_share_inside",
    "occlude",
    "pointing_game",
    "relevance_rank_accuracy",
    "similarity",
    "sparseness",
    "spearman",
    "ssim",
    "statuses",
    "top_k",
    "weighted_by_area",
    "weighted_inside_total_ratio",
]
