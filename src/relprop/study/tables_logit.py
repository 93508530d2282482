"""Where the logit went: how much of it lies on pixels, method by method."""

from __future__ import annotations

from functools import partial

import numpy as np

from relprop.study.arranged import Rows
from relprop.study.results import Study
from relprop.study.statistics import Floats
from relprop.study.tables import UNKNOWN, Cell, Table

PARTS = {"relevance_sum": "on pixels", "bias": "biases", "eps": "eps", "lost": "lost"}
"""What a map's ledger adds up to the logit from, and what the table calls it."""


def shares(study: Study) -> Table:
    """Return the median share of the logit on pixels, with its quartiles, and what took the rest, likewise medians.

    Methods whose relevance does not begin as the logit, or that have no ledger, have no such share.
    """
    by_part = [[_quartiles(of) for of in study.columns(partial(Rows.of_logit, column=part))] for part in PARTS]
    known_of = study.count(lambda rows: np.isfinite(rows.of_logit()))
    rows: list[tuple[Cell, ...]] = []
    for k in study.ranking:
        pixels, *rest = (quartiles[k] for quartiles in by_part)
        known = int(known_of[k])
        if known:
            between = f"{pixels[0]:.2f} to {pixels[2]:.2f}"
            rows.append((study.methods[k], float(pixels[1]), between, *(float(q[1]) for q in rest), known))
        else:
            rows.append((study.methods[k], *(None,) * (len(PARTS) + 1), 0))
    caption = (
        "The share of the logit that lies on pixels: median over the pairs, and the quartiles; beside it what biases, "
        "the stabiliser and padding or constants took, medians too, so that they need not add up to 1. Where little "
        f"lies on pixels, a map tells little of the logit. {UNKNOWN}: relevance that does not begin as the logit, or "
        "no ledger."
    )
    return Table("logit", caption, ("method", "on pixels", "quartiles", *[*PARTS.values()][1:], "n"), tuple(rows))


def median_on_pixels(study: Study, method: str) -> float:
    """Return the median share of the logit on pixels of one method; NaN where it is not known."""
    k = study.position(method)
    if k is None:
        return float("nan")
    (of_method,) = study.columns(lambda rows: rows.of_logit()[:, [k]])
    return float(_quartiles(of_method)[1])


def _quartiles(values: Floats) -> Floats:
    defined = values[np.isfinite(values)]
    quartiles: Floats = np.percentile(defined, (25, 50, 75)) if len(defined) else np.full(3, np.nan)
    return quartiles
