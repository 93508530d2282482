"""A study's rows: filtered, sorted, and some of them, in no more memory than a few thousand pictures' rows take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import compute

from relprop.study.schema import LEDGER, MEASURES, STATUSES
from relprop.study.store import Store
from relprop.support.suggest import did_you_mean
from relprop.web.limits import Limits
from relprop.web.refused import Refused, shown

SHOWN = ("image_id", "image_index", "class_name", "method", "status", "mu", "mu_w", "logit")
"""Columns that are told of each row."""
SORTED = ("logit", *(column.name for column in (*MEASURES, *LEDGER)))
"""Columns that rows can be sorted by."""


@dataclass(frozen=True)
class Query:
    """Which rows, and in which order.

    Attributes:
        method: exactly; "" for all.
        status: likewise.
        class_: a part of the class's name, whatever its capitals; "" for all.
        least, most: of mu, both included; None: no such bound. With one, rows without mu are left out.
        by: the column that they are sorted by, undefined ones last; "" for the study's order.
        down: whether the highest comes first.
        offset: so many rows are passed over.
        limit: so many are told.
    """

    method: str
    status: str
    class_: str
    least: float | None
    most: float | None
    by: str
    down: bool
    offset: int
    limit: int


def query_in(words: Mapping[str, str], methods: list[str], limits: Limits) -> Query:
    """Read a query from an address.

    Args:
        words: of the address.
        methods: of the study.
        limits: of requests.

    Raises:
        Refused: there is no such method, status or column, or a number is none.
    """
    method, status, class_ = (words.get(name, "") for name in ("method", "status", "class"))
    if method and method not in methods:
        raise Refused(422, f"no method {shown(method)!r} in this study{did_you_mean(method, methods)}")
    if status and status not in STATUSES:
        raise Refused(422, f"no status {shown(status)!r}{did_you_mean(status, STATUSES)}")
    if len(class_) > limits.name:
        raise Refused(422, f"a class's name of {len(class_)} letters; {limits.name} at most")
    sort = words.get("sort", "")
    by = sort.removeprefix("-")
    if by and by not in SORTED:
        raise Refused(422, f"rows cannot be sorted by {shown(by)!r}{did_you_mean(by, SORTED)}")
    least, most = (_number(words, name) for name in ("mu_from", "mu_to"))
    offset, limit = _whole(words, "offset", 0), _whole(words, "limit", 50)
    if limit > limits.rows:
        raise Refused(422, f"{limit} rows at once, and {limits.rows} are told at most; ask for them in turn")
    if offset + limit > limits.deepest:
        raise Refused(422, f"rows are told down to the {limits.deepest}th; filter them, or sort the other way round")
    return Query(method, status, class_, least, most, by, sort.startswith("-"), offset, limit)


def rows(store: Store, query: Query) -> dict[str, Any]:
    """Find rows.

    Args:
        store: the study.
        query: which.

    Returns:
        How many there are in "total", "rows" from `offset` on, and which "statuses" the study has.

    Raises:
        StudyError: a file cannot be read.
    """
    needed = dict.fromkeys((*SHOWN, query.by)) if query.by else dict.fromkeys(SHOWN)
    until = query.offset + query.limit
    first: pa.Table | None = None  # the rows that come first, of all that have been seen
    total, statuses = 0, dict.fromkeys(STATUSES, False)
    for _, tables in store.blocks(["rows"], columns=list(needed)):
        statuses |= dict.fromkeys(tables["rows"]["status"].unique().to_pylist(), True)
        found = _filtered(tables["rows"], query)
        total += len(found)
        if query.by:
            both = found if first is None else pa.concat_tables([first, found])
            order = [(query.by, "descending" if query.down else "ascending")]
            first = both.take(compute.sort_indices(both, order)[:until])
        elif first is None or len(first) < until:
            first = (found if first is None else pa.concat_tables([first, found])).slice(0, until)
    listed = [] if first is None else first.slice(query.offset).to_pylist()
    return {"total": total, "rows": listed, "statuses": [status for status, there in statuses.items() if there]}


def _filtered(table: pa.Table, query: Query) -> pa.Table:
    for name, value in (("method", query.method), ("status", query.status)):
        if value:
            table = table.filter(compute.equal(table[name], value))
    if query.class_:
        table = table.filter(compute.match_substring(table["class_name"], query.class_, ignore_case=True))
    if query.least is not None:
        table = table.filter(compute.greater_equal(table["mu"], query.least))
    if query.most is not None:
        table = table.filter(compute.less_equal(table["mu"], query.most))
    return table


def _number(words: Mapping[str, str], name: str) -> float | None:
    text = words.get(name, "")
    try:
        return float(text) if text else None
    except ValueError:
        raise Refused(422, f"{name} is {shown(text)!r}, and must be a number such as 0.5") from None


def _whole(words: Mapping[str, str], name: str, usual: int) -> int:
    text = words.get(name, "")
    if not text:
        return usual
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise Refused(422, f"{name} is {shown(text)!r}, and must be a whole number from 0")
    return int(text)
