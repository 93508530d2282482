"""Which measures a study has: by name, with options after a colon, or the user's own as ``package.module:object``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relprop.catalogue.options import parse_options
from relprop.study.flipping import Flipping
from relprop.study.measure import Batch, Measure, Row
from relprop.study.measures import LOCALISATION
from relprop.study.occluding import Occlusion
from relprop.study.randomisation import Randomisation
from relprop.study.schema import DEFAULT, KINDS, TABLES, Column, table_of
from relprop.study.sparse import SPARSENESS
from relprop.support import user_code
from relprop.support.errors import InputError, RelpropError
from relprop.support.files import file_sha256
from relprop.support.suggest import did_you_mean


@dataclass(frozen=True)
class Listed:
    """A measure of ours.

    Attributes:
        make: gives the measure, from its options.
        options: those it takes, as `relprop.catalogue.options` reads them.
        text: what it measures, in one line.
    """

    make: Callable[..., Measure]
    options: tuple[str, ...]
    text: str


MEASURES: dict[str, Listed] = {
    "localisation": Listed(
        lambda: LOCALISATION, (), "does relevance lie on the object: mu, mu_w and their kin; always measured"
    ),
    "occlusion": Listed(Occlusion, (), "what hiding the object, or all else, does to the logit"),
    "flipping": Listed(
        Flipping,
        ("region", "steps", "replace"),
        "what becomes of the logit as a map's most, or least, relevant regions are replaced: MoRF, LeRF, SRG, ABPC",
    ),
    "randomisation": Listed(
        Randomisation, ("order", "steps", "seed"), "how alike maps stay when the network's layers are randomised"
    ),
    "sparseness": Listed(lambda: SPARSENESS, (), "on how few pixels a map lies: Gini index and entropy"),
}
"""Ours, by name."""


def measures(names: Sequence[str]) -> list[Measure]:
    """Return the measures of these names, localisation first, whether or not it is named: rows are made of it.

    Args:
        names: as `MEASURES` has them, with options after a colon, such as ``flipping:region=8``; or
            ``package.module:object`` for one of the user's own, which follows `relprop.study.measure.Measure`.

    Raises:
        InputError: there is no such measure, importing it fails, it does not follow the protocol, or two have one name.
    """
    found = [measure(name) for name in names]
    chosen = {each.name: each for each in [LOCALISATION, *found]}
    twice = [each.name for k, each in enumerate(found) if each.name in [other.name for other in found[:k]]]
    if twice:
        raise InputError(f"measures: {twice[0]!r} is there twice; a study has a table of that name once")
    return list(chosen.values())


def measure(name: str) -> Measure:
    """Return one measure; arguments and errors as for `measures`."""
    base, _, text = name.partition(":")
    if base in MEASURES:
        listed = MEASURES[base]
        return listed.make(**parse_options(name, text, listed.options))
    if not user_code.is_name(name):
        near = user_code.meant_by_path(name) or did_you_mean(base, MEASURES) or f"; there are: {', '.join(MEASURES)}"
        raise InputError(f"no measure is named {name!r}{near}")
    try:
        found = user_code.find(name, MEASURES)
    except user_code.UserCodeError as error:
        raise InputError(f"measure {name!r}: {error}") from error.__cause__
    try:
        with user_code.current_folder_first():
            made = found() if isinstance(found, type) else found
    except user_code.FAILURES as error:
        raise InputError(f"measure {name!r} failed: {user_code.in_one_line(error)}") from error
    return _Own(name, _demanded(name, made))


@dataclass(frozen=True)
class _Own:
    """A measure of the user's, whose failures are told in one line with its name."""

    typed: str
    measure: Measure

    @property
    def name(self) -> str:
        return self.measure.name

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(self.measure.columns)

    @property
    def needs_model(self) -> bool:
        return bool(self.measure.needs_model)

    def rows(self, batch: Batch) -> Iterator[Row]:
        wanted = {column.name for column in self.columns}
        try:
            with user_code.current_folder_first():
                found = [(int(n), dict(row)) for n, row in self.measure.rows(batch)]
        except RelpropError:
            raise
        except user_code.FAILURES as error:
            raise InputError(f"measure {self.typed!r} failed: {user_code.in_one_line(error)}") from error
        for n, row in found:
            if not 0 <= n < len(batch):
                raise InputError(f"measure {self.typed!r}: a row of pair {n}; the batch has 0 to {len(batch) - 1}")
            if row.keys() != wanted:
                odd = ", ".join(sorted(row.keys() ^ wanted))
                raise InputError(f"measure {self.typed!r}: columns missing or unknown: {odd}; give those it names")
        yield from found


def sources(names: Sequence[str]) -> dict[str, str]:
    """Return of each of the user's own measures the SHA-256 of the file that it is named in.

    Raises:
        InputError: as `measures`.
    """
    own = [name for name in names if name.partition(":")[0] not in MEASURES]
    return {name: _sha256(name) for name in own}


def later(chosen: Sequence[Measure]) -> dict[str, tuple[Column, ...]]:
    """Return the columns of the tables that these measures add to those that every study has."""
    return {each.name: table_of(each.columns) for each in chosen if each.name not in DEFAULT}


def _sha256(name: str) -> str:
    try:
        file = getattr(user_code.import_module(name.partition(":")[0]), "__file__", None)
    except user_code.UserCodeError as error:
        raise InputError(f"measure {name!r}: {error}") from error.__cause__
    return file_sha256(Path(file)) if file else ""


def _demanded(name: str, found: Any) -> Measure:
    """Return what the user named, if it is a measure."""
    if not isinstance(found, Measure) or not callable(found.rows):
        raise InputError(
            f"measure {name!r} is of type {type(found).__name__}; it must have name, columns, needs_model and "
            "rows(batch), as relprop.study.measure.OfMaps has"
        )
    if not isinstance(found.name, str) or not re.fullmatch(r"[A-Za-z][\w-]*", found.name) or found.name in _TAKEN:
        raise InputError(
            f"measure {name!r} calls itself {found.name!r}; its table needs a name in letters, digits, - and _ that "
            f"is none of {', '.join(sorted(_TAKEN))}"
        )
    for column in found.columns:
        if not isinstance(column, Column) or column.kind not in KINDS:
            raise InputError(f"measure {name!r}: {column!r} is no Column of a kind in {', '.join(KINDS)}")
    names = [column.name for column in table_of(found.columns)]
    if len(set(names)) < len(names):
        twice = next(one for one in names if names.count(one) > 1)
        raise InputError(f"measure {name!r}: its table has two columns {twice!r}; every table has the picture's own")
    return found


_TAKEN = {*TABLES, *MEASURES}
