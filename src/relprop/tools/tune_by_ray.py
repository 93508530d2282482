"""Candidates judged by processes of Ray: each has the network and the pictures once, and answers calls.

A search goes in rounds, and the next round's candidates depend on all that this one found: so the rounds stay here,
with the network that plans candidates, and the calls of a round are the parts that are handed out. The calls are those
that one process would make, and what is measured is the same to the last bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from torch import nn

from relprop.study.ray_session import Crew
from relprop.study.spread import spread
from relprop.tools.tune_data import Framed, Samples
from relprop.tools.tune_measures import measures_named
from relprop.tools.tune_store import Measured, Rows
from relprop.tools.tune_walk import Call, Hands, Judge

Opened = Callable[[], tuple[nn.Module, Samples | Framed]]
"""Opens the network and the pictures: a function of a module and what it is called with, as it travels."""


@dataclass(frozen=True)
class Answer:
    """What a process found.

    Attributes:
        values: of a candidate, by its key, on a picture.
        skipped: why pictures cannot be read.
        maps: how many were made.
        seconds: of a processor.
    """

    values: list[tuple[str, int, Rows]]
    skipped: dict[int, str]
    maps: int
    seconds: float


@dataclass(frozen=True)
class Judging:
    """What a process is to do: open the network and the pictures, once, and answer the calls that it is handed.

    Attributes:
        opener: opens them.
        by: names of measures.
        profile: numeric conventions.
        calls: all of the round.
    """

    opener: Opened
    by: tuple[str, ...]
    profile: str
    calls: tuple[Call, ...]

    def __call__(self) -> Callable[[int], Answer]:
        """Open both, and return what answers a call."""
        judge = Judge(*self.opener(), measures_named(self.by), self.profile, Measured(None, {}))

        def answered(number: int) -> Answer:
            began, call = time.process_time(), self.calls[number]
            judge.values, judge.skipped, judge.maps = Measured(None, {}), {}, 0
            judge.answer(call)
            found = [(m.key, k, judge.values.of(m.key, k)) for m in call.methods for k in call.missing]
            return Answer(found, judge.skipped, judge.maps, time.process_time() - began)

        return answered


def hands(opener: Opened, by: Sequence[str], profile: str, crew: Crew) -> Hands:
    """Return what lets processes of Ray answer the calls of `relprop.tune`.

    Args:
        opener: what each of them opens.
        by: as `relprop.tune` has it, names.
        profile: likewise.
        crew: who they are. A round starts them anew; in a `relprop.study.ray_session.session` Ray itself stays.
    """

    def answered(judge: Judge, calls: list[Call]) -> Iterator[Call]:
        yield from (call for call in calls if not call.missing)
        todo = tuple(call for call in calls if call.missing)
        with closing(spread(Judging(opener, tuple(by), profile, todo), range(len(todo)), crew)) as found:
            for number, answer in found:
                for key, picture, rows in answer.values:
                    judge.values.add(key, picture, rows)
                judge.skipped |= answer.skipped
                judge.maps += answer.maps
                judge.elsewhere += answer.seconds
                yield todo[number]

    return answered
