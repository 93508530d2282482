"""Methods beside each other, on the pairs of picture and class that all of them define."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from relprop.study.arranged import Rows
from relprop.study.results import BASELINE, Study, Which
from relprop.study.statistics import Floats, Means
from relprop.study.verdict import Condition, NotMeasurable, condition, number

COMPOSITES = ("cmp-alpha1", "cmp-alpha2", "cmp-alpha1-flat", "cmp-alpha2-flat")
UNIFORM = ("lrp-z", "lrp-epsilon", "lrp-alpha1", "lrp-alpha2")
RIVALS = (*UNIFORM, "guided-backprop")
"""The paper's composites, its configurations with one rule in every layer, and these with Guided Backprop."""
ALSO = ("pattern-attribution", "gradient-x-input", BASELINE)
"""What else the paper compares with, and what it does not measure on both of its data sets."""


@dataclass(frozen=True)
class Compared:
    """Some methods of a study on the pairs that all of them define.

    Attributes:
        study: whose methods they are.
        positions: of the methods in the study, in the order of the names that were asked for.
        among: (P,) the pairs.
        mu_w: of every method of the study, over these pairs.
    """

    study: Study
    positions: tuple[int, ...]
    among: Which
    mu_w: Means

    @property
    def pictures(self) -> int:
        """How many pictures the pairs are of."""
        return int(self.mu_w.pictures[self.positions[0]])

    @property
    def extent(self) -> str:
        """Over what: ``"n 231/240"``, the pairs of all."""
        return f"n {self.mu_w.defined[self.positions[0]]}/{self.study.total}"

    def of(self, names: Sequence[str]) -> list[int]:
        """Return which of the methods have these names, the highest mean mu_w first."""
        chosen = [k for k in self.positions if self.study.methods[k] in names]
        return sorted(chosen, key=lambda k: -self.mu_w.mean[k])

    def gap(self, one: int, other: int) -> Condition:
        """Return the condition that one method's mean mu_w is above another's."""
        names = (self.study.methods[k] for k in (one, other))
        return self.condition("{} less {}".format(*names), self.mu_w.mean, self.mu_w.draws, one, other)

    def condition(self, what: str, mean: Floats, draws: Floats, one: int, other: int) -> Condition:
        """Return the condition that one column of means is above another, over these pictures."""
        return condition(what, mean[one] - mean[other], draws[:, one] - draws[:, other], self.pictures)

    def named(self, k: int) -> str:
        """Return a method with its mean mu_w: ``"lrp-z with 2.128 [2.101, 2.154]"``."""
        return f"{self.study.methods[k]} with {shown(self.mu_w, k, '.3f')}"


def compared(study: Study, names: Sequence[str], also: Sequence[str] = ()) -> Compared:
    """Return methods beside each other.

    Args:
        study: that measured them.
        names: of which all must have been measured.
        also: of which those are taken that were, and that define a mu_w.

    Raises:
        NotMeasurable: a method was not measured, or its mu_w is nowhere defined.
    """
    absent = [name for name in names if study.position(name) is None]
    if absent:
        raise NotMeasurable(f"Not measured: {listed(absent)}.")
    empty = [name for name in names if not study.mu_w.defined[study.methods.index(name)]]
    if empty:
        raise NotMeasurable(f"No mu_w is defined of {listed(empty)}.")
    more = [name for name in also if name in study.methods and study.mu_w.defined[study.methods.index(name)]]
    positions = tuple(study.methods.index(name) for name in (*names, *more))
    among = study.common(positions)
    mu_w = study.means("mu_w", among)
    if not mu_w.defined[positions[0]]:
        raise NotMeasurable(f"Nothing is defined for all of {listed([*names, *more])}.")
    return Compared(study, positions, among, mu_w)


def apart(study: Study, one: int, other: int) -> Means:
    """Return by how much two methods' mu differ on average, whatever the sign."""

    def gap(rows: Rows) -> Floats:
        mu = rows.values["mu"]
        return np.abs(mu[:, one] - mu[:, other])[:, None]

    return study.over(gap)


def shown(means: Means, k: int, form: str) -> str:
    """Return one of several means with its interval, ``"2.716 [2.651, 2.781]"``."""
    low, high = means.interval()
    return number(float(means.mean[k]), float(low[k]), float(high[k]), form)


def listed(words: Iterable[str]) -> str:
    """Return words with commas between them."""
    return ", ".join(words)
