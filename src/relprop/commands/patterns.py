"""``relprop patterns``: fit the patterns that PatternNet and Pattern Attribution need."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import cast

import torch
from PIL import Image
from torch import nn

from relprop.catalogue.pattern_fit import Fitter
from relprop.catalogue.patterns import ESTIMATORS, WITH_BIAS, PatternError, Patterns
from relprop.commands.answer import demand_answer
from relprop.commands.console import progress_bar, waiting
from relprop.commands.crew import crew_asked
from relprop.commands.data import PACKED, demand_kind, packed
from relprop.commands.requests import PatternsRequest
from relprop.data import embedded, voc
from relprop.data.addresses import is_address
from relprop.data.described import read_columns
from relprop.data.elsewhere import folder_elsewhere
from relprop.data.entries import DataError, Dataset, demand_folder
from relprop.data.pictures import PictureError, list_pictures, open_picture
from relprop.data.preprocess import Preprocess
from relprop.models.registry import load
from relprop.study.ray_session import Crew
from relprop.support.devices import on_device
from relprop.support.files import WriteError, demand_other
from relprop.tools.patterns_by_ray import Reader, batches, fitted

NUMBER = 10_000
"""Pictures of the embedded data where no limit is given."""

Openers = list[Callable[[], Image.Image]]


def run(request: PatternsRequest) -> None:
    """Fit, write the file, and say what is in it.

    Raises:
        RelpropError: with one line that says what to mend.
    """
    name = re.sub(r"[^\w.-]", "_", request.model)  # a model's name can be a path, or have a colon in it
    out = request.out or Path(f"{name}.patterns.safetensors")
    demand_free(out, request)
    crew = crew_asked(request)
    if request.threads:
        torch.set_num_threads(request.threads)
    fitter, skipped = _here(request) if crew is None else _by_ray(request, out, crew)
    patterns = fitter.patterns()
    patterns.save(out)
    for line in warnings(skipped, fitter):
        print(line, file=sys.stderr)  # noqa: T201 - for people
    kinds = [pattern.estimator for pattern in patterns.layers.values()]
    if request.json:
        summary = {
            "patterns": str(out),
            "samples": patterns.samples,
            "skipped": len(skipped),
            "layers": {name: kinds.count(name) for name in ESTIMATORS if name in kinds},
            "against": fitter.against,
            "model_sha256": patterns.model_sha256,
        }
        print(json.dumps(summary, indent=2))  # noqa: T201 - the result
        return
    picture = "" if request.data == "embedded" else " PICTURE"
    weights = f" --weights {quote(request.weights)}" if request.weights else ""
    method = quote(f"pattern-attribution:patterns={out}")
    again = f"relprop explain{picture} --model {quote(request.model)}{weights} --method {method}"
    print(f"wrote {out}: patterns of {len(kinds)} layers from {patterns.samples} pictures; next: {again}")  # noqa: T201


def _here(request: PatternsRequest) -> tuple[Fitter, list[str]]:
    """Count the pictures in, one batch after the other; return why some cannot be read, too."""
    with waiting("loading"):
        model, reader, number = opened(request, request.device)
        fitter = Fitter(model, request.estimator)
    skipped: list[str] = []
    with progress_bar() as bar:
        task = bar.add_task(f"fitting {request.model}", total=number)
        for numbers in batches(range(number), request.batch):
            x, unread = reader(numbers)
            skipped += unread
            if x is not None:
                fitter.add(x.to(request.device))
            bar.update(task, completed=fitter.samples + len(skipped))
    if not fitter.samples:
        raise PictureError(f"none of {number} pictures can be read; the first: {skipped[0]}")
    return fitter, skipped


def _by_ray(request: PatternsRequest, out: Path, crew: Crew) -> tuple[Fitter, list[str]]:
    """Let processes of Ray do so; their sums pass through a folder beside the result."""
    with progress_bar() as bar, TemporaryDirectory(dir=out.parent.absolute(), prefix=f".{out.name}-") as folder:
        task = bar.add_task(f"fitting {request.model}", total=None)

        def progress(done: int, number: int) -> None:
            bar.update(task, completed=done, total=number)

        opener = partial(opened, request)
        return fitted(opener, request.estimator, request.batch, Path(folder), request.device, crew, progress)


def opened(request: PatternsRequest, device: str) -> tuple[nn.Module, Reader, int]:
    """The network, what reads its pictures by their numbers, and how many there are."""
    openers = spread(pictures(request), request.limit)
    model = load(request.model, request.weights)
    preprocess = cast("Preprocess", model.preprocess)
    demand_answer(model, request.model, torch.zeros(1, 3, preprocess.crop, preprocess.crop))
    return on_device(model, device), partial(read, openers, preprocess), len(openers)


def demand_free(out: Path, request: PatternsRequest) -> None:
    """Refuse a place that patterns cannot be written to, before they are fitted, which may take long.

    Raises:
        WriteError: a folder, the network's weights, or a file of another kind.
    """
    if out.is_dir():
        raise WriteError(f"{out}: a folder; name a file with --out")
    demand_other(out, [Path(request.weights)] if request.weights else [])
    if out.is_file():
        try:
            Patterns.load(out)
        except PatternError:
            remedy = "name another file with --out, or remove it"
            raise WriteError(f"{out}: is there, and holds no patterns; {remedy}") from None


def warnings(skipped: list[str], fitter: Fitter) -> Iterator[str]:
    """What the user should know of the patterns beside that they are there."""
    if skipped:
        yield f"skipped {len(skipped)} pictures that cannot be read; the first: {skipped[0]}"
    if fitter.against:
        yield (
            f"{fitter.against} neurons fire by their bias, against their inputs, and the paper's estimator turns their "
            f"patterns round: compare --estimator {WITH_BIAS}"
        )


def pictures(request: PatternsRequest) -> Openers:
    """What opens each picture of the data that was named; annotations play no part."""
    demand_kind(request.data, request.root)
    root = request.root or ""
    found: Dataset
    if request.data == "embedded":
        number = request.limit or NUMBER
        found = embedded.embedded(request.variant, request.split or "train", number, request.seed)
    elif request.data == "voc":
        found = voc.voc(root, request.year, request.split or "trainval")
    elif request.data in PACKED:
        found = packed(request.data, root, request.split, read_columns(request.columns))
    elif is_address(root):
        found = folder_elsewhere(root)
    else:
        paths = list_pictures(demand_folder(root))
        if not paths:
            raise DataError(f"{root}: no pictures in it; check the folder")
        return [partial(open_picture, path) for path in paths]
    return [partial(_opened, found, index) for index in range(len(found))]


def _opened(data: Dataset, index: int) -> Image.Image:
    return data[index].open()


def spread(openers: Openers, limit: int | None) -> Openers:
    """So many of them, evenly: data sets are sorted by class, so that the first would be of a few."""
    if limit is None or limit >= len(openers):
        return openers
    return [openers[k * len(openers) // limit] for k in range(limit)]


def read(openers: Openers, preprocess: Preprocess, numbers: Sequence[int]) -> tuple[torch.Tensor | None, list[str]]:
    """Pictures as the network takes them, (B, 3, H, W), None where there is none; and why others cannot be read."""
    found: list[torch.Tensor] = []
    skipped: list[str] = []
    for number in numbers:
        try:
            found.append(preprocess(openers[number]()))
        except PictureError as error:
            skipped.append(str(error))
    return torch.stack(found) if found else None, skipped
