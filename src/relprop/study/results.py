"""A study read back, its tables as arrays: what every statistic, claim and figure starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relprop.study.schema import LEDGER, MEASURES, TABLES
from relprop.study.statistics import Bools, Floats, Ints, Means, Resamples, bin_of, share
from relprop.study.store import Store, StudyError

BASELINE = "uniform"
"""The method whose map is the same everywhere."""
_ADDS_UP = 1e-2
"""An account of a map adds up to the logit where no more is missing than this share of all that is in it."""


@dataclass(frozen=True)
class Rows:
    """P pairs of a picture and a class, M methods.

    Attributes:
        picture: (P,) which picture, counted from 0.
        share, where: (P,) S_in / S_tot and its bin; NaN and -1 where the boxes are not in the picture.
        shown: (P,) how many classes the picture shows.
        logit: (P,) what was explained; NaN where nothing was.
        status: (P, M) of `relprop.study.schema.STATUSES`, empty where there is no row.
        values: each of `relprop.study.schema.MEASURES` and of its `LEDGER` by name, (P, M), NaN where undefined.
    """

    picture: Ints
    share: Floats
    where: Ints
    shown: Ints
    logit: Floats
    status: NDArray[np.object_]
    values: dict[str, Floats]


@dataclass(frozen=True)
class Pairs:
    """Q pairs of classes on one picture: the picture (Q,), and by method the cosine of their maps (Q, M)."""

    picture: Ints
    cosine: Floats


@dataclass(frozen=True)
class Occlusion:
    """Q pairs of a picture and a class: the picture and the box's share and bin (Q,), delta f (Q, 2).

    The first column of delta is the object occluded, the second its context.
    """

    picture: Ints
    share: Floats
    where: Ints
    delta: Floats


@dataclass(frozen=True)
class Predictions:
    """N pictures.

    Attributes:
        names: the pictures' ids.
        problems: per picture, what went wrong, or "".
        labels, targets, top5: per picture, as the table has them.
        rescaled: how many pictures had another size than their annotation states, so that boxes were scaled.
        scores: (N, classes), NaN for a picture that the model did not see; without columns where none has any.
    """

    names: list[str]
    problems: list[str]
    labels: list[list[str]]
    targets: list[list[int]]
    top5: list[list[int]]
    rescaled: int
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Study:
    """All that was measured.

    Attributes:
        name: as the configuration has it, or else the folder's.
        config: as in `run.json`.
        methods: in the configuration's order.
        rows, pairs, occlusion, predictions: the tables.
        resamples: of all its pictures, the same for every figure.
        indices: (N,) the positions of its pictures in the data set.
        later: the tables that measures added, by name, as Arrow has them.
    """

    name: str
    config: Mapping[str, Any]
    methods: tuple[str, ...]
    rows: Rows
    pairs: Pairs
    occlusion: Occlusion
    predictions: Predictions
    resamples: Resamples
    indices: Ints
    later: Mapping[str, Any] = field(default_factory=dict)

    @property
    def planned(self) -> int:
        """How many pictures it is to have, as the configuration says; where it does not, as many as it has."""
        data = self.config.get("data")
        number, limit = data.get("number") if isinstance(data, dict) else None, self.config.get("limit")
        return min(int(n) for n in (number, limit) if n) if number or limit else len(self.indices)

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

    def means(self, measure: str, among: Bools | None = None) -> Means:
        """Return one of `relprop.study.schema.MEASURES` averaged by method.

        Args:
            measure: its name.
            among: (P,) the pairs that count; None: all.
        """
        present = self.rows.status != ""
        return self.over(self.rows.values[measure], present if among is None else present & among[:, None])

    def contradiction(self) -> tuple[Floats, Floats]:
        """Return claim 11's two shares, (P, M) each, where both are defined: negative relevance, and area."""
        inside, area = self.rows.values["negative_inside_others"], self.rows.values["others_area"]
        both = np.isfinite(inside - area)
        return np.where(both, inside, np.nan), np.where(both, area, np.nan)

    @property
    def nowhere_positive(self) -> Bools:
        """(P, M) which maps have no positive relevance: where the logit is negative, that is why."""
        found: Bools = self.rows.status == "no_positive_relevance"
        return found

    def on_pixels(self, column: str = "relevance_sum") -> Floats:
        """Return (P, M) which share of the logit a map's pixels, or `bias`, `eps` or `lost` have.

        NaN where the map has no ledger that says so, or where its relevance does not begin as the logit.
        """
        parts = [self.rows.values[name] for name in ("relevance_sum", "bias", "eps", "lost")]
        began, logit = sum(parts), self.rows.logit[:, None]
        as_logit = np.isfinite(began) & (np.abs(began - logit) <= _ADDS_UP * np.abs(parts).sum(0)) & (logit != 0)
        return np.divide(self.rows.values[column], logit, out=np.full(as_logit.shape, np.nan), where=as_logit)

    def over(self, values: Floats, among: Bools | None = None) -> Means:
        """Return the mean of each column of (P, K) values, one row per pair of picture and class."""
        return self.resamples.means(values, self.rows.picture, among)

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

    def common(self, methods: Sequence[int] | None = None, among: Bools | None = None) -> Bools:
        """Return (P,) the pairs of which all of these methods define mu_w: those that they are compared on.

        Args:
            methods: positions; None: all that define any.
            among: (P,) the pairs that count; None: all.
        """
        defined = np.isfinite(self.rows.values["mu_w"])
        defined &= True if among is None else among[:, None]
        chosen = np.flatnonzero(defined.any(0)) if methods is None else np.array(methods, dtype=np.int64)
        both: Bools = np.all(defined[:, chosen], axis=1)
        return both if len(chosen) else np.zeros(len(both), dtype=bool)

    @cached_property
    def ranking(self) -> list[int]:
        """The methods' positions, the highest mean mu_w first, the undefined last; see `ranked`."""
        return self.ranked()

    def ranked(self, among: Bools | None = None) -> list[int]:
        """Return the methods' positions, the highest mean mu_w over the pairs that all define first.

        Where no pair is common to all, each method's own mean decides.

        Args:
            among: (P,) the pairs that count; None: all.
        """
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
    config, tables = store.config(), {name: store.read(name) for name in store.tables()}
    if not tables["predictions"].num_rows:
        raise StudyError(f"{folder}: nothing is measured yet; run the study first")
    return arranged(str(config.get("name") or folder.resolve().name), config, tables)


def arranged(name: str, config: Mapping[str, Any], tables: Mapping[str, Any]) -> Study:
    """Arrange a study's Arrow tables.

    Args:
        name: what to call it.
        config: as in `run.json`; of it `methods` and `seed` are used here.
        tables: by name, as `Store.read` returns them.

    Raises:
        StudyError: something was measured twice, so that the rows are not those of one study.
    """
    indices = {table: _numbers(tables[table], "image_index").astype(np.int64) for table in TABLES}
    pictures = np.unique(np.concatenate(list(indices.values())))
    found = list(dict.fromkeys(tables["rows"]["method"].unique().to_pylist()))
    methods = tuple(sorted(found, key=_order([str(method) for method in config.get("methods", ())])))
    positions = {table: np.searchsorted(pictures, index) for table, index in indices.items()}
    return Study(
        name=name,
        config=config,
        methods=methods,
        rows=_rows(tables["rows"], positions["rows"], methods),
        pairs=_pairs(tables["pairs"], positions["pairs"], methods),
        occlusion=_occlusion(tables["occlusion"], positions["occlusion"]),
        predictions=_predictions(tables["predictions"]),
        resamples=Resamples(len(pictures), int(config.get("seed") or 0)),
        indices=pictures,
        later={name: table for name, table in tables.items() if name not in TABLES},
    )


def _name(value: object) -> str:
    """Return a configuration's entry as a name: itself, or what it calls its name."""
    return str((value.get("name") if isinstance(value, dict) else value) or "")


def _rows(table: Any, picture: Ints, methods: Sequence[str]) -> Rows:
    first, cell = _cells(table, picture, ("class_name",), "method", methods)
    shape = (len(first), len(methods))
    status = np.full(shape, "", dtype=object)
    status[cell] = table["status"].to_pylist()
    values = {column.name: np.full(shape, np.nan) for column in (*MEASURES, *LEDGER)}
    for name, matrix in values.items():
        matrix[cell] = _numbers(table, name)
    s_in, s_tot = (_numbers(table, name).astype(np.int64)[first] for name in ("s_in", "s_tot"))
    _, of, number = np.unique(picture[first], return_inverse=True, return_counts=True)
    logit = _numbers(table, "logit")[first]
    return Rows(picture[first], share(s_in, s_tot), bin_of(s_in, s_tot), number[of], logit, status, values)


def _pairs(table: Any, picture: Ints, methods: Sequence[str]) -> Pairs:
    first, cell = _cells(table, picture, ("class_a", "class_b"), "method", methods)
    cosine = np.full((len(first), len(methods)), np.nan)
    cosine[cell] = _numbers(table, "cosine")
    return Pairs(picture[first], cosine)


def _occlusion(table: Any, picture: Ints) -> Occlusion:
    first, cell = _cells(table, picture, ("class_name",), "part", ("object", "context"))
    delta = np.full((len(first), 2), np.nan)
    delta[cell] = _numbers(table, "delta")
    s_in, s_tot = (_numbers(table, name).astype(np.int64)[first] for name in ("s_in", "s_tot"))
    return Occlusion(picture[first], share(s_in, s_tot), bin_of(s_in, s_tot), delta)


def _predictions(table: Any) -> Predictions:
    names, problems, labels, targets, top5 = (
        table[column].to_pylist() for column in ("image_id", "problem", "labels", "targets", "top5")
    )
    lists = table["scores"].combine_chunks()
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False)
    width = int(lengths.max(initial=0))
    if not np.isin(lengths, (0, width)).all():
        raise StudyError("predictions have different numbers of classes; remove the parts that are not of this study")
    scores = np.full((len(names), width), np.nan, dtype=np.float32)
    scores[lengths > 0] = lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, width or 1)[:, :width]
    rescaled = sum(table["rescaled"].to_pylist())
    return Predictions(names, problems, labels, targets, top5, rescaled, scores)


def _cells(
    table: Any, picture: Ints, within: Sequence[str], across: str, order: Sequence[str]
) -> tuple[Ints, tuple[Ints, Ints]]:
    """Find each record's place in a matrix: a row per picture and value of `within`, a column per `order`.

    Returns:
        For each row of the matrix the first of its records, and for each record its row and column.
    """
    key = picture
    for name in within:
        code, words = _codes(table, name)
        key = key * max(len(words), 1) + code
    _, first, row = np.unique(key, return_index=True, return_inverse=True)
    code, words = _codes(table, across)
    unknown = set(words) - set(order)
    if unknown:
        raise StudyError(f"{across} {', '.join(sorted(unknown))}: not of this study; remove the parts that hold it")
    column = np.array([order.index(word) for word in words], dtype=np.int64)[code]
    if len(np.unique(row * max(len(order), 1) + column)) < len(row):
        raise StudyError(f"a {across} was measured twice on one picture; keep the parts of one run only")
    return first, (row, column)


def _codes(table: Any, name: str) -> tuple[Ints, list[str]]:
    """Return a column of words as numbers, and the words."""
    encoded = table[name].combine_chunks().dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary.to_pylist()


def _numbers(table: Any, name: str) -> Floats:
    """Return a column of numbers, NaN for null."""
    return table[name].to_numpy().astype(np.float64)  # type: ignore[no-any-return]


def _order(wanted: Sequence[str]) -> Any:
    """Return a sorting key: as wanted, what is not wanted last and as found."""
    return lambda method: wanted.index(method) if method in wanted else len(wanted)
