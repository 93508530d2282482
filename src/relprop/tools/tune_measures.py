"""What `tune` can search by: each measure from the maps of some pictures to a number each.

This is the one place that knows the measures by name; each is a formula of `relprop.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from relprop import metrics
from relprop.support import user_code
from relprop.support.errors import InputError
from relprop.support.suggest import did_you_mean

STEPS = 10
"""Of flipping: so many regions at a time that this many steps flip all."""
SIDE = 16
"""Regions along the shorter side of a picture that is flipped."""


@dataclass(frozen=True)
class Case:
    """N maps of one method, and what they are measured against.

    Attributes:
        model: the network.
        x: pictures (N, C, H, W), as the network got them.
        targets: (N,) the output that each map explains.
        R: relevance summed over channels, (N, H, W) float64.
        inside: (N, H, W) bool, where the class is; None where the data says nothing of it.
    """

    model: Any
    x: Tensor
    targets: Tensor
    R: Tensor
    inside: Tensor | None

    def boxes(self) -> Tensor:
        """Where the class is.

        Raises:
            InputError: the data says nothing of it.
        """
        if self.inside is None:
            raise InputError("this measure needs to know where the class is, and the data gives no masks")
        return self.inside

    def flips(self) -> metrics.Flips:
        """Flip the pictures by these maps."""
        region = max(1, min(self.R.shape[1:]) // SIDE)
        return metrics.flip(self.model, self.x, self.R.to(self.x), self.targets, region=region, steps=STEPS)


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
            of such a function, "package.module:function".

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
