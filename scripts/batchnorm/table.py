"""Means by way with paired intervals: each way less the paper's best, on the pictures that both define."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scripts.batchnorm.cascade import SHARES

from relprop.study.statistics import Resamples, interval

PAPER = "cmp2 in"
MEASURES = ("mu_w", "srg", "similar")
HEADINGS = ("mu_w", "SRG", "similarity")
Floats = NDArray[np.float64]


def printed(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """A table in Markdown, the best mu_w first."""
    found = {m: _columns(rows, m) for m in (*MEASURES, "share", "bias", "eps")}
    ways = list(found["mu_w"])
    counted = len({row["picture"] for row in rows})
    resamples = Resamples(counted, times=2000)
    lines = [
        f"### {name}, {counted} pictures",
        "",
        f"| way | {' | '.join(f'{m} | to the paper' for m in HEADINGS)} | on pixels | bias | empty |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    ways.sort(key=lambda way: -_mean(found["mu_w"][way]))
    for way in ways:
        cells = []
        for m in MEASURES:
            cells.append(f"{_mean(found[m][way]):.3f}")
            cells.append(_difference(resamples, found[m][way] - found[m][PAPER]) if way != PAPER else "")
        shares = [f"{_median(found[m][way]):.3g}" for m in ("share", "bias", "eps")]
        lines.append(f"| {way} | {' | '.join([*cells, *shares])} |")
    return "\n".join(lines)


def _columns(rows: Sequence[Mapping[str, Any]], measure: str) -> dict[str, Floats]:
    """Each way's numbers, a picture an entry, NaN where there is none."""
    places = {picture: k for k, picture in enumerate(dict.fromkeys(row["picture"] for row in rows))}
    found: dict[str, Floats] = {}
    for row in rows:
        column = found.setdefault(row["way"], np.full(len(places), np.nan))
        keys = [f"similar at {share}" for share in SHARES] if measure == "similar" else [measure]
        values = [np.nan if row.get(key) is None else row[key] for key in keys]
        column[places[row["picture"]]] = np.mean(values)
    return found


def _mean(values: Floats) -> float:
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if len(kept) else float("nan")


def _median(values: Floats) -> float:
    kept = values[np.isfinite(values)]
    return float(np.median(kept)) if len(kept) else float("nan")


def _difference(resamples: Resamples, values: Floats) -> str:
    """A mean difference with its interval, bold where that leaves zero out."""
    means = resamples.means(values[:, None], np.arange(len(values)))
    low, high = (float(end) for end in np.ravel(interval(means.draws)))
    text = f"{float(means.mean[0]):+.3f} [{low:+.3f}, {high:+.3f}]"
    return f"**{text}**" if low > 0 or high < 0 else text
