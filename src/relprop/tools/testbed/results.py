"""What a test bed found: a table of methods by measures, and what is to be said of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relprop.study import tables
from relprop.study.statistics import Estimate
from relprop.tools.testbed.bench import Bytes, Floats


@dataclass(frozen=True, eq=False)
class Column:
    """A measure's results.

    Attributes:
        name: of the measure.
        meaning: what the number is.
        best: its value for a map that tells the truth.
        estimates: by method, its mean with a 95 % interval; methods that cannot explain the model are left out.
    """

    name: str
    meaning: str
    best: float
    estimates: Mapping[str, Estimate]


@dataclass(frozen=True, eq=False)
class Shown:
    """An example.

    Attributes:
        title: what is asked.
        picture: (H, W, 3) uint8.
        regions: half-open boxes x0, y0, x1, y1.
        maps: (H, W) by method.
    """

    title: str
    picture: Bytes
    regions: tuple[tuple[int, int, int, int], ...]
    maps: Mapping[str, Floats]


@dataclass(frozen=True, eq=False)
class TestBed:
    """The test bed of a network.

    Attributes:
        network: its name.
        methods: names in the table's order, references last.
        columns: the measures.
        facts: what is true of the network and the pictures, in sentences.
        left_out: by what was asked and by method, why there is no figure.
        examples: a picture of each bench.
    """

    __test__ = False  # no test of pytest's

    network: str
    methods: tuple[str, ...]
    columns: tuple[Column, ...]
    facts: tuple[str, ...]
    left_out: Mapping[str, Mapping[str, str]]
    examples: tuple[Shown, ...]

    def value(self, method: str, measure: str) -> float:
        """Return a mean; NaN where there is none.

        Raises:
            KeyError: there is no such measure.
        """
        column = {column.name: column for column in self.columns}[measure]
        return column.estimates[method].mean if method in column.estimates else math.nan

    def table(self) -> tables.Table:
        """Return the table, as those of a study are: `relprop.study.tables` writes it."""
        rows = tuple(
            (method, *(column.estimates.get(method) for column in self.columns))
            for method in self.methods
            if any(method in column.estimates for column in self.columns)
        )
        meanings = "; ".join(f"{column.name} ({column.best:g} is best): {column.meaning}" for column in self.columns)
        caption = f"Test bed of {self.network}. Means with 95 % bootstrap intervals over pictures. {meanings}."
        return tables.Table(f"testbed-{self.network}", caption, ("method", *(c.name for c in self.columns)), rows)

    def reasons(self) -> list[str]:
        """Return a line per method and bench without figures: why."""
        return [
            f"{what}: {method}: {why}" for what, methods in self.left_out.items() for method, why in methods.items()
        ]

    def as_data(self) -> dict[str, Any]:
        """Return everything but the pictures, fit for JSON; what is not a number is null."""
        return {
            "network": self.network,
            "facts": list(self.facts),
            "measures": [
                {
                    "name": column.name,
                    "meaning": column.meaning,
                    "best": column.best,
                    "methods": {method: _plain(estimate) for method, estimate in column.estimates.items()},
                }
                for column in self.columns
            ],
            "left_out": {what: dict(methods) for what, methods in self.left_out.items()},
        }

    def __str__(self) -> str:
        """The table in Markdown, and what is to be said of it."""
        return "\n".join([tables.markdown(self.table()), *self.facts])


def _plain(estimate: Estimate) -> dict[str, float | int | None]:
    """An estimate's fields; None for what is not a number."""
    values = {name: getattr(estimate, name) for name in ("mean", "low", "high")}
    known = {name: value if math.isfinite(value) else None for name, value in values.items()}
    return {**known, "defined": estimate.defined, "total": estimate.total}
