"""A study read back: what every statistic, claim and figure starts from, gone through some pictures at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from relprop.study.arranged import (
    Occlusion,
    Pairs,
    Predictions,
    Rows,
    numbers,
    occlusion_of,
    pairs_of,
    predictions_of,
    rows_of,
)
from relprop.study.blocks import Blocks, columns
from relprop.study.files import StudyError, pictures_planned
from relprop.study.schema import TABLES
from relprop.study.statistics import Bools, Floats, Ints, Means, Resamples
from relprop.study.store import Store

BASELINE = "uniform"
"""The method whose map is the same everywhere."""

Values = Callable[[Rows], Floats]
"""Numbers of some pairs of a picture and a class, (P, K)."""
Which = Callable[[Rows], Bools]
"""Which pairs of a picture and a class count, (P,)."""


def everything(rows: Rows) -> Bools:
    """Return that all pairs count, (P,)."""
    return np.ones(len(rows.picture), dtype=bool)


@dataclass(frozen=True)
class Study:
    """All that was measured.

    Its tables are gone through some thousand pictures at a time, so that a study of any size can be reported on.
    `rows`, `pairs`, `occlusion` and `predictions` are the same tables whole, for whoever has room for them.

    Attributes:
        name: as the configuration has it, or else the folder's.
        config: as in `run.json`.
        methods: in the configuration's order.
        row_blocks, pair_blocks, occlusion_blocks, prediction_blocks: the tables, as many blocks each, of the same
            pictures.
        resamples: of all its pictures, the same for every figure.
        indices: (N,) the positions of its pictures in the data set.
        later: the tables that measures added, by name, as Arrow has them.
    """

    name: str
    config: Mapping[str, Any]
    methods: tuple[str, ...]
    row_blocks: Blocks[Rows]
    pair_blocks: Blocks[Pairs]
    occlusion_blocks: Blocks[Occlusion]
    prediction_blocks: Blocks[Predictions]
    resamples: Resamples
    indices: Ints
    later: Mapping[str, Blocks[Any]] = field(default_factory=dict)

    @property
    def rows(self) -> Rows:
        """All rows, in memory: 8 bytes a number."""
        return self.row_blocks.whole()

    @property
    def pairs(self) -> Pairs:
        """All pairs of classes, likewise."""
        return self.pair_blocks.whole()

    @property
    def occlusion(self) -> Occlusion:
        """All occlusions, likewise."""
        return self.occlusion_blocks.whole()

    @property
    def predictions(self) -> Predictions:
        """All predictions, likewise."""
        return self.prediction_blocks.whole()

    @property
    def planned(self) -> int:
        """How many pictures it is to have, as the configuration says; where it does not, as many as it has."""
        known = pictures_planned(self.config)
        return len(self.indices) if known is None else known

    @property
    def extent(self) -> str:
        """How many pictures are there: "900 pictures", or "300 of 900 pictures (6 of 18 parts)"."""
        there, planned = len(self.indices), self.planned
        if there >= planned:
            return f"{there} pictures"
        chunk = int(self.config.get("chunk") or planned)
        return (
            f"{there} of {planned} pictures ({len(np.unique(self.indices // chunk))} of {-(-planned // chunk)} parts)"
        )

    def over(self, values: Values, among: Which | None = None) -> Means:
        """Return the mean of each column of values, one row per pair of picture and class.

        Args:
            values: what is averaged.
            among: the pairs that count, or by column, (P, K), which of the values do; None: all.
        """

        def piece(rows: Rows) -> tuple[Floats, Ints, Bools | None]:
            return values(rows), rows.picture, None if among is None else among(rows)

        return self.resamples.over(self.row_blocks.each(piece))

    def means(self, measure: str, among: Which | None = None) -> Means:
        """Return one of `relprop.study.schema.MEASURES` averaged by method.

        Args:
            measure: its name.
            among: the pairs that count; None: all.
        """

        def there(rows: Rows) -> Bools:
            present = rows.code > 0
            return present if among is None else present & among(rows)[:, None]

        return self.over(lambda rows: rows.values[measure], there)

    def count(self, which: Callable[[Rows], Bools | Ints]) -> Ints:
        """Return how many pairs are so: of (P,) one number, of (P, ...) one for each of the columns."""
        return np.sum([which(rows).sum(0) for rows in self.row_blocks], axis=0)  # type: ignore[no-any-return]

    @cached_property
    def total(self) -> int:
        """How many pairs of a picture and a class there are."""
        return int(self.count(everything))

    def columns(self, values: Values) -> Iterable[Floats]:
        """Return each column of values whole, (P,), for what cannot be told from parts, such as a median."""
        return columns(self.row_blocks.each(values))

    @property
    def data(self) -> str:
        """The data set's name, as the configuration has it."""
        return _name(self.config.get("data"))

    @property
    def model(self) -> str:
        """The network's name, likewise."""
        return _name(self.config.get("model"))

    @property
    def depth(self) -> int:
        """How many layers with weights the network has; 0 where the configuration does not say."""
        model = self.config.get("model")
        return int((model.get("depth") if isinstance(model, dict) else None) or self.config.get("depth") or 0)

    @cached_property
    def mu_w(self) -> Means:
        """Mean mu_w by method: what the paper's tables are ordered by."""
        return self.means("mu_w")

    @cached_property
    def shared_mu_w(self) -> Means:
        """The same over the pairs that all methods define."""
        return self.means("mu_w", self.common())

    @cached_property
    def cosines(self) -> Means:
        """Mean cosine by method of the maps of two classes on one picture."""
        return self.resamples.over(self.pair_blocks.each(lambda pairs: (pairs.cosine, pairs.picture, None)))

    def common(self, methods: Sequence[int] | None = None, among: Which | None = None) -> Which:
        """Return the pairs of which all of these methods define mu_w: those that they are compared on.

        Args:
            methods: positions; None: all that define any.
            among: the pairs that count; None: all.
        """
        if methods is None:
            own = self.mu_w if among is None else self.means("mu_w", among)
            methods = np.flatnonzero(own.defined).tolist()
        chosen, of = list(methods), among or everything

        def which(rows: Rows) -> Bools:
            both: Bools = np.isfinite(rows.values["mu_w"][:, chosen]).all(1) & of(rows)
            return both if chosen else np.zeros(len(both), dtype=bool)

        return which

    @cached_property
    def ranking(self) -> list[int]:
        """The methods' positions, the highest mean mu_w first, the undefined last; see `ranked`."""
        return self.ranked()

    def ranked(self, among: Which | None = None) -> list[int]:
        """Return the methods' positions, the highest mean mu_w over the pairs that all define first.

        Where no pair is common to all, each method's own mean decides.

        Args:
            among: the pairs that count; None: all.
        """
        if among is None:
            shared, own = self.shared_mu_w.mean, self.mu_w.mean
        else:
            shared, own = (self.means("mu_w", pairs).mean for pairs in (self.common(among=among), among))
        return [int(k) for k in np.lexsort((-own, -shared))]  # NaN sorts last

    def position(self, method: str) -> int | None:
        """Return where a method stands in `methods`; None where it was not measured."""
        return self.methods.index(method) if method in self.methods else None


def read_study(folder: Path) -> Study:
    """Read a study from its folder.

    Raises:
        StudyError: there is none, nothing is measured yet, or a file is damaged.
    """
    store = Store(folder)
    config, tables = store.config(), store.tables()
    found: dict[str, None] = {}
    for _, block in store.blocks(["rows"], columns=("method",)):
        found |= dict.fromkeys(block["rows"]["method"].unique().to_pylist())
    name = str(config.get("name") or folder.resolve().name)
    study = _study(name, config, list(found), tables, (block for _, block in store.blocks(tables)))
    if not sum(len(block.names) for block in study.prediction_blocks):
        raise StudyError(f"{folder}: nothing is measured yet; run the study first")
    return study


def arranged(name: str, config: Mapping[str, Any], tables: Mapping[str, Any]) -> Study:
    """Arrange a study's Arrow tables.

    Args:
        name: what to call it.
        config: as in `run.json`; of it `methods` and `seed` are used here.
        tables: by name, as `Store.read` returns them.

    Raises:
        StudyError: something was measured twice, so that the rows are not those of one study.
    """
    return _study(name, config, tables["rows"]["method"].unique().to_pylist(), list(tables), [tables])


def _study(
    name: str,
    config: Mapping[str, Any],
    found: Sequence[str],
    names: Sequence[str],
    blocks: Iterable[Mapping[str, Any]],
) -> Study:
    """Arrange tables of whole pictures, block by block."""
    methods = tuple(sorted(found, key=_order([str(method) for method in config.get("methods", ())])))
    rows, pairs, occlusion, predictions = Blocks[Rows](), Blocks[Pairs](), Blocks[Occlusion](), Blocks[Predictions]()
    later: dict[str, Blocks[Any]] = {name: Blocks() for name in names if name not in TABLES}
    seen: list[Ints] = [np.empty(0, dtype=np.int64)]
    last, classes = -1, len(config.get("classes") or ())
    for tables in blocks:
        index = {table: numbers(tables[table], "image_index").astype(np.int64) for table in TABLES}
        pictures = np.unique(np.concatenate(list(index.values())))
        if len(pictures) and pictures[0] <= last:
            raise StudyError("a picture was measured twice, by two parts; keep the parts of one run only")
        before, last = sum(map(len, seen)), max([last, *pictures[-1:]])
        of = {table: before + np.searchsorted(pictures, where) for table, where in index.items()}
        rows.append(rows_of(tables["rows"], of["rows"], methods))
        pairs.append(pairs_of(tables["pairs"], of["pairs"], methods))
        occlusion.append(occlusion_of(tables["occlusion"], of["occlusion"]))
        predictions.append(predictions_of(tables["predictions"], of["predictions"], classes))
        for table, kept in later.items():
            kept.append(tables[table])
        seen.append(pictures)
    indices = np.concatenate(seen)
    resamples = Resamples(len(indices), int(config.get("seed") or 0))
    return Study(name, config, methods, rows, pairs, occlusion, predictions, resamples, indices, later)


def _name(value: object) -> str:
    """Return a configuration's entry as a name: itself, or what it calls its name."""
    return str((value.get("name") if isinstance(value, dict) else value) or "")


def _order(wanted: Sequence[str]) -> Any:
    """Return a sorting key: as wanted, what is not wanted last and as found."""
    return lambda method: wanted.index(method) if method in wanted else len(wanted)
