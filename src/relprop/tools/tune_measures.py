"""What `tune` can search by: each measure from the maps of some pictures to a number each.

Those by name are formulas of `relprop.metrics`; a column of any measure of a study is one too (`tune_plugins`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from relprop import metrics
from relprop.support import user_code
from relprop.support.errors import InputError
from relprop.support.suggest import did_you_mean
from relprop.tools.tune_case import Case
from relprop.tools.tune_plugins import column, is_column

Measure = Callable[[Case], Tensor]
"""From N maps to a number each, (N,), NaN where undefined."""

MEASURES: dict[str, Measure] = {
    "mu": lambda case: metrics.inside_total_ratio(case.R, case.boxes()),
    "mu_w": lambda case: metrics.weighted_inside_total_ratio(case.R, case.boxes()),
    "pointing_game": lambda case: metrics.pointing_game(case.R, case.boxes()),
    "rank_accuracy": lambda case: metrics.relevance_rank_accuracy(case.R, case.boxes()),
    "srg": lambda case: case.flips().srg,
    "abpc": lambda case: case.flips().abpc,
    "morf": lambda case: -case.flips().morf_area,
    "lerf": lambda case: case.flips().lerf_area,
}
"""By name; of all of them more is better: "morf" is the negative area under the curve."""


def measures_named(by: str | Sequence[str] | Mapping[str, Measure]) -> dict[str, Measure]:
    """The measures that are asked for.

    Args:
        by: a name, several, or a mapping from names of your own to functions of a `Case`; a name may also be the place
            of such a function, "package.module:function", or a column of a study's measure, "sparseness/gini".

    Raises:
        InputError: there is no such measure.
    """
    if isinstance(by, Mapping):
        if not by or not all(callable(measure) for measure in by.values()):
            raise InputError("by is a mapping from names to functions of a case (model, x, targets, R, inside)")
        return dict(by)
    names = [by] if isinstance(by, str) else list(by)
    if not names:
        raise InputError(f"by names no measure; choose from {', '.join(MEASURES)}")
    return {name: MEASURES[name] if name in MEASURES else _users(name) for name in dict.fromkeys(names)}


def _users(name: str) -> Measure:
    if is_column(name):
        return column(name)
    if not user_code.is_name(name):
        raise InputError(f"no measure is named {name!r}{did_you_mean(name, MEASURES)}")
    try:
        found: Any = user_code.find(name, MEASURES)
    except user_code.UserCodeError as error:
        raise InputError(f"measure {name!r}: {error}") from error.__cause__
    if not callable(found):
        raise InputError(f"measure {name!r} is of type {type(found).__name__}; it must be a function of a case")
    measure: Measure = found
    return measure


def measured(measures: Mapping[str, Measure], case: Case) -> Tensor:
    """Return every measure of the maps, (N, measures) float64.

    Raises:
        InputError: a measure gives something else than a number for each map.
    """
    columns = []
    for name, measure in measures.items():
        found: Any = measure(case)
        if not isinstance(found, Tensor) or found.shape != case.targets.shape:
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InputError(f"measure {name!r} returned {got}, and must return a tensor ({len(case.targets)},)")
        columns.append(found.detach().double().cpu())
    return torch.stack(columns, 1)
