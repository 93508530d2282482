"""`run`: all protocols on a network, for every method that can explain it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import nn

from relprop.catalogue.names import resolve
from relprop.catalogue.table import METHODS
from relprop.composites.profiles import profile_named
from relprop.data.clutter import CLASSES, SIDE
from relprop.models.networks.digits import NAMES
from relprop.models.registry import load
from relprop.support.devices import device_of
from relprop.support.errors import InputError
from relprop.support.suggest import did_you_mean
from relprop.tools.testbed import apart, mosaics, planted, redrawn
from relprop.tools.testbed.bench import Bench, Floats, Measure
from relprop.tools.testbed.explaining import REFERENCES, every_method, maps, reasons, references
from relprop.tools.testbed.results import Column, Shown, TestBed

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many pictures are done, and how many there are."""

FEWEST = 4
"""Pictures at least, so that each of the four cells is asked for."""
PICTURES = 24
"""Pictures where nobody says how many."""


def run(
    network: str | nn.Module = "digits-deep",
    methods: Sequence[str] | None = None,
    *,
    pictures: int = PICTURES,
    seed: int = 0,
    batch: int = 16,
    progress: Progress = lambda *_: None,
) -> TestBed:
    """Hold the maps of methods against what is known to be true of a network and of pictures made for that.

    Args:
        network: an embedded network by name, or a module that takes such pictures as `relprop.data.clutter` draws:
            with `.preprocess`, `.features` and `.classifier`, to logits (B, 10), in eval mode. It is not changed.
        methods: by name, as `relprop.methods()` lists them; None: every one.
        pictures: that are redrawn; half as many mosaics and pictures with the planted mark, and a fourth as many, but
            four at least, whose cells are seen apart.
        seed: of the pictures, of the fit of the network with the planted mark, and of the bootstrap.
        batch: pictures at once.
        progress: called as work goes on.

    Returns:
        The table, which `print` shows; `relprop.tools.testbed.write` makes files and a page of it.

    Raises:
        InputError: no such network or method; a method that was named and can explain nothing here; a network that is
            not made so, or that sees too few of the digits; fewer than four pictures.

    Example:
        >>> found = run("digits-shallow", ["lrp-z", "cmp-alpha2-flat"], pictures=4)
        >>> found.value("cmp-alpha2-flat", "DiFull"), found.value("truth", "single deletion")
        (1.0, 1.0)
    """
    if pictures < FEWEST or batch < 1:
        raise InputError(f"{pictures} pictures in batches of {batch}: give {FEWEST} pictures or more, in batches of 1")
    name, model = _opened(network)
    asked = [m for m in (every_method() if methods is None else dict.fromkeys(methods)) if m not in REFERENCES]
    if methods is not None:
        for method in asked:
            resolve(method, model, profile_named("paper"))  # of a name that is wrong, the user hears at once
    benches = _benches(model, asked, pictures, seed, progress)
    left_out = {bench.name: reasons(bench, asked) for bench in benches}
    if methods is not None:
        _demand_some_use(asked, left_out)
    total, done = sum(len(bench.target) for bench in benches), 0
    columns: list[Column] = []
    examples: list[Shown] = []

    def explained(number: int) -> None:
        nonlocal done
        done += number
        progress("explaining", done, total)

    for bench in benches:
        R = maps(bench, [method for method in asked if method not in left_out[bench.name]], batch, explained)
        columns += [_column(bench, measure, R, seed) for measure in bench.measures]
        if bench.example:
            at = bench.example.row
            shown = {method: values[at] for method, values in R.items()}
            examples.append(Shown(bench.example.title, bench.pictures[at], bench.example.regions, shown))
    facts = tuple(fact for bench in benches for fact in bench.facts)
    return TestBed(name, (*asked, *REFERENCES), tuple(columns), facts, left_out, tuple(examples))


def _benches(model: nn.Module, methods: Sequence[str], pictures: int, seed: int, progress: Progress) -> list[Bench]:
    """Draw the pictures of all protocols, and see what the network makes of them."""
    progress("drawing", 0, 4)
    benches: list[Bench] = []
    for protocol, number in (
        (redrawn.bench, pictures),
        (mosaics.bench, pictures // 2),
        (apart.bench, max(pictures // 4, FEWEST)),
        (partial(planted.bench, patterns=_need_patterns(methods)), pictures // 2),
    ):
        benches.append(protocol(model, number, seed))
        progress("drawing", len(benches), 4)
    return benches


def _demand_some_use(methods: Sequence[str], left_out: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse a method that was named and can explain nothing here."""
    for method in methods:
        why = [reasons[method] for reasons in left_out.values() if method in reasons]
        if len(why) == len(left_out):
            raise InputError(why[0])


def _need_patterns(methods: Sequence[str]) -> bool:
    """Whether one of the methods explains with patterns."""
    names = [method.partition(":")[0] for method in methods]
    return any("patterns" in METHODS[name].options for name in names if name in METHODS)


def _column(bench: Bench, measure: Measure, R: dict[str, Floats], seed: int) -> Column:
    """Score all maps by a measure."""
    each = R | dict(references(bench, measure, seed))
    values = np.stack([measure.score(planes) for planes in each.values()], axis=1)
    estimates = measure.summary(values, measure.picture, seed)
    return Column(measure.name, measure.meaning, measure.best, dict(zip(each, estimates, strict=True)))


def _opened(network: str | nn.Module) -> tuple[str, nn.Module]:
    """Return the network and its name.

    Raises:
        InputError: there is no such network, or it takes no pictures of digits.
    """
    if isinstance(network, str):
        if network not in NAMES:
            raise InputError(f"no embedded network {network!r}{did_you_mean(network, NAMES)}")
        return network, load(network)
    crop = getattr(getattr(network, "preprocess", None), "crop", None)
    if crop != SIDE:
        raise InputError(
            f"{type(network).__name__} has {'no .preprocess' if crop is None else f'pictures of {crop} pixels'}; the "
            f"test bed is for networks of the embedded pictures, {SIDE}x{SIDE}: set model.preprocess to "
            "relprop.models.networks.digits.PREPROCESS or your own"
        )
    with torch.no_grad():
        shape = tuple(network(torch.zeros(1, 3, SIDE, SIDE, device=device_of(network))).shape)
    if shape != (1, len(CLASSES)):
        raise InputError(f"{type(network).__name__} gives {shape} for a picture, and (1, {len(CLASSES)}) is needed")
    return type(network).__name__, network
