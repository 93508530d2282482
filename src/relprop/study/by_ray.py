"""A study by processes of Ray: its parts are handed out, each process has the network once, and none of it is here.

What travels is how to make the task, as plain data (a request), and numbers of parts. Rows never travel: whoever
measured a part writes it, into the folder that all share, and tells how long it took.
"""

from __future__ import annotations

import gc
import socket
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from relprop.data.mean_image import mean_image
from relprop.study.files import StudyError
from relprop.study.manifest import write_manifest
from relprop.study.ray_session import Crew, demand_ray
from relprop.study.runner import Begun, Clock, Measurement, Progress, begin
from relprop.study.spread import spread
from relprop.study.store import RUN, Store
from relprop.study.task import Task
from relprop.support.errors import InputError

SECONDS = 60.0
"""So long after it was written a part is waited for: network disks show new files late."""

Seconds = dict[str, float]
"""What a part's time was spent on."""


class Described(nn.Module):
    """What is said of a network whose weights are elsewhere: how it wants its pictures, and what its outputs mean."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.preprocess, self.classes = model.preprocess, model.classes


@dataclass
class Spread:
    """A study that was begun, for processes to measure.

    Attributes:
        task: without the network.
        begun: what is to be measured, and what is there.
        clock: what the time was spent on, here and, once measured, in all processes together.
    """

    task: Task
    begun: Begun
    clock: Clock

    def run(self, measuring: Measuring, crew: Crew, progress: Progress = lambda _: None) -> None:
        """Let processes measure what is not measured yet; a manifest is written when the whole study is.

        Args:
            measuring: what each of them is to do.
            crew: who they are.
            progress: called with finished pictures, those of earlier runs first.

        Raises:
            StudyError: as `relprop.study.runner.run`; or the folder is not one that all machines share.
            SpreadError, InputError: as `relprop.study.spread.spread`.
        """
        parts, store = self.begun.parts, self.begun.store
        progress(sum(len(indices) for part, indices in parts.items() if part in self.begun.done))
        todo = [part for part in parts if part not in self.begun.done]
        if todo and "occlusion" in self.task.measures:  # here, once, and not by every process at the same time
            with self.clock.on("mean image"):
                mean_image(self.task.data, self.task.geometry, store.cache)
        with closing(spread(measuring, todo, crew)) as measured:  # whatever ends it ends the processes, too
            for part, (spent, machine) in measured:
                _demand_seen(store, part, machine)
                for what, seconds in spent.items():
                    self.clock.spent[what] = self.clock.spent.get(what, 0.0) + seconds
                progress(len(parts[part]))
        self.begun.demand_still_so(self.task.data)
        every = self.task.parts()
        if store.done().issuperset(every):
            write_manifest(store, len(every), self.task.number)


def prepared(opener: Callable[[], Task], folder: Path, shard: tuple[int, int] = (1, 1)) -> Spread:
    """Begin a study or continue it; the network is loaded, looked at, and let go of.

    Args:
        opener: makes the task.
        folder: of the study.
        shard: as for `relprop.study.runner.run`.

    Raises:
        StudyError, RelpropError: as `relprop.study.runner.run`.
    """
    task = opener()
    clock = Clock.of(task)
    begun = begin(task, folder, shard, clock)
    task = replace(task, model=Described(task.model))
    gc.collect()
    return Spread(task, begun, clock)


@dataclass(frozen=True)
class Measuring:
    """What a process is to do: make the task, once, and measure the parts that it is handed.

    Attributes:
        opener: makes the task; a function of a module, called with plain data.
        folder: of the study, absolute; the same on every machine.
        batch: pictures at once.
        device: where to compute; the GPU that Ray gives a process is ``"cuda"`` to it.
    """

    opener: Callable[[], Task]
    folder: Path
    batch: int = 16
    device: str = "cpu"

    def __call__(self) -> Callable[[int], tuple[Seconds, str]]:
        """Open the study, and return what measures a part.

        Raises:
            StudyError: it is not there, or is another one than here: other data, weights or versions.
        """
        store = Store(self.folder)
        if not (self.folder / RUN).exists():
            raise _not_shared(self.folder, "begun elsewhere and is not there", socket.gethostname())
        task = self.opener()
        clock = Clock.of(task)
        store.begin(task.config())
        measurement = Measurement(task, task.model.to(self.device), self.device, store.cache, clock)
        parts = task.parts()

        def measured(part: int) -> tuple[Seconds, str]:
            clock.spent.clear()
            if not store.part(part).is_dir():
                tables = measurement.part(parts[part], self.batch)
                with clock.on("writing"):
                    store.write(part, tables, measurement.later)
            return dict(clock.spent), socket.gethostname()

        return measured


def crew_of(device: str, address: str | None, actors: int | None, threads: int | None) -> Crew:
    """Return who is to work, from what a command is asked for.

    Raises:
        InputError: Ray is not installed, or nobody listens at the address; or one GPU is named, and each process is to
            have one of its own.
    """
    demand_ray(address)
    if ":" in device:
        kind = device.partition(":")[0]
        raise InputError(f"Ray gives each process a {kind} device of its own; give --device {kind} instead of {device}")
    return Crew(address, actors, threads or 1, gpu=device == "cuda")


def _demand_seen(store: Store, part: int, machine: str) -> None:
    """Wait until a part that was written is seen here.

    Raises:
        StudyError: it is not.
    """
    until = time.monotonic() + SECONDS
    while not store.part(part).is_dir():
        if time.monotonic() > until:
            raise _not_shared(store.part(part), "written and is not seen here", machine)
        time.sleep(0.1)


def _not_shared(path: Path, what: str, machine: Any) -> StudyError:
    return StudyError(
        f"{path}: {what}; {machine} has another disk there: name a folder with --out that all machines share"
    )
