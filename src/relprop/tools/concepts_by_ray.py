"""Concepts found by processes of Ray: each has the network and the data, and explains the pictures that it is told.

Which pictures are of the class their labels tell, so that is found out here; then they are handed out some batches at a
time, and what comes back is added up in the order of the pictures: the sums of one process, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from relprop.study.ray_session import Crew
from relprop.study.spread import spread
from relprop.support.in_order import in_order
from relprop.tools.concept_maps import Asked, Met, View
from relprop.tools.concept_members import Members, Progress, Samples
from relprop.tools.concept_results import Shown

BATCHES = 4
"""Of pictures, handed out together."""

Opened = Callable[[], tuple[Asked, Samples]]
"""Opens what is asked, with its network, and the pictures: plain data, as it travels."""


@dataclass(frozen=True)
class Explaining:
    """What a process is to do: open network and data, once, and answer the calls that it is handed.

    Attributes:
        opener: opens them.
        calls: batches of pictures, by their indices, or views.
    """

    opener: Opened
    calls: tuple[tuple[tuple[int, ...], ...] | View, ...]

    def __call__(self) -> Callable[[int], Any]:
        """Open both, and return what answers a call."""
        asked, data = self.opener()

        def answered(number: int) -> Any:
            call = self.calls[number]
            if isinstance(call, View):
                return asked.seen(call, data)
            members = Members(data, asked.outputs)
            read = [members.read(batch) for batch in call]
            return [asked.met(indices, x) for indices, x in read if x is not None], members.skipped

        return answered


@dataclass(frozen=True)
class ByRay:
    """Lets processes of Ray explain; `relprop.tools.concepts.Hands`.

    Attributes:
        opener: what each of them opens.
        crew: who they are. They are started anew for the views; in a `relprop.study.ray_session.session` Ray itself
            stays.
    """

    opener: Opened
    crew: Crew

    def met(self, members: Members, batch: int, progress: Progress) -> Iterator[Met]:
        """What the pictures of a class tell, so many at once, in their order."""
        indices = members.named(progress)
        batches = [tuple(indices[start : start + batch]) for start in range(0, len(indices), batch)]
        calls = tuple(tuple(batches[start : start + BATCHES]) for start in range(0, len(batches), BATCHES))
        done = 0
        with closing(spread(Explaining(self.opener, calls), range(len(calls)), self.crew)) as found:
            for call, (met, skipped) in in_order(found):
                members.skipped += skipped
                yield from met
                done += sum(map(len, calls[call]))
                progress("pictures", done, len(indices))

    def seen(self, views: Sequence[View]) -> Iterator[list[Shown]]:
        """Each view's pictures, in order."""
        with closing(spread(Explaining(self.opener, tuple(views)), range(len(views)), self.crew)) as found:
            for _, shown in in_order(found):
                yield shown
