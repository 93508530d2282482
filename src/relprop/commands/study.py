"""``relprop study``: measure on a data set; ``relprop report``: tables, figures and a page from what was measured."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from relprop.commands.answer import demand_answer
from relprop.commands.console import continued, progress_bar, waiting
from relprop.commands.crew import crew_asked
from relprop.commands.data import class_map, dataset
from relprop.commands.preparation import in_words
from relprop.commands.requests import CompactRequest, ReportRequest, StudyRequest
from relprop.commands.tune_request import TuneRequest
from relprop.data.geometry import Geometry, like, shortest_side, warp
from relprop.data.preprocess import Preprocess
from relprop.models.families.needs import HUGGING_FACE
from relprop.models.registry import load
from relprop.study import by_ray
from relprop.study import compact as putting_together
from relprop.study import report as reports
from relprop.study.ray_session import Crew
from relprop.study.runner import Clock, run
from relprop.study.store import Store
from relprop.study.task import Task, class_targets
from relprop.support.devices import device_named
from relprop.support.errors import InputError

GEOMETRIES = ("paper", "model")


def measure(request: StudyRequest, title: str = "measuring") -> tuple[Task, Clock]:
    """Measure, or continue.

    Raises:
        RelpropError: with one line that says what to mend.
    """
    shard = request.shard or (1, 1)
    crew = crew_asked(request)
    if crew is not None:
        return _spread(request, crew, shard, title)
    if request.threads:
        torch.set_num_threads(request.threads)
    device_named(request.device)  # before what takes long
    with waiting("loading"):
        task = task_of(request)
    with continued(title, task.pictures(task.parts(shard))) as told:
        clock = run(
            task,
            request.out,
            batch=request.batch,
            shard=shard,
            device=request.device,
            workers=request.workers,
            progress=told,
        )
    return task, clock


def _spread(request: StudyRequest, crew: Crew, shard: tuple[int, int], title: str) -> tuple[Task, Clock]:
    """Measure by processes of Ray; the task that comes back has no network."""
    opener = partial(task_of, replace(request, config=None))
    with waiting("loading"):
        spread = by_ray.prepared(opener, request.out, shard)
    measuring = by_ray.Measuring(opener, request.out.absolute(), request.batch, request.device)
    with continued(title, spread.task.pictures(spread.begun.parts)) as told:
        spread.run(measuring, crew, told)
    return spread.task, spread.clock


def settled(request: StudyRequest) -> StudyRequest:
    """Let the surroundings say which share and which GPU is this process's, where the request does not.

    torchrun sets RANK, WORLD_SIZE and LOCAL_RANK; in a job of Slurm they are exported by hand. Ray hands out parts
    itself, and none of it matters there.

    Raises:
        InputError: they are no numbers of a share.
    """
    if request.shard is not None:
        return request
    rank, size = (None if request.ray else os.environ.get(name) for name in ("RANK", "WORLD_SIZE"))
    if rank is None or size is None:
        return replace(request, shard=(1, 1))
    if not (rank.isdecimal() and size.isdecimal() and int(rank) < int(size)):
        raise InputError(
            f"RANK is {rank!r} and WORLD_SIZE {size!r}, which name no share; unset them, or give --shard I/N"
        )
    device, local = request.device, os.environ.get("LOCAL_RANK", "")
    device = f"cuda:{local}" if device == "cuda" and local.isdecimal() else device
    return replace(request, shard=(int(rank) + 1, int(size)), device=device)


def task_of(request: StudyRequest) -> Task:
    """What is asked for, as data."""
    data = dataset(request)
    model = load(request.model, request.weights)
    preprocess = model.preprocess
    outputs = model.classes
    demand_answer(model, request.model, torch.zeros(1, 3, preprocess.crop, preprocess.crop), outputs)
    name = without_place(request.model)
    return Task(
        name=f"{name} on {data.name}",
        data=data,
        model=model,
        model_name=name,
        geometry=geometry_of(request, preprocess),
        targets=class_targets(data.classes, outputs, class_map(request.class_map)),
        methods=request.methods,
        limit=request.limit if request.data != "embedded" else None,
        occlusion=request.occlusion,
        measures=request.measures,
        seed=request.seed,
        chunk=request.chunk,
    )


def without_place(model: str) -> str:
    """Return a network's name without the folders that its file or folder lies in: elsewhere it is the same network."""
    form = HUGGING_FACE if model.startswith(HUGGING_FACE) else ""
    path = Path(model.removeprefix(form))
    placed = path.exists() and (form or path.suffix.lower() == ".onnx")
    return form + path.absolute().name if placed else model


def geometry_of(request: StudyRequest | TuneRequest, preprocess: Preprocess) -> Geometry:
    """How pictures and boxes are brought to the network's input."""
    if request.geometry not in GEOMETRIES:
        raise InputError(f"no geometry {request.geometry!r}; there are: {', '.join(GEOMETRIES)}")
    if request.geometry == "model" or request.data == "embedded":
        return like(preprocess)
    return shortest_side(preprocess.crop) if request.data == "imagenet" else warp(preprocess.crop)


def study(request: StudyRequest) -> None:
    """Measure, and say what was measured."""
    request = settled(request)
    shard = request.shard or (1, 1)
    task, clock = measure(request)
    store, parts = Store(request.out), task.parts(shard)
    measured, there = store.measured(parts), task.pictures(store.done())
    summary: dict[str, Any] = {
        "study": str(request.out),
        "prepared": _prepared(task),
        "shard": "{}/{}".format(*shard),
        "pictures": task.number,
        "pictures_of_shard": task.pictures(parts),
        "measured": measured,
        "there": there,
        "methods": list(task.methods),
        "seconds": {what: round(seconds, 2) for what, seconds in clock.spent.items()},
        "overhead": round(clock.overhead, 3),
    }
    if request.json:
        print(json.dumps(summary, indent=2))  # noqa: T201 - the result
        return
    own = task.pictures(parts)
    pictures = f"{own}" if measured == own else f"{measured} of {own}"
    said, todo = f"{pictures} pictures in {request.out}", f"relprop report {request.out}"
    if shard[1] > 1:
        done = f"{len(store.done())} of {len(task.parts())} parts"
        said = f"shard {summary['shard']}: {said}; the study has {there} of its {task.number} pictures ({done})"
        todo = todo if there == task.number else f"the other shards, then {todo}"
    print(f"{task.name}: {said}; next: {todo}\nprepared: {summary['prepared']}")  # noqa: T201


def _prepared(task: Task) -> str:
    """Say how pictures were brought to the network: rescaled and cut as the geometry has it."""
    to = task.geometry
    return in_words(replace(task.preprocess, resize=to.resize, crop=to.crop, interpolation=to.interpolation))


def compact(request: CompactRequest) -> None:
    """Put a study's parts together, and say what became of them."""
    store = Store(request.folder)
    with progress_bar() as bar:
        parts = bar.add_task("compacting", total=putting_together.waiting(store))
        done = putting_together.compact(store, progress=lambda number: bar.advance(parts, number))
    if request.json:
        print(json.dumps({"study": str(request.folder), **asdict(done)}, indent=2))  # noqa: T201 - the result
        return
    rest = f"; {done.apart} have a folder each, until all parts beside them are there" if done.apart else ""
    what = f"{done.parts} parts put into {done.folders} folders" if done.parts else "nothing to put together"
    print(f"{request.folder}: {what}; {done.together} parts share folders now{rest}")  # noqa: T201


def report(request: ReportRequest) -> None:
    """Write everything there is to read about studies, and say where.

    Raises:
        InputError: Table I cannot be split by what was named.
    """
    if request.by not in (None, "sign"):
        raise InputError(
            f"tables are split by sign, the logit's, not by {request.by!r}; give --by sign or leave it out"
        )
    with waiting("writing the report"):
        written = reports.report(list(request.folders), request.out, request.by)
    print(f"wrote {written.page} and {len(written.files) - 1} tables and figures beside it")  # noqa: T201
    for name, extent in written.unfinished.items():
        print(f"{name} is unfinished: {extent}; its study's command, run again, measures the rest")  # noqa: T201
