"""``relprop concepts``: which channels of a layer matter most for a class, and what each of them stands for."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from relprop.commands.console import stages, waiting
from relprop.commands.crew import crew_asked
from relprop.commands.opened import opened
from relprop.commands.requests import ConceptsRequest
from relprop.data.labelled import Labelled
from relprop.plots.concepts import Cell, Row, concept_grid
from relprop.plots.heatmaps import FORMATS, render
from relprop.plots.named import in_words
from relprop.study.ray_session import Crew, session
from relprop.support.class_names import class_index
from relprop.support.errors import InputError
from relprop.support.files import WriteError, demand_other, write_whole
from relprop.support.tables import counted
from relprop.tools.concept_maps import Asked
from relprop.tools.concept_results import Concept, Concepts, Shown
from relprop.tools.concepts import concepts
from relprop.tools.concepts_by_ray import ByRay


@dataclass(frozen=True)
class _Asked:
    """What was asked for, opened: a network, its pictures, and the class by name and by outputs."""

    model: nn.Module
    data: Labelled
    name: str
    outputs: tuple[int, ...]


def run(request: ConceptsRequest) -> None:
    """Find the concepts, draw them, and print the table.

    Raises:
        RelpropError: with one line that says what to mend.
    """
    place = _figure_path(request)
    sources = [request.weights, request.class_map, request.annotations]
    demand_other(place, [Path(source) for source in sources if source])
    if request.threads:
        torch.set_num_threads(request.threads)
    crew = crew_asked(request)
    here = replace(request, device="cpu") if crew else request  # Ray's processes compute
    with waiting("loading"):
        asked = _asked(here)
    with session(crew) if crew else nullcontext():
        found = _found(request, asked, crew)
    with waiting("drawing"):
        content = render(_figure(request, asked, found), place.suffix[1:].lower() or "png")
    report = _report(request, asked, found)
    if found.skipped:
        line = f"skipped {counted(len(found.skipped), 'picture')} that cannot be read; the first: {found.skipped[0]}"
        print(line, file=sys.stderr)  # noqa: T201 - for people
    try:
        write_whole(place, content)
        report["files"].append(str(place))
    finally:
        text = f"class {asked.name}: {found}\n" + "".join(f"\nwrote {file}" for file in report["files"])
        print(json.dumps(report, indent=2) if request.json else text)  # noqa: T201 - the result


def _asked(request: ConceptsRequest) -> _Asked:
    """Open the data and the network, and find the class."""
    both = opened(request)
    name = both.data.classes[class_index(request.target, both.data.classes, "this data")]
    if not both.outputs[name]:
        raise InputError(f"the class map names no output that means {name!r}; add it")
    data = Labelled(both.data, both.preprocess, both.outputs, both.limit)
    return _Asked(both.model, data, name, both.outputs[name])


def _found(request: ConceptsRequest, asked: _Asked, crew: Crew | None) -> Concepts:
    """Look for them, with signs of life."""
    with stages() as told:
        return concepts(
            asked.model,
            asked.data,
            request.layer,
            asked.outputs,
            request.method,
            top=request.top,
            shown=request.shown,
            by=request.by,
            profile=request.profile,
            batch=request.batch,
            seed=request.seed,
            progress=told,
            hands=ByRay(partial(_opened, request), crew) if crew else None,
        )


def _opened(request: ConceptsRequest) -> tuple[Asked, Labelled]:
    """What a process of Ray needs."""
    asked = _asked(request)
    question = Asked(asked.model, request.layer, asked.outputs, request.method, request.profile, request.by)
    return question, asked.data


def _figure_path(request: ConceptsRequest) -> Path:
    """Where the figure goes: `out` if that names a file, or else into the folder that it names."""
    words = f"{request.model}-{request.layer}-{request.target}"
    name = re.sub(r"[^\w.-]", "_", words) + ".concepts.png"
    out = request.out or Path()
    if out.is_dir() or not (out.suffix or out.exists()):
        return out / name
    if out.suffix and out.suffix[1:].lower() not in FORMATS:
        raise WriteError(f"{out}: not a kind of figure that can be written; end it with .{', .'.join(FORMATS)}")
    return out


READING = (
    "above each picture the channel's relevance, below it the map through it,\n"
    "each with colours of its own: red speaks for the class, blue against it"
)


def _figure(request: ConceptsRequest, asked: _Asked, found: Concepts) -> Any:
    """A row per channel."""

    @cache
    def seen(picture: int) -> NDArray[np.uint8]:
        return np.asarray(asked.data.preprocess.picture(asked.data.entry(picture).open()))

    def cell(view: Shown) -> Cell:
        title = f"{asked.data.entry(view.picture).id[-24:]}: {view.relevance:.3g}"
        return Cell(seen(view.picture), view.map.double().sum(0).numpy(), view.region, title)

    rows = [Row(_label(concept, found), [cell(view) for view in concept.shown]) for concept in found.channels]
    pictures = counted(found.number, "picture")
    about = f"{request.model}, {found.layer}, class {asked.name}, {pictures}, {in_words(request.method)}"
    return concept_grid(f"{about}\n{READING}", rows)


def _label(concept: Concept, found: Concepts) -> str:
    """What stands before a row."""
    share = f"\n{concept.mean / found.total:.1%} of the layer's" if found.total > 0 else ""
    return f"channel {concept.channel}\nmean {concept.mean:.3g}\n[{concept.low:.3g}, {concept.high:.3g}]{share}"


def _report(request: ConceptsRequest, asked: _Asked, found: Concepts) -> dict[str, Any]:
    """Everything but the maps, ready to become JSON."""
    return {
        "model": request.model,
        "data": asked.data.data.name,
        "layer": found.layer,
        "class": asked.name,
        "outputs": list(found.outputs),
        "method": request.method,
        "by": found.by,
        "pictures": found.number,
        "skipped": len(found.skipped),
        "total": found.total,
        "channels": [_channel(concept, asked) for concept in found.channels],
        "files": [],
    }


def _channel(concept: Concept, asked: _Asked) -> Mapping[str, Any]:
    """A channel; what is not a number is null."""
    ends = {end: value if value == value else None for end, value in (("low", concept.low), ("high", concept.high))}  # noqa: PLR0124
    shown = [
        {
            "picture": view.picture,
            "id": asked.data.entry(view.picture).id,
            "relevance": view.relevance,
            "logit": view.value,
            "region": [list(ends) for ends in view.region] if view.region else None,
        }
        for view in concept.shown
    ]
    return {"channel": concept.channel, "mean": concept.mean, **ends, "magnitude": concept.magnitude, "shown": shown}
