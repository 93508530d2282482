"""A study's measures as what `tune` can search by: one number of one column, "sparseness/gini"."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor

from relprop.record.logits import logits_of
from relprop.study.chosen import measure
from relprop.study.measure import Batch, Network
from relprop.support.errors import InputError
from relprop.support.suggest import did_you_mean
from relprop.tools.tune_case import Case

AT_ONCE = 64
"""Pictures that a measure may hand to the network in one call."""
TOP = 100
"""Pixels of the top-k measure, as a study has it where nothing is said."""


def is_column(name: str) -> bool:
    """Whether a name is of a study's measure and one of its columns."""
    return "/" in name


def column(name: str) -> Callable[[Case], Tensor]:
    """Return the function of a column: of several rows of a map their mean.

    Args:
        name: a study's measure with its options, or "package.module:object", a slash, and the column; a "-" before it
            says that less is better: "-sparseness/entropy".

    Raises:
        InputError: there is no such measure, or it has no such column of numbers.
    """
    place, _, wanted = name.removeprefix("-").rpartition("/")
    found = measure(place)
    known = [each.name for each in found.columns if each.kind != "string"]
    if wanted not in known:
        raise InputError(f"measure {place!r} has no column {wanted!r} of numbers{did_you_mean(wanted, known)}")
    sign = -1.0 if name.startswith("-") else 1.0

    def of(case: Case) -> Tensor:
        batch = _batch(case, needs_model=found.needs_model, name=name)
        values: list[list[float]] = [[] for _ in range(len(batch))]
        for n, row in found.rows(batch):
            number: Any = row[wanted]
            values[n].append(math.nan if number is None else float(number))
        means = [sum(each) / len(each) if each else math.nan for each in values]
        return sign * torch.tensor(means, dtype=torch.float64)

    return of


def _batch(case: Case, *, needs_model: bool, name: str) -> Batch:
    """What a study's measure is given of some maps of one method."""
    number = torch.arange(len(case.targets))
    inside = torch.zeros(case.R.shape, dtype=torch.bool) if case.inside is None else case.inside

    def without(*_: Any) -> NoReturn:
        raise InputError(
            f"measure {name!r} needs a mean image, or maps of another network, which tune has not; of flipping name "
            f"what replaces regions: flipping:replace=mean/srg"
        )

    with torch.no_grad():
        outputs = logits_of(case.model(case.x))
    network = Network(case.model, AT_ONCE, without, without) if needs_model else None
    maps = {"it": case.R}
    return Batch(maps, inside, torch.zeros_like(inside), TOP, case.x, outputs, number, number, case.targets, network)
