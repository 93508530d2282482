"""What can become of a claim, and the intervals that decide it. A mean alone decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from relprop.study.statistics import ENOUGH, Floats, interval


class Verdict(StrEnum):
    """What became of a claim; as text it is the words that reports use."""

    HELD = "held"
    NOT_HELD = "not held"
    UNDECIDED = "undecided"
    NOT_MEASURABLE = "not measurable"


MEANINGS = {
    Verdict.HELD: "the whole 95 % interval lies where the claim says",
    Verdict.NOT_HELD: "the whole interval lies where the claim says it does not",
    Verdict.UNDECIDED: f"the interval holds the bound, or there are fewer than {ENOUGH} pictures",
    Verdict.NOT_MEASURABLE: "a method, a network or pictures that the claim is about were not measured",
}
"""What each verdict means, in the words of a caption."""

_WORST = (Verdict.NOT_HELD, Verdict.NOT_MEASURABLE, Verdict.UNDECIDED, Verdict.HELD)
"""Of several conditions the first of these is the claim's: what one of them refutes, no other saves."""


class NotMeasurable(Exception):  # noqa: N818  (no failure: a verdict)
    """Why this data cannot tell what becomes of a claim: a whole sentence."""


@dataclass(frozen=True)
class Condition:
    """A number of which a claim says on which side of a bound it lies.

    Attributes:
        what: what the number is.
        value: the number, NaN where there is none.
        low, high: its 95 % interval; NaN likewise.
        pictures: how many it is over; of a difference between two sets of pictures, those of the smaller one.
        bound: what it is held against.
        below: the claim says that it lies below the bound, not above.
        form: how the number is written.
        alike: of how many conditions of one kind this is the one that is closest to failing.
    """

    what: str
    value: float
    low: float
    high: float
    pictures: int
    bound: float = 0.0
    below: bool = False
    form: str = "+.3f"
    alike: int = 1

    @property
    def verdict(self) -> Verdict:
        """Whether the interval lies on the side that the claim says."""
        if not np.isfinite(self.value) or not self.pictures:
            return Verdict.NOT_MEASURABLE
        if self.pictures < ENOUGH or not np.isfinite([self.low, self.high]).all():
            return Verdict.UNDECIDED
        least, most = self._margins
        return Verdict.HELD if least > 0 else Verdict.NOT_HELD if most < 0 else Verdict.UNDECIDED

    @property
    def number(self) -> str:
        """The number with its interval: ``"+0.412 [+0.305, +0.519]"``."""
        return number(self.value, self.low, self.high, self.form)

    @property
    def text(self) -> str:
        """What is held against what, and over how many pictures."""
        if self.verdict is Verdict.NOT_MEASURABLE:
            return f"{self.what}: nothing to compare"
        side = "below" if self.below else "above"
        few = f", where a verdict takes {ENOUGH}" if self.pictures < ENOUGH else ""
        closest = f", the closest of {self.alike}" if self.alike > 1 else ""
        return f"{self.what} {self.number}, to be {side} {self.bound:g}{closest} ({self.pictures} pictures{few})"

    @property
    def _margins(self) -> tuple[float, float]:
        """How far the interval's ends lie on the claim's side, the lower one first."""
        above = self.low - self.bound, self.high - self.bound
        return (-above[1], -above[0]) if self.below else above


def condition(
    what: str,
    value: float,
    draws: Floats,
    pictures: int,
    *,
    bound: float = 0.0,
    below: bool = False,
    form: str = "+.3f",
) -> Condition:
    """Return the condition of a number and what it became in each resample, (resamples,)."""
    low, high = interval(draws) if pictures >= 2 else (np.nan, np.nan)
    return Condition(what, float(value), float(low), float(high), int(pictures), bound, below, form)


def absent(what: str) -> Condition:
    """Return the condition of a number that there is not."""
    return Condition(what, np.nan, np.nan, np.nan, 0)


def closest(conditions: Sequence[Condition]) -> Condition:
    """Return of conditions of one kind, all of which a claim needs, the one that is closest to failing or fails most.

    Each has an interval of its own, so `held` is as sure of all as of this one; but the more there are, the more
    often one is refuted by chance.
    """
    first = min(conditions, key=lambda each: (_WORST.index(each.verdict), each._margins))  # noqa: SLF001
    return replace(first, alike=len(conditions))


@dataclass(frozen=True)
class Found:
    """What a claim's data says: figures for a reader (sentences), and the conditions that must all hold."""

    figures: str
    conditions: tuple[Condition, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the conditions."""
        return min((each.verdict for each in self.conditions), key=_WORST.index)


@dataclass(frozen=True)
class Claim:
    """What became of a claim.

    Attributes:
        number: as in `docs/` and the report.
        text: what the paper says.
        verdict: one of four.
        figures: what was found, with 95 % intervals in brackets, and which of them decided; or why it cannot be told.
        decided_by: the numbers that decided; none where it is not measurable.
    """

    number: int
    text: str
    verdict: Verdict
    figures: str
    decided_by: tuple[Condition, ...] = ()

    def as_data(self) -> dict[str, object]:
        """Return the claim for JSON, the verdict as a word."""
        about = {"number": self.number, "text": self.text, "verdict": str(self.verdict), "figures": self.figures}
        decided = [
            {"what": each.what, "value": each.value, "low": each.low, "high": each.high, "pictures": each.pictures}
            | {"bound": each.bound, "side": "below" if each.below else "above", "verdict": str(each.verdict)}
            for each in self.decided_by
            if np.isfinite([each.value, each.low, each.high]).all()
        ]
        return about | {"decided_by": decided}


def number(value: float, low: float, high: float, form: str) -> str:
    """Return ``"2.716 [2.651, 2.781]"``."""
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


def spread(value: float, draws: Floats, form: str) -> str:
    """Return a number with the interval of its (resamples,) draws, written likewise."""
    low, high = interval(draws)
    return number(float(value), float(low), float(high), form)
