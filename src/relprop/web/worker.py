"""One thread computes, one question after the other; a bounded number waits, and nobody waits for ever.

The thread is a daemon: Ctrl-C does not wait for what it is at. What nobody waits for any more is not begun.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from relprop.web.bodies import AGAIN, GoneError
from relprop.web.refused import Refused

T = TypeVar("T")


@dataclass(eq=False)
class _Job(Generic[T]):
    """Something to be done.

    Attributes:
        work: does it.
        tell: is told what came of it, within the thread.
        begun: it is worked on, or done.
        dropped: nobody waits for it.
    """

    work: Callable[[], T]
    tell: Callable[[T | None, BaseException | None], None]
    begun: bool = False
    dropped: bool = False


def _nothing() -> Any:
    """What is done for nobody."""


class Worker:
    """The thread and what waits for it.

    Args:
        waiting: so many questions wait at most.
        seconds: until one that is not answered is given up.
    """

    def __init__(self, waiting: int, seconds: float) -> None:
        self.waiting = waiting
        self.seconds = seconds
        self.busy = False
        self._jobs: deque[_Job[Any]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    async def run(self, work: Callable[[], T], gone: Callable[[], Coroutine[Any, Any, None]]) -> T:
        """Return what `work` gives, when it is its turn.

        Args:
            work: a function that is called in the thread; what it raises is raised here.
            gone: comes back when whoever asked does not wait any more.

        Raises:
            Refused: too many wait, or it took too long.
            GoneError: nobody waits.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[tuple[T | None, BaseException | None]] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if not done.done():
                done.set_result((result, error))

        def tell(result: T | None, error: BaseException | None) -> None:
            with suppress(RuntimeError):  # the server has ended meanwhile
                loop.call_soon_threadsafe(settle, result, error)

        job = _Job(work, tell)
        self._put(job)
        leaving: asyncio.Future[None] = asyncio.ensure_future(gone())
        try:
            await asyncio.wait((done, leaving), timeout=self.seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            job.dropped = True
            job.work = _nothing  # which lets go of what it would have needed
            leaving.cancel()
        if done.done():
            result, error = done.result()
            if error is not None:
                raise error
            return cast("T", result)
        if leaving.done():
            raise GoneError
        if job.begun:
            raise Refused(
                504, f"not done within {self.seconds:g} s; fewer classes and methods may do, or --timeout and --device"
            )
        raise Refused(503, f"its turn did not come within {self.seconds:g} s; ask again in a moment", AGAIN)

    def _put(self, job: _Job[Any]) -> None:
        with self._changed:
            if len(self._jobs) >= self.waiting:
                self._jobs = deque(each for each in self._jobs if not each.dropped)
            if len(self._jobs) >= self.waiting:
                raise Refused(429, f"{self.waiting} questions wait already; ask again in a moment", AGAIN)
            self._jobs.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="relprop-serve", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._jobs:
                    self._changed.wait()
                job = self._jobs.popleft()
                if job.dropped:
                    continue
                job.begun = self.busy = True
            result, error = None, None
            try:
                result = job.work()
            except BaseException as raised:  # noqa: BLE001 - whatever it is, it belongs to who asked
                error = raised
            self.busy = False
            job.tell(result, error)
            del job, result, error  # nothing of it is held while the next is awaited
