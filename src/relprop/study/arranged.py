"""A study's tables as arrays: from rows in a file to a row per picture and class, a column per method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relprop.study.files import StudyError
from relprop.study.schema import LEDGER, MEASURES, STATUSES
from relprop.study.statistics import Bools, Floats, Ints, bin_of, share

WORDS = ("", *STATUSES)
"""What a status can be, empty where there is no row."""
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
        code: (P, M) places in `WORDS`.
        values: each of `relprop.study.schema.MEASURES` and of its `LEDGER` by name, (P, M), NaN where undefined.
    """

    picture: Ints
    share: Floats
    where: Ints
    shown: Ints
    logit: Floats
    code: NDArray[np.uint8]
    values: dict[str, Floats]

    @property
    def status(self) -> NDArray[np.object_]:
        """(P, M) of `relprop.study.schema.STATUSES`, empty where there is no row."""
        return np.array(WORDS, dtype=object)[self.code]

    def are(self, status: str) -> Bools:
        """Return (P, M) which maps have this status."""
        found: Bools = self.code == WORDS.index(status)
        return found

    @property
    def nowhere_positive(self) -> Bools:
        """(P, M) which maps have no positive relevance: where the logit is negative, that is why."""
        return self.are("no_positive_relevance")

    def contradicting(self) -> Floats:
        """Return claim 11's share, (P, M), of negative relevance inside other classes' boxes; NaN where undefined."""
        inside = self.values["negative_inside_others"]
        return np.where(np.isfinite(inside - self.values["others_area"]), inside, np.nan)

    def contradicted(self) -> Floats:
        """Return the share of the area that those boxes cover, (P, M), where `contradicting` is defined."""
        area = self.values["others_area"]
        return np.where(np.isfinite(self.values["negative_inside_others"] - area), area, np.nan)

    def of_logit(self, column: str = "relevance_sum") -> Floats:
        """Return (P, M) which share of the logit a map's pixels, or `bias`, `eps` or `lost` have.

        NaN where the map has no ledger that says so, or where its relevance does not begin as the logit.
        """
        parts = [self.values[name] for name in ("relevance_sum", "bias", "eps", "lost")]
        began, logit = sum(parts), self.logit[:, None]
        as_logit = np.isfinite(began) & (np.abs(began - logit) <= _ADDS_UP * np.abs(parts).sum(0)) & (logit != 0)
        return np.divide(self.values[column], logit, out=np.full(as_logit.shape, np.nan), where=as_logit)


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
        picture: (N,) which picture, counted from 0.
        names: the pictures' ids.
        problems: per picture, what went wrong, or "".
        labels, targets, top5: per picture, as the table has them.
        rescaled: how many pictures had another size than their annotation states, so that boxes were scaled.
        scores: (N, classes), NaN for a picture that the model did not see.
    """

    picture: Ints
    names: list[str]
    problems: list[str]
    labels: list[list[str]]
    targets: list[list[int]]
    top5: list[list[int]]
    rescaled: int
    scores: NDArray[np.float32]


def rows_of(table: Any, picture: Ints, methods: Sequence[str]) -> Rows:
    """Arrange an Arrow table of rows.

    Args:
        table: of whole pictures, with all columns that the schema has.
        picture: each row's picture, counted from 0.
        methods: all that there are, in order.

    Raises:
        StudyError: something was measured twice, or a status or method is of another study.
    """
    first, cell = _cells(table, picture, ("class_name",), "method", methods)
    shape = (len(first), len(methods))
    code = np.zeros(shape, dtype=np.uint8)
    code[cell] = _positions(table, "status", WORDS)
    values = {column.name: np.full(shape, np.nan) for column in (*MEASURES, *LEDGER)}
    for name, matrix in values.items():
        matrix[cell] = numbers(table, name)
    s_in, s_tot = (numbers(table, name).astype(np.int64)[first] for name in ("s_in", "s_tot"))
    _, of, number = np.unique(picture[first], return_inverse=True, return_counts=True)
    logit = numbers(table, "logit")[first]
    return Rows(picture[first], share(s_in, s_tot), bin_of(s_in, s_tot), number[of], logit, code, values)


def pairs_of(table: Any, picture: Ints, methods: Sequence[str]) -> Pairs:
    """Arrange a table of pairs; arguments and errors as for `rows_of`."""
    first, cell = _cells(table, picture, ("class_a", "class_b"), "method", methods)
    cosine = np.full((len(first), len(methods)), np.nan)
    cosine[cell] = numbers(table, "cosine")
    return Pairs(picture[first], cosine)


def occlusion_of(table: Any, picture: Ints) -> Occlusion:
    """Arrange a table of occlusions; arguments and errors as for `rows_of`."""
    first, cell = _cells(table, picture, ("class_name",), "part", ("object", "context"))
    delta = np.full((len(first), 2), np.nan)
    delta[cell] = numbers(table, "delta")
    s_in, s_tot = (numbers(table, name).astype(np.int64)[first] for name in ("s_in", "s_tot"))
    return Occlusion(picture[first], share(s_in, s_tot), bin_of(s_in, s_tot), delta)


def predictions_of(table: Any, picture: Ints, classes: int) -> Predictions:
    """Arrange a table of predictions.

    Args:
        table: as `rows_of` has it.
        picture: likewise.
        classes: how many the study has, where the model saw none of the pictures.

    Raises:
        StudyError: pictures have scores of different numbers of classes.
    """
    names, problems, labels, targets, top5 = (
        table[column].to_pylist() for column in ("image_id", "problem", "labels", "targets", "top5")
    )
    lists = table["scores"].combine_chunks()
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False)
    width = int(lengths.max(initial=0)) or classes
    if not np.isin(lengths, (0, width)).all():
        raise StudyError("predictions have different numbers of classes; remove the parts that are not of this study")
    scores = np.full((len(names), width), np.nan, dtype=np.float32)
    scores[lengths > 0] = lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, width or 1)[:, :width]
    rescaled = sum(table["rescaled"].to_pylist())
    return Predictions(picture, names, problems, labels, targets, top5, rescaled, scores)


def numbers(table: Any, name: str) -> Floats:
    """Return a column of numbers, NaN for null."""
    return table[name].to_numpy().astype(np.float64)  # type: ignore[no-any-return]


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
        rank = np.argsort(np.argsort(words))  # whichever the table has first: in every piece the same order
        key = key * max(len(words), 1) + rank[code]
    _, first, row = np.unique(key, return_index=True, return_inverse=True)
    column = _positions(table, across, order)
    if len(np.unique(row * max(len(order), 1) + column)) < len(row):
        raise StudyError(f"a {across} was measured twice on one picture; keep the parts of one run only")
    return first, (row, column)


def _positions(table: Any, name: str, order: Sequence[str]) -> Ints:
    """Return where in `order` each word of a column stands."""
    code, words = _codes(table, name)
    unknown = set(words) - set(order)
    if unknown:
        raise StudyError(f"{name} {', '.join(sorted(unknown))}: not of this study; remove the parts that hold it")
    return np.array([order.index(word) for word in words], dtype=np.int64)[code]


def _codes(table: Any, name: str) -> tuple[Ints, list[str]]:
    """Return a column of words as numbers, and the words."""
    encoded = table[name].combine_chunks().dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary.to_pylist()
