"""Means of all measures with their bootstrap intervals, and each method's distance to the best on the same items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relprop.study.statistics import Resamples, interval

MEASURES = ("morf", "lerf", "srg")
RESAMPLES = 2000


def summary(rows: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Each method's numbers, the best in SRG first.

    Means are over the items that all methods define, but for those methods that define none.
    """
    items = list(dict.fromkeys(row["item"] for row in rows))
    values = np.full((len(MEASURES), len(items), len(methods)), np.nan)
    for row in rows:
        if row["method"] in methods:
            place = items.index(row["item"]), methods.index(row["method"])
            values[(slice(None), *place)] = [np.nan if row[m] is None else row[m] for m in MEASURES]
    defined = np.isfinite(values).all(0)
    some = defined.any(0)
    common = defined[:, some].all(1)
    if not common.any():
        raise SystemExit("no item is measured by all methods yet")
    resamples = Resamples(int(common.sum()), times=RESAMPLES)
    draws = {m: _drawn(resamples, values[k][common]) for k, m in enumerate(MEASURES)}
    best = int(np.nanargmax(np.where(some, draws["srg"][0], -np.inf)))
    found = {}
    for k in sorted(range(len(methods)), key=lambda k: -draws["srg"][0][k] if some[k] else np.inf):
        entry: dict[str, Any] = {"defined": int(defined[:, k].sum()), "of": len(items), "compared": int(common.sum())}
        for measure, (mean, drawn) in draws.items():
            entry[measure] = _told(mean[k], drawn[:, k])
        means, drawn = draws["srg"]
        entry["less than the best by"] = _told(means[best] - means[k], drawn[:, best] - drawn[:, k])
        found[methods[k]] = entry
    return found


def _drawn(resamples: Resamples, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means (K,), and those of each resample (times, K)."""
    means = resamples.means(values, np.arange(len(values)))
    return means.mean, means.draws


def _told(mean: float, drawn: NDArray[np.float64]) -> list[float]:
    """A mean with the ends of its interval."""
    low, high = interval(drawn)
    return [float(mean), float(low), float(high)]


def printed(name: str, facts: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]) -> str:
    """A table in Markdown."""
    first = next(iter(found.values()))
    lines = [f"### {name}", "", *(f"- {key}: {value}" for key, value in facts.items())]
    lines += [f"- {first['compared']} items, which all methods define that define any", ""]
    lines += [
        "| method | MoRF area | LeRF area | SRG | SRG less than the best by | undefined |",
        "|---|---|---|---|---|---|",
    ]
    for method, entry in found.items():
        cells = [_cell(entry[m]) for m in (*MEASURES, "less than the best by")]
        lines.append(f"| `{method}` | {' | '.join(cells)} | {entry['of'] - entry['defined']} of {entry['of']} |")
    return "\n".join(lines)


def _cell(numbers: Sequence[float]) -> str:
    mean, low, high = numbers
    return "not defined" if not np.isfinite(mean) else f"{mean:.3f} [{low:.3f}, {high:.3f}]"
