"""Means over what is defined, with intervals that know that a picture's measurements belong together.

All intervals are 95 % percentile bootstrap intervals. Resampled are pictures, not rows: two classes on one
picture share its difficulty, so rows drawn one by one would make the intervals too narrow. Every figure of
a report uses the same resamples, so that differences between methods are differences on the same pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

SMALL, HALF = 0.25, 0.5
"""The paper's bounds of S_in / S_tot."""
BINS = 100
"""Equal bins of S_in / S_tot in Figures 2 and 3."""
ENOUGH = 20
"""So many pictures a verdict takes, and a bin of a figure: of fewer, an interval is too narrow too often."""
_CHUNK = 4096  # pictures at a time: bounds the memory that the resamples' matrix product takes


@dataclass(frozen=True)
class Estimate:
    """A mean over the defined values.

    Attributes:
        mean: NaN where nothing is defined.
        low, high: its 95 % interval; NaN where fewer than two pictures have a defined value.
        defined, total: how many values the mean is over, and how many there would be were all defined.
    """

    mean: float
    low: float
    high: float
    defined: int
    total: int


@dataclass(frozen=True)
class Means:
    """K means at once, and what each became in every resample: whatever is computed from them has an interval too.

    Attributes:
        mean: (K,) NaN where nothing is defined.
        draws: (resamples, K) likewise.
        defined, total: (K,) numbers of values.
        pictures: (K,) pictures with a defined value.
    """

    mean: Floats
    draws: Floats
    defined: Ints
    total: Ints
    pictures: Ints

    def interval(self) -> tuple[Floats, Floats]:
        """Return the lower and the upper ends, (K,) each."""
        low, high = interval(self.draws)
        known = self.pictures >= 2
        return np.where(known, low, np.nan), np.where(known, high, np.nan)

    def estimates(self) -> list[Estimate]:
        """Return the K means, each with its interval."""
        columns = (self.mean, *self.interval(), self.defined, self.total)
        return [Estimate(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]


class Resamples:
    """How often each picture was drawn in each of the bootstrap's resamples.

    Args:
        pictures: how many there are.
        seed: the same seed and number of pictures give the same resamples.
        times: how many resamples.

    Attributes:
        counts: (pictures, times) uint8.
    """

    def __init__(self, pictures: int, seed: int = 0, times: int = 1000) -> None:
        generator = np.random.default_rng(seed)
        drawn = np.empty((times, pictures), dtype=np.uint8)  # one picture 256 times in a resample: never
        for row in drawn:
            row[:] = np.bincount(generator.integers(0, pictures, pictures), minlength=pictures)
        self.counts: NDArray[np.uint8] = np.ascontiguousarray(drawn.T)

    def means(self, values: Floats, picture: Ints, among: Bools | None = None) -> Means:
        """Return the mean of each column over its defined values.

        Args:
            values: (P, K), NaN or infinite where undefined.
            picture: (P,) the picture that each row is of, counted from 0.
            among: (P,) or (P, K): the values that count at all, defined or not; None: all of them.
        """
        counted = np.ones(values.shape, dtype=bool) if among is None else np.broadcast_to(_wide(among), values.shape)
        defined = np.isfinite(values) & counted
        involved, row = np.unique(picture, return_inverse=True)  # the pictures that these rows are of
        sums, numbers = np.zeros((2, len(involved), values.shape[1]))
        np.add.at(sums, row, np.where(defined, values, 0.0))
        np.add.at(numbers, row, defined)
        total, number = self._drawn(sums, involved), self._drawn(numbers, involved)
        return Means(
            mean=_ratio(sums.sum(0), numbers.sum(0)),
            draws=_ratio(total, number),
            defined=defined.sum(0),
            total=counted.sum(0),
            pictures=(numbers > 0).sum(0),
        )

    def _drawn(self, sums: Floats, pictures: Ints) -> Floats:
        """Return what (N, K) sums per picture add up to in each resample: (times, K)."""
        result = np.zeros((self.counts.shape[1], sums.shape[1]))
        for start in range(0, len(pictures), _CHUNK):
            part = slice(start, start + _CHUNK)
            result += self.counts[pictures[part]].T.astype(np.float64) @ sums[part]
        return result


def interval(draws: Floats) -> tuple[Floats, Floats]:
    """Return the 95 % interval of (resamples, ...) draws; NaN where a draw is not defined in most of them."""
    if not draws.size:
        return np.full(draws.shape[1:], np.nan), np.full(draws.shape[1:], np.nan)
    defined = np.isfinite(draws).mean(0) > 0.5
    # A column without any draw would warn; what stands in for it is thrown away.
    low, high = np.nanpercentile(np.where(defined, draws, 0.0), (2.5, 97.5), axis=0)
    return np.where(defined, low, np.nan), np.where(defined, high, np.nan)


def share(s_in: Ints, s_tot: Ints) -> Floats:
    """Return S_in / S_tot; NaN where the boxes or the picture have no pixel."""
    return _ratio(np.where(s_in > 0, s_in, np.nan), s_tot.astype(np.float64))


def bin_of(s_in: Ints, s_tot: Ints, bins: int = BINS) -> Ints:
    """Return the bin of each S_in / S_tot, -1 where it has none.

    Bin k holds k / bins < S_in / S_tot <= (k + 1) / bins: like the paper's bounds, an upper end belongs to
    what is below it. Whole numbers are compared, so no rounding moves a measurement across an end.
    """
    known = (s_in > 0) & (s_tot > 0)
    return np.where(known, -(-s_in * bins // np.maximum(s_tot, 1)) - 1, -1)


def binned(resamples: Resamples, values: Floats, picture: Ints, where: Ints, bins: int = BINS) -> list[Means | None]:
    """Return each bin's means, None for an empty bin.

    Args:
        resamples: of all pictures.
        values: (P, K), NaN where undefined.
        picture: (P,) the picture that each row is of.
        where: (P,) each row's bin, as `bin_of` gives it.
        bins: how many there are.
    """
    inside = [np.flatnonzero(where == k) for k in range(bins)]
    return [resamples.means(values[rows], picture[rows]) if len(rows) else None for rows in inside]


def merged(where: Ints, picture: Ints, least: int = ENOUGH, bins: int = BINS) -> tuple[Ints, Floats]:
    """Join neighbouring bins, from the lowest on, until each holds rows of `least` pictures.

    What is left at the upper end joins the last one. Where there are fewer pictures in all, there is one bin.

    Args:
        where: (P,) each row's bin, as `bin_of` gives it; rows of bin -1 stay there.
        picture: (P,) the picture that each row is of.
        least: pictures, not rows.
        bins: how many there were.

    Returns:
        (P,) each row's new bin, counted from 0, and the (K + 1,) ends of the K new bins as shares.
    """
    stops: list[int] = []
    seen: set[int] = set()
    for k in range(bins):
        seen.update(picture[where == k].tolist())
        if len(seen) >= least:
            stops.append(k + 1)
            seen = set()
    stops = [*stops[:-1], bins] if stops else [bins]
    new = np.searchsorted(stops, where, side="right")
    return np.where(where < 0, -1, new), np.array([0, *stops]) / bins


def deviations(values: Floats, where: Ints, bins: int = BINS) -> tuple[Floats, Floats]:
    """Return the mean and the standard deviation (divided by n) of each bin's defined values, (bins,) each.

    The mean of an empty bin is NaN, and so is the deviation of a single value.
    """
    counted = np.isfinite(values) & (where >= 0)
    number = np.bincount(where[counted], minlength=bins).astype(np.float64)
    mean = _ratio(np.bincount(where[counted], values[counted], bins), number)
    squares = np.bincount(where[counted], (values[counted] - mean[where[counted]]) ** 2, bins)
    return mean, np.sqrt(_ratio(np.where(number > 1, squares, np.nan), number))


def top_hits(top5: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> Floats:
    """Return (N, 2): whether the model's highest, and any of its five highest outputs is of a class shown.

    Args:
        top5: per picture, best first; empty where the model saw no picture.
        targets: per picture, the outputs for the classes that it shows; -1 for a class that the model lacks.

    Returns:
        1 for a hit, 0 for a miss, NaN where there is nothing to hit or no output.
    """
    result = np.full((len(top5), 2), np.nan)
    for row, (best, shown) in enumerate(zip(top5, targets, strict=True)):
        wanted = {target for target in shown if target >= 0}
        if wanted and best:
            result[row] = best[0] in wanted, not wanted.isdisjoint(best[:5])
    return result


def average_precision(scores: NDArray[np.floating], truth: Bools, eleven_points: bool = False) -> float:
    """Return the area under one class's precision-recall curve; NaN where no picture shows the class.

    As VOC's development kit has it since 2010, precision at a recall is the highest at that or any higher
    recall, and every recall counts. Pictures of equal scores are taken together, so that their order in
    the data set means nothing.

    Args:
        scores: (N,) finite.
        truth: (N,) which pictures show the class.
        eleven_points: as VOC 2007's kit has it, average the precision at recalls 0, 0.1, ..., 1 instead.
    """
    if not truth.any():
        return float("nan")
    from sklearn.metrics import precision_recall_curve  # type: ignore[import-untyped]  # noqa: PLC0415 - slow

    precision, recall, _ = precision_recall_curve(truth, scores)  # from the highest recall to an added end at 0
    recall, best = recall[-2::-1], np.maximum.accumulate(precision[:-1])[::-1]
    if eleven_points:
        at = np.searchsorted(recall, np.arange(11) / 10 - 1e-12)
        return float(best[at].mean())
    return float(np.sum(np.diff(recall, prepend=0.0) * best))


def mean_average_precision(scores: NDArray[np.floating], truth: Bools, eleven_points: bool = False) -> float:
    """Return the mean of `average_precision` over the classes that some picture shows.

    Args:
        scores: (N, classes) finite.
        truth: (N, classes) which classes each picture shows.
        eleven_points: VOC 2007's way instead of VOC 2010's.
    """
    each = [average_precision(*column, eleven_points) for column in zip(scores.T, truth.T, strict=True)]
    return float(np.nanmean(each)) if np.isfinite(each).any() else float("nan")


def _wide(among: Bools) -> Bools:
    return among[:, None] if among.ndim == 1 else among


def _ratio(above: Any, below: Any) -> Floats:
    """Return above / below, NaN where below is zero."""
    result: Floats = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=np.asarray(below) > 0)
    return result
