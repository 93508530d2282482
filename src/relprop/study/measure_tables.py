"""Tables of what measures added to a study: for each the means of its numbers by method, whatever it measures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from relprop.study.blocks import Blocks, Each
from relprop.study.results import Study
from relprop.study.schema import table_of
from relprop.study.statistics import Piece
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
    return [_table(study, name, found) for name, found in study.later.items() if _numbers(found) and _any(found)]


def _table(study: Study, name: str, found: Blocks[Any]) -> Table:
    numbers, schema = _numbers(found), _schema(found)
    texts = [field.name for field in schema if field.name not in _ABOUT and pa.types.is_string(field.type)]
    keys = [name for name in texts if name == "method" or len(_different(found, [name], FEW)) <= FEW]

    def of(label: tuple[str, ...]) -> Each[Piece]:
        def piece(block: Any) -> Piece:
            picture = np.searchsorted(study.indices, block["image_index"].to_numpy())
            values = np.stack([block[number].to_numpy().astype(np.float64) for number in numbers], 1)
            among = np.ones(len(values), dtype=bool)
            for key, word in zip(keys, label, strict=True):
                among &= np.array(block[key].to_pylist(), dtype=object) == word
            return values[among], picture[among], None

        return found.each(piece)

    rows: list[tuple[Cell, ...]] = []
    for label in _in_order(study, keys, _different(found, keys)):
        estimates = study.resamples.over(of(label)).estimates()
        first = estimates[0]
        rows.append((*label, *estimates, f"{first.defined}/{first.total}"))
    meaning = "; ".join(f"{number}: {_text(schema.field(number))}" for number in numbers)
    return Table(
        name, f"{name.capitalize()}. {meaning}. Means with 95 % intervals.", (*keys, *numbers, "n"), tuple(rows)
    )


def _schema(found: Blocks[Any]) -> Any:
    return next(iter(found)).schema


def _any(found: Blocks[Any]) -> bool:
    return any(block.num_rows for block in found)


def _numbers(found: Blocks[Any]) -> list[str]:
    """The columns that are averaged."""
    return [each.name for each in _schema(found) if each.name not in _ABOUT and pa.types.is_floating(each.type)]


def _different(found: Blocks[Any], keys: list[str], most: int | None = None) -> list[tuple[str, ...]]:
    """Every combination of these columns' texts there is, as met first; not many more than `most` of them."""
    seen: dict[tuple[str, ...], None] = {}
    for block in found:
        columns = [block[key].to_pylist() for key in keys]
        seen |= dict.fromkeys(zip(*columns, strict=True) if keys else [()] * block.num_rows)
        if most is not None and len(seen) > most:
            break
    return list(seen)


def _in_order(study: Study, keys: list[str], seen: list[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """These combinations: methods as ranked, the rest as met first."""
    rank = {study.methods[k]: place for place, k in enumerate(study.ranking)}
    at = keys.index("method") if "method" in keys else None
    yield from seen if at is None else sorted(seen, key=lambda label: rank.get(label[at], len(rank)))


def _text(field: Any) -> str:
    return ((field.metadata or {}).get(b"description") or b"").decode()
