"""Time: contenders take turns, so that what else the machine does hits all of them alike."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

Call = Callable[[], object]


@dataclass(frozen=True)
class Patience:
    """How long a case may take.

    Attributes:
        seconds: for all rounds together.
        least: rounds that are made however long they take.
        most: rounds that are enough.
    """

    seconds: float
    least: int
    most: int

    def enough(self, rounds: int, elapsed: float) -> bool:
        """Whether another round would be one too many, if it took as long as the ones before."""
        if rounds < self.least:
            return False
        return rounds >= self.most or elapsed * (rounds + 1) / rounds > self.seconds


def interleaved(
    calls: Mapping[str, Call],
    patience: Patience,
    synchronise: Call,
    tell: Callable[[str, float], object],
    excused: Callable[[str, Exception], bool] = lambda *_: False,
) -> dict[str, list[float]]:
    """Return the seconds of every run of every contender.

    Args:
        calls: by name; in each round each has one run, and another goes first.
        patience: when to stop.
        synchronise: waits until the device has done what was asked of it.
        tell: is told the contender and its seconds after every run.
        excused: is asked about an error of a contender: whether it leaves, and the others go on.
    """
    runs: dict[str, list[float]] = {name: [] for name in calls}
    names, began, rounds = list(calls), perf_counter(), 0
    gc.collect()
    gc.freeze()  # the collections between the runs would else go through all that is loaded, every time
    try:
        while names and not patience.enough(rounds, perf_counter() - began):
            first = rounds % len(names)
            for name in names[first:] + names[:first]:
                try:
                    runs[name].append(once(calls[name], synchronise))
                except Exception as error:
                    if not excused(name, error):
                        raise
                    names.remove(name)
                    del runs[name]
                else:
                    tell(name, runs[name][-1])
            rounds += 1
    finally:
        gc.unfreeze()
    return runs


def once(call: Call, synchronise: Call) -> float:
    """Return the seconds of one run; Python's garbage collector stands still in it."""
    gc.collect()
    gc.disable()
    try:
        synchronise()
        start = perf_counter()
        result = call()
        synchronise()
        seconds = perf_counter() - start
        del result
    finally:
        gc.enable()
    return seconds


def summary(runs: list[float]) -> dict[str, Any]:
    """Return median, quartiles and every run, in seconds."""
    low, middle, high = statistics.quantiles(runs, n=4, method="inclusive") if len(runs) > 1 else runs * 3
    return {
        "median": round(middle, 6),
        "q1": round(low, 6),
        "q3": round(high, 6),
        "runs": [round(seconds, 6) for seconds in runs],
    }
