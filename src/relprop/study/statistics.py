"""Means over what is defined, with intervals that know that a picture's measurements belong together.

All intervals are 95 % percentile bootstrap intervals. Resampled are pictures, not rows: two classes on one
picture share its difficulty, so rows drawn one by one would make the intervals too narrow. Every figure of
a report uses the same resamples, so that differences between methods are differences on the same pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relprop.study.blocks import IN_MEMORY, room_told, scratch

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

Piece = tuple[Floats, Ints, Bools | None]
"""Values (P, K) with the picture that each row is of, (P,), and which of the values count, (P,) or (P, K)."""


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

    A byte for each of them lies in memory while that is little, and else in a file (`relprop.study.blocks.scratch`).

    Args:
        pictures: how many there are.
        seed: the same seed and number of pictures give the same resamples.
        times: how many resamples.

    Raises:
        StudyError: there is no room for the file.
    """

    def __init__(self, pictures: int, seed: int = 0, times: int = 1000) -> None:
        self.pictures, self.times = pictures, times
        self._file = scratch(self)
        self._held = -1, np.empty((times, 0), dtype=np.uint8)  # the chunk that was read last
        generator = np.random.default_rng(seed)
        together = max(1, min(times, IN_MEMORY // max(pictures, 1)))
        for first in range(0, times, together):
            drawn = np.empty((min(together, times - first), pictures), dtype=np.uint8)
            for row in drawn:  # one picture 256 times in a resample: never
                row[:] = np.bincount(generator.integers(0, pictures, pictures), minlength=pictures)
            for start in range(0, pictures, _CHUNK):
                chunk = drawn[:, start : start + _CHUNK]
                with room_told():
                    self._file.seek(start * times + first * chunk.shape[1])
                    self._file.write(chunk.tobytes())
                    self._file.flush()

    @property
    def counts(self) -> NDArray[np.uint8]:
        """(pictures, times) uint8: all of them, in memory."""
        chunks = [self._chunk(start) for start in range(0, self.pictures, _CHUNK)]
        return np.concatenate([np.empty((self.times, 0), dtype=np.uint8), *chunks], 1).T

    def _chunk(self, start: int) -> NDArray[np.uint8]:
        """Return how often each of the `_CHUNK` pictures from `start` on was drawn, (times, n)."""
        if self._held[0] != start:
            number = min(_CHUNK, self.pictures - start)
            self._file.seek(start * self.times)
            drawn = np.frombuffer(self._file.read(self.times * number), dtype=np.uint8)
            self._held = start, drawn.reshape(self.times, number)
        return self._held[1]

    def means(self, values: Floats, picture: Ints, among: Bools | None = None) -> Means:
        """Return the mean of each column over its defined values.

        Args:
            values: (P, K), NaN or infinite where undefined.
            picture: (P,) the picture that each row is of, counted from 0.
            among: (P,) or (P, K): the values that count at all, defined or not; None: all of them.
        """
        return self.over([(values, picture, among)])

    def over(self, pieces: Iterable[Piece]) -> Means:
        """Return the mean of each column over its defined values, of which some are in memory at a time.

        Args:
            pieces: one or more, as `means` takes one; no picture is in two of them.
        """
        return reduce(add, (_Sums.of(self, piece) for piece in pieces)).means()

    def drawn(self, sums: Floats, pictures: Ints) -> Floats:
        """Return what sums per picture add up to in each resample, (times, K).

        Args:
            sums: (N, K).
            pictures: (N,) ascending, the picture that each row is of.
        """
        result = np.zeros((self.times, sums.shape[1]))
        ends = np.searchsorted(pictures, range(0, self.pictures + _CHUNK, _CHUNK))
        for k in np.flatnonzero(np.diff(ends)):
            rows = slice(ends[k], ends[k + 1])
            counts, among = self._chunk(int(k) * _CHUNK), pictures[rows] - k * _CHUNK
            counts = counts if len(among) == counts.shape[1] else counts[:, among]
            result += counts.astype(np.float64) @ sums[rows]
        return result


@dataclass(frozen=True)
class _Sums:
    """What means are made of, K of them, of some pictures; those of different pictures add up.

    Attributes:
        sums, numbers: (1 + resamples, K): of all values, and of those of each resample.
        defined, total, pictures: as `Means` has them.
    """

    sums: Floats
    numbers: Floats
    defined: Ints
    total: Ints
    pictures: Ints

    @classmethod
    def of(cls, resamples: Resamples, piece: Piece) -> _Sums:
        """Return those of a piece."""
        values, picture, among = piece
        counted = np.ones(values.shape, dtype=bool) if among is None else np.broadcast_to(_wide(among), values.shape)
        defined = np.isfinite(values) & counted
        order = np.argsort(picture, kind="stable")
        involved, starts = np.unique(picture[order], return_index=True)  # the pictures that these rows are of
        added = np.concatenate([np.where(defined, values, 0.0), defined], 1)[order]
        each = np.add.reduceat(added, starts, axis=0) if len(starts) else added
        both = np.concatenate([each.sum(0, keepdims=True), resamples.drawn(each, involved)])
        sums, numbers = np.split(both, 2, axis=1)
        some = (each[:, values.shape[1] :] > 0).sum(0)
        return cls(sums, numbers, defined.sum(0), counted.sum(0), some)

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def means(self) -> Means:
        """Divide."""
        ratio = _ratio(self.sums, self.numbers)
        return Means(ratio[0], ratio[1:], self.defined, self.total, self.pictures)


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


def binned(resamples: Resamples, pieces: Iterable[tuple[Floats, Ints, Ints]], bins: int = BINS) -> list[Means | None]:
    """Return each bin's means, None for an empty bin.

    Args:
        resamples: of all pictures.
        pieces: values (P, K), NaN where undefined, the picture that each row is of, (P,), and its bin as `bin_of` gives
            it, (P,); no picture is in two pieces.
        bins: how many there are.
    """
    found: list[_Sums | None] = [None] * bins
    for values, picture, where in pieces:
        for k in np.unique(where[where >= 0]).tolist():
            rows, before = np.flatnonzero(where == k), found[k]
            sums = _Sums.of(resamples, (values[rows], picture[rows], None))
            found[k] = sums if before is None else before + sums
    return [None if sums is None else sums.means() for sums in found]


def stops(pieces: Iterable[tuple[Ints, Ints]], least: int = ENOUGH, bins: int = BINS) -> list[int]:
    """Join neighbouring bins, from the lowest on, until each holds rows of `least` pictures; `merged` takes the result.

    What is left at the upper end joins the last one. Where there are fewer pictures in all, there is one bin.

    Args:
        pieces: each row's bin as `bin_of` gives it, (P,), and the picture that it is of, (P,).
        least: pictures, not rows.
        bins: how many there were.

    Returns:
        Where each of the new bins ends, counted in old ones.
    """
    among: list[set[int]] = [set() for _ in range(bins)]  # of each bin some of its pictures, all if they are too few
    for where, picture in pieces:
        for k in np.unique(where[where >= 0]).tolist():
            if len(among[k]) < least:
                among[k].update(np.unique(picture[where == k])[:least].tolist())
    found: list[int] = []
    seen: set[int] = set()
    for k in range(bins):
        seen |= among[k]
        if len(seen) >= least:
            found.append(k + 1)
            seen = set()
    return [*found[:-1], bins] if found else [bins]


def merged(where: Ints, stops: Sequence[int]) -> Ints:
    """Return each row's bin among those that `stops` made, (P,), counted from 0; rows of bin -1 stay there."""
    new = np.searchsorted(stops, where, side="right")
    return np.where(where < 0, -1, new)


def deviations(pieces: Iterable[tuple[Floats, Ints]], bins: int = BINS) -> tuple[Floats, Floats]:
    """Return the mean and the standard deviation (divided by n) of each bin's defined values, (bins,) each.

    The mean of an empty bin is NaN, and so is the deviation of a single value.

    Args:
        pieces: values (P,) and their bins (P,); they are gone through twice.
        bins: how many there are.
    """
    number, total, squares = np.zeros((3, bins))
    for values, where in pieces:
        counted = np.isfinite(values) & (where >= 0)
        number += np.bincount(where[counted], minlength=bins)
        total += np.bincount(where[counted], values[counted], bins)
    mean = _ratio(total, number)
    for values, where in pieces:
        counted = np.isfinite(values) & (where >= 0)
        squares += np.bincount(where[counted], (values[counted] - mean[where[counted]]) ** 2, bins)
    return mean, np.sqrt(_ratio(np.where(number > 1, squares, np.nan), number))


def _wide(among: Bools) -> Bools:
    return among[:, None] if among.ndim == 1 else among


def _ratio(above: Any, below: Any) -> Floats:
    """Return above / below, NaN where below is zero."""
    result: Floats = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=np.asarray(below) > 0)
    return result
