"""Numbered parts of a work, handed to processes by Ray Data: on this machine, or on those of a cluster.

What a part gives depends on its number alone, so it may be done again, by another process, at no harm. That is what
makes it safe to let processes die: Ray starts another and hands it the part (`max_restarts`, `max_task_retries`, both
without end in Ray Data), and what Ray gives up, or loses, is handed out again in a new round here. Nothing relies on
the order in which parts come back, on how many rows a batch has, or on every row coming back.

A part over which processes die again and again would go round for ever. So each is counted when it is begun, by an
actor that outlives them, and one time too many is an error.
"""

from __future__ import annotations

import os
import pickle
import socket
import sys
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from relprop.study.ray_session import Crew, session
from relprop.support.errors import RelpropError

Work = Callable[[int], Any]
"""From a part's number to what is told of it: anything that pickles, and small."""
Opener = Callable[[], Work]
"""Called once in each process; it travels, so it is plain data: a function of a module and what it is called with."""

ROUNDS = 3
"""So many rounds in which nothing came back, and it is an error."""
BLOCKS = 5000
"""Parts are handed out one by one up to so many, and several at a time beyond: each hand-out costs the driver time."""


class SpreadError(RelpropError):
    """Processes died over a part, or none could be kept alive; the message says which, and what to do."""


def spread(opener: Opener, parts: Sequence[int], crew: Crew) -> Generator[tuple[int, Any], None, None]:
    """Let processes do parts, and yield each part once, when it is done, with what was told of it; in no fixed order.

    Args:
        opener: makes what does a part; called once in each process, there.
        parts: their numbers, none twice.
        crew: who works.

    Close it (`contextlib.closing`) where it is not gone through to its end: the processes end with it.

    Raises:
        SpreadError: processes died over the same part, or before any part was done, again and again.
        InputError: Ray is not installed, there is no such cluster, or no room in it.
        Exception: what `opener` or its work raised. A `RelpropError` ends it at once; after any other the part is
            tried again in a new process, as what failed may be that process, or a disk that was away for a moment.
    """
    if not parts:
        return
    waiting, fruitless, reason = set(parts), 0, ""
    with session(crew) as ray:
        tries = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Tries).remote()
        worker = Worker(pickle.dumps(opener), crew, tries, Path.cwd(), tuple(sys.path))
        while waiting:
            before = len(waiting)
            try:
                for part, told in _round(ray, worker, sorted(waiting), crew):
                    if part in waiting:  # Ray may hand one out twice
                        waiting.discard(part)
                        yield part, told.unpacked()
            except ray.exceptions.RayError as error:
                reason = f": {str(error).splitlines()[0].rstrip('.')}" if str(error) else ""
            fruitless = 0 if len(waiting) < before else fruitless + 1
            if fruitless == ROUNDS:
                raise SpreadError(
                    f"Ray's processes ended {ROUNDS} times before any of them did one of {len(waiting)} parts{reason}; "
                    "is there memory for them? Try fewer with --actors, or measure without --ray"
                )


def _round(ray: Any, worker: Worker, parts: Sequence[int], crew: Crew) -> Iterator[tuple[int, Told]]:
    """One pass of Ray Data over parts; it raises what Ray does, and not all of them need come back."""
    actors = min(crew.room(ray.cluster_resources()), len(parts))
    todo = ray.data.from_items([{"part": part} for part in parts], override_num_blocks=min(len(parts), BLOCKS))
    done = todo.map_batches(
        Actor,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2),
        fn_constructor_args=[worker],
        num_cpus=crew.cores,
        num_gpus=1 if crew.gpu else None,
    )
    for row in done.iter_rows():
        yield int(row["part"]), pickle.loads(row["told"])  # noqa: S301 - of a process of ours


@dataclass(frozen=True)
class Told:
    """What a process tells of a part: a result, or an error."""

    result: Any = None
    error: Exception | None = None

    def unpacked(self) -> Any:
        """Return the result, or raise the error here as it was raised there."""
        if self.error is not None:
            raise self.error
        return self.result


class Tries:
    """How often each part was begun and what became of it: in a process of its own, which outlives others."""

    def __init__(self) -> None:
        self.begun: dict[int, int] = {}
        self.failures: dict[int, bytes] = {}

    def begin(self, part: int) -> tuple[int, bytes | None]:
        """Count, and return which try it is, from 1, and how the last one failed, if not by the process's death."""
        self.begun[part] = self.begun.get(part, 0) + 1
        return self.begun[part], self.failures.get(part)

    def failed(self, part: int, error: bytes) -> None:
        """Keep an error, for the case that every try ends in one."""
        self.failures[part] = error


@dataclass
class Worker:
    """What travels to a process, and does parts there."""

    opener: bytes  # pickled: what it names may be found only where `places` are looked through
    crew: Crew
    tries: Any
    place: Path
    places: tuple[str, ...]

    @cached_property
    def work(self) -> Work:
        """Opened for the first part, so that an error is that part's."""
        if self.place.is_dir():  # what is named by a relative path, and modules of the user's
            os.chdir(self.place)
        sys.path += [place for place in self.places if place not in sys.path]  # Ray brings the first of them alone
        opener: Opener = pickle.loads(self.opener)  # noqa: S301 - of the driver
        work = opener()
        if "torch" in sys.modules:  # or as many as there are cores, in every process
            sys.modules["torch"].set_num_threads(self.crew.threads)
        if "pyarrow" in sys.modules:
            sys.modules["pyarrow"].set_cpu_count(self.crew.threads)
        return work

    def __call__(self, part: int) -> Told:
        """Do a part. After an error that is not understood the process ends, and Ray hands the part to a new one."""
        import ray  # noqa: PLC0415

        number, failure = ray.get(self.tries.begin.remote(part))
        if number > self.crew.tries:
            where = f"{self.crew.tries} processes died over it, the last on {socket.gethostname()}"
            died = SpreadError(
                f"part {part}: {where}; if the system killed them for memory, give fewer --actors or a smaller --batch"
            )
            return Told(error=pickle.loads(failure) if failure else died)  # noqa: S301 - of a process of ours
        try:
            return Told(self.work(part))
        except RelpropError as error:
            return Told(error=_travelling(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, it may be this process
            ray.get(self.tries.failed.remote(part, pickle.dumps(_travelling(error))))
            os._exit(1)


class Actor:
    """A process's side of Ray Data, which makes one of each."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, list[Any]]]:
        """Do the parts of a batch, be they one or several."""
        for part in batch["part"].tolist():
            yield {"part": [part], "told": [pickle.dumps(self.worker(part))]}


def _travelling(error: Exception) -> Exception:
    """The error in a form that can be raised elsewhere, with where it was raised."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - what was pickled here
    except Exception:  # noqa: BLE001 - an error of somebody's own
        return RuntimeError("\n".join([f"{type(error).__name__}: {error}", *error.__notes__]))
    return error
