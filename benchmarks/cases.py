"""What there is to measure, and how long each of it may take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from benchmarks.networks import NETWORKS

METHODS = ("cmp-alpha1-flat", "cmp-alpha2-flat", "lrp-epsilon", "cmp-alpha1")
EIGHT = tuple("lrp-z lrp-epsilon lrp-alpha1 lrp-alpha2 cmp-alpha1 cmp-alpha2 cmp-alpha1-flat cmp-alpha2-flat".split())
TEN, ALL = "ten-targets", "eight-configurations"
"""What stands in the place of a method where much is asked at once: ten targets of one method, eight methods."""

SHOWN = ("vgg16", "resnet50", "squeezenet1_0")
BATCHES = (1, 4, 16)
GFLOPS = {"vgg16": 31.0, "resnet50": 8.2, "resnet18": 3.6, "squeezenet1_0": 1.64, "tiny": 0.001}
"""Of a forward pass over one picture: only to plan with."""


@dataclass(frozen=True)
class Case:
    """A network, a number of pictures, and a method or one of `TEN` and `ALL`."""

    network: str
    batch: int
    method: str

    @property
    def key(self) -> str:
        """Its name in filters, results and tables."""
        return f"{self.network}:{self.batch}:{self.method}"

    def matches(self, pattern: str) -> bool:
        """Whether a filter means it: "vgg16:4:cmp-*", from the left, what is left out being anything."""
        parts = pattern.split(":")
        return len(parts) <= 3 and all(map(fnmatchcase, self.key.split(":"), parts))


AT_ONCE = (Case("vgg16", 1, TEN), Case("vgg16", 4, ALL), Case("tiny", 1, TEN), Case("tiny", 2, ALL))
"""The cases in which much is asked at once."""


def cases(only: Sequence[str] = (), networks: Sequence[str] = SHOWN, quick: bool = False) -> list[Case]:
    """Return the cases of a run, in order.

    Args:
        only: filters, of which one must match; a network or a batch that a filter names is there even if a run
            without a filter leaves it out.
        networks: those of a run without a filter.
        quick: without a filter, one picture and two methods.
    """
    named = [pattern.split(":") for pattern in only]
    every = dict.fromkeys([*networks, *(parts[0] for parts in named if parts[0] in NETWORKS)])
    batches = sorted({*BATCHES, *(int(parts[1]) for parts in named if len(parts) > 1 and parts[1].isdecimal())} - {0})
    methods = METHODS[:2] if quick and not only else METHODS
    found = [Case(n, b, m) for n in every for b in ((1,) if quick and not only else batches) for m in methods]
    found += [case for case in AT_ONCE if case.network in every and (only or not quick)]
    return [case for case in found if not only or any(case.matches(pattern) for pattern in only)]


def passes(case: Case) -> float:
    """Return about how many forward passes one round of a case costs, over all contenders."""
    if case.method == TEN:
        return 2 + 8 + 30 + 70
    if case.method == ALL:
        return 2 + 15 + 30 + 65
    floor = {"lrp-epsilon": 2, "cmp-alpha1": 3, "cmp-alpha1-flat": 3}.get(case.method, 5)
    four, captum = (4, 0) if floor == 5 else (0, 4)
    zennit = 2 + 2 * (floor - 1) * 1.2
    return 1 + 2 + floor + four + 1.4 * floor + zennit + captum


@dataclass(frozen=True)
class Plan:
    """What a case may take.

    Attributes:
        round: the seconds that a round is thought to take.
        seconds: those of all rounds together.
        least: the rounds that are made in any case.
    """

    round: float
    seconds: float
    least: int

    @property
    def dear(self) -> bool:
        """Whether a warm-up of every contender on the whole batch would take too long."""
        return self.round > 15

    @property
    def whole(self) -> float:
        """The seconds that the case is thought to take, warm-up and memory included."""
        return self.seconds + (0.5 if self.dear else 1.5) * self.round + 1


def plans(every: Iterable[Case], minutes: float, flops_per_second: float) -> dict[Case, Plan]:
    """Return how long each case may take, so that all of them take about as long as asked.

    What is left when each case has its least rounds is handed out by the square root of what a round costs: small
    cases get more rounds, large ones still some.

    Args:
        every: the cases.
        minutes: for all of them.
        flops_per_second: what the machine does in a matrix product; a network is thought to get half of it.
    """
    rounds = {case: 1e9 * GFLOPS[case.network] * case.batch * passes(case) / (0.5 * flops_per_second) for case in every}
    least = {case: 3 if seconds < 15 else 1 for case, seconds in rounds.items()}
    first = {case: Plan(seconds, least[case] * seconds, least[case]) for case, seconds in rounds.items()}
    left = max(60 * minutes - sum(plan.whole for plan in first.values()), 0)
    parts = sum(seconds**0.5 for seconds in rounds.values())
    return {
        case: Plan(plan.round, plan.seconds + left * plan.round**0.5 / parts, plan.least)
        for case, plan in first.items()
    }
