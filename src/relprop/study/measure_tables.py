"""Tables of what measures added to a study: for each the means of its numbers by method, whatever it measures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from relprop.study.results import Study
from relprop.study.schema import table_of
from relprop.study.tables import Cell, Table

FEW = 8
"""A column of text with at most so many different values splits a measure's table; one with more does not."""
_ABOUT = {column.name for column in table_of(())}


def tables_of_measures(study: Study) -> list[Table]:
    """Return a table for each measure that has one of its own, in the study's order.

    Columns of float are averaged, with intervals over pictures; n counts the rows that define the first of
    them. Methods are in the order of Table I. What a column of text tells apart, such as what replaced regions, is told
    apart here too.
    """
    measured = {name: found for name, found in study.later.items() if found.num_rows and _numbers(found)}
    return [_table(study, name, found) for name, found in measured.items()]


def _table(study: Study, name: str, found: Any) -> Table:
    numbers = _numbers(found)
    texts = [field.name for field in found.schema if field.name not in _ABOUT and pa.types.is_string(field.type)]
    keys = [name for name in texts if _few(found, name)]
    picture = np.searchsorted(study.indices, found["image_index"].to_numpy())
    values = np.stack([found[number].to_numpy().astype(np.float64) for number in numbers], 1)
    labels = np.empty((found.num_rows, len(keys)), dtype=object)
    for k, key in enumerate(keys):
        labels[:, k] = found[key].to_pylist()
    rows: list[tuple[Cell, ...]] = []
    for label in _in_order(study, keys, labels):
        of = (labels == np.array(label, dtype=object)).all(1)
        estimates = study.resamples.means(values[of], picture[of]).estimates()
        first = estimates[0]
        rows.append((*label, *estimates, f"{first.defined}/{first.total}"))
    meaning = "; ".join(f"{number}: {_text(found.schema.field(number))}" for number in numbers)
    return Table(
        name, f"{name.capitalize()}. {meaning}. Means with 95 % intervals.", (*keys, *numbers, "n"), tuple(rows)
    )


def _numbers(found: Any) -> list[str]:
    """The columns that are averaged."""
    return [field.name for field in found.schema if field.name not in _ABOUT and pa.types.is_floating(field.type)]


def _few(found: Any, key: str) -> bool:
    return key == "method" or len(found[key].unique()) <= FEW


def _in_order(study: Study, keys: list[str], labels: Any) -> Iterator[tuple[str, ...]]:
    """Every combination there is: methods as ranked, the rest as met first."""
    seen = list(dict.fromkeys(map(tuple, labels.tolist())))
    rank = {study.methods[k]: place for place, k in enumerate(study.ranking)}
    at = keys.index("method") if "method" in keys else None
    yield from seen if at is None else sorted(seen, key=lambda label: rank.get(label[at], len(rank)))


def _text(field: Any) -> str:
    return ((field.metadata or {}).get(b"description") or b"").decode()
