"""``relprop tune``: which composite explains a network best on a data set, as a table, as code and as a file."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from relprop.commands.console import stages, waiting
from relprop.commands.crew import crew_asked
from relprop.commands.opened import opened
from relprop.commands.study import geometry_of
from relprop.commands.tune_request import TuneRequest
from relprop.composites.written import SUFFIX
from relprop.plots.heatmaps import FORMATS, render
from relprop.plots.tuning import tuning
from relprop.study.ray_session import Crew, session
from relprop.support.files import WriteError, demand_other, write_whole
from relprop.tools.tune import PRESETS, tune
from relprop.tools.tune_by_ray import hands
from relprop.tools.tune_data import Framed
from relprop.tools.tune_result import Tuned


def run(request: TuneRequest) -> None:
    """Search, write the files, and print the table.

    Raises:
        RelpropError: with one line that says what to mend.
    """
    _demand_files(request)
    crew = crew_asked(request)
    if request.threads:
        torch.set_num_threads(request.threads)
    with waiting("loading"):
        here = replace(request, device="cpu") if crew else request  # to plan with
        model, samples = _opened(here)
    with session(crew) if crew else nullcontext():
        found = _found(request, model, samples, crew)
    files = [str(request.out)]
    try:
        found.save(request.out)
        if request.figure is not None:
            figure = _figure(found)
            write_whole(request.figure, render(figure, request.figure.suffix[1:].lower()))
            files.append(str(request.figure))
    finally:
        text = f"{found}\n\n" + "\n".join(f"wrote {file}" for file in files)
        print(json.dumps(found.as_dict() | {"files": files}, indent=2) if request.json else text)  # noqa: T201


def _demand_files(request: TuneRequest) -> None:
    """Refuse, before any work, files that cannot be what they are to be."""
    if request.out.suffix.lower() != SUFFIX:
        raise WriteError(f"{request.out}: the composite is written as TOML; end its name with {SUFFIX}")
    sources = [request.weights, request.class_map, request.annotations, request.space]
    demand_other(request.out, [Path(source) for source in sources if source])
    if request.figure is not None and request.figure.suffix[1:].lower() not in FORMATS:
        raise WriteError(f"{request.figure}: no kind of figure that can be written; end it with .{', .'.join(FORMATS)}")


def _opened(request: TuneRequest) -> tuple[torch.nn.Module, Framed]:
    """The network and the pictures."""
    both = opened(request)
    geometry = geometry_of(request, both.preprocess)
    return both.model, Framed(both.data, both.preprocess, both.outputs, geometry, both.limit)


def _found(request: TuneRequest, model: torch.nn.Module, samples: Framed, crew: Crew | None) -> Tuned:
    """Search, with signs of life."""
    by = request.by or ("mu_w",)
    with stages() as told:
        return tune(
            model,
            samples,
            request.space,
            by,
            against=request.against or PRESETS,
            split=request.share,
            finalists=request.finalists,
            most=request.most,
            trials=request.trials,
            profile=request.profile,
            seed=request.seed,
            folder=request.folder,
            progress=told,
            hands=hands(partial(_opened, request), by, request.profile, crew) if crew else None,
        )


def _figure(found: Tuned) -> Any:
    """How the search went by the first measure, and the other finalists and named methods beside the chosen one."""
    measure = found.by[0]
    labels = [f"{candidates} on {pictures}" for candidates, pictures in found.rounds]
    told = {each.name: each.differences[measure] for each in (*found.finalists[1:], *found.presets)}
    gaps = {name: (gap.mean, gap.low, gap.high) for name, gap in told.items()}
    return tuning(found.history, found.finalists[0].name, labels, measure, gaps)
