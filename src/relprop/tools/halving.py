"""Successive halving: how many candidates see how many pictures, round after round.

Source: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization" (2016).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from relprop.study.statistics import Bools, Floats

LEAST = 8
"""No candidate is left out on fewer pictures, where there are as many."""
DEFINED = 0.9
"""A candidate is left out where it is defined on less than this share of what the best of them defines."""


class Round(NamedTuple):
    """So many candidates, on so many pictures, those of earlier rounds among them."""

    candidates: int
    pictures: int


def rounds(candidates: int, pictures: int, last: int, eta: int = 3) -> list[Round]:
    """Plan the rounds: from one to the next eta times fewer candidates, and eta times more pictures.

    Args:
        candidates: at the beginning.
        pictures: there are.
        last: so many candidates see all pictures.
        eta: at least 2.

    Returns:
        The last round is on all pictures, whatever the numbers.

    Example:
        >>> [tuple(each) for each in rounds(90, 250, last=3)]
        [(90, 8), (30, 10), (10, 28), (4, 84), (3, 250)]
    """
    last = min(last, candidates)
    steps = max(math.ceil(math.log(candidates / last) / math.log(eta) - 1e-9), 0) + 1
    found: dict[int, Round] = {}
    for k in range(steps):
        kept = max(last, math.ceil(candidates / eta**k)) if k < steps - 1 else last
        seen = min(pictures, max(math.ceil(pictures / eta ** (steps - 1 - k)), LEAST))
        found.setdefault(seen, Round(kept, seen))  # another round on as many pictures would see nothing new
    return list(found.values())


def work(plan: Sequence[Round]) -> int:
    """How many pairs of a candidate and a picture the rounds explain: what was seen before is not seen again."""
    seen = 0
    total = 0
    for candidates, pictures in plan:
        total += candidates * max(pictures - seen, 0)
        seen = max(seen, pictures)
    return total


def ranking(values: Floats) -> list[int]:
    """Order candidates by several measures, best first: by the mean of their places in each, then by the first.

    Args:
        values: (P, candidates, measures), the higher the better, NaN where undefined. Means are over the rows that all
            candidates define which are not left out for defining too little; those come last.
    """
    defined: Bools = np.all(np.isfinite(values), axis=2)
    share = defined.sum(0)
    fit = share >= max(DEFINED * share.max(initial=0), 1)
    rows: Bools = np.all(defined[:, fit], axis=1)
    if not rows.any():  # each lacks another one: then each over its own
        means = np.array(
            [[_mean(values[defined[:, k], k, m]) for m in range(values.shape[2])] for k in range(len(fit))]
        )
    else:
        means = values[rows].mean(0)
    means = np.where(fit[:, None], means, -np.inf)
    places = np.stack([(means[:, m][None, :] > means[:, m][:, None]).sum(1) for m in range(means.shape[1])], 1).mean(1)
    return sorted(range(len(fit)), key=lambda k: (not fit[k], places[k], -means[k, 0], k))


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else -np.inf
