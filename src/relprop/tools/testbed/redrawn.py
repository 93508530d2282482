"""Pictures drawn again without something: what each digit, part, fragment and the ground do to the output.

Protocols after Hesse et al., "FunnyBirds: A synthetic vision dataset for a part-based analysis of explainable AI
methods" (2023), for digits: single deletion, target sensitivity, distractibility, background independence. A map is
judged against what the network itself does when the picture changes, never against where a digit is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import nn

from relprop.data.clutter import CLASSES, Clutter
from relprop.data.scenes import QUARTERS, Scene
from relprop.support.errors import InputError
from relprop.tools.testbed.bench import Bench, Bools, Example, Floats, Ints, Measure, logits, share

DISTRACTING = 0.05
"""A part whose removal changes the logit by no more than this share of what the part that matters most does is one
that does not matter."""
GROUND = 0.2
"""The ground does not matter where another one changes the logit by no more than this share of what the digits do."""
GROUNDS = 3
"""On so many other grounds each picture is drawn again."""
LIGHTS = ((0.8, 0.0), (1.0, 20.0))
"""And in so many other lights."""
LEAST = 3
"""A rank correlation is over so many parts at least."""
FAR = 50
"""So many pictures are looked through for each that is wanted, at most."""


@dataclass(frozen=True, eq=False)
class Redrawn:
    """A scene and what the network does when it is edited. Effects are the logits (C,) before less those after.

    Attributes:
        scene: the scene.
        outputs: (C,) the logits.
        parts: (P, H, W) the pixels of the quarters of digits, and of fragments; no pixel is in two of them.
        effects: (P, C) of leaving out each part.
        digits: (D, H, W) the pixels of whole digits.
        digit_effects: (D, C) of leaving out each digit.
        all_digits: (C,) of leaving out the digits of each class; NaN where there are none.
        surroundings: (E, C) of other grounds and lights.
    """

    scene: Scene
    outputs: Floats
    parts: Bools
    effects: Floats
    digits: Bools
    digit_effects: Floats
    all_digits: Floats
    surroundings: Floats

    @cached_property
    def ground(self) -> Bools:
        """The pixels that are no digit's, (H, W)."""
        return np.logical_not(self.digits.any(0), out=np.empty(self.digits.shape[1:], dtype=bool))


def redraw(model: nn.Module, scene: Scene, others: Sequence[Scene]) -> Redrawn:
    """Draw a scene in every edited form, and see what the network makes of each.

    Args:
        model: the network.
        scene: the scene.
        others: those whose grounds it is drawn on, too.
    """
    digits = scene.digits
    owner = scene.owners()
    parts: list[Bools] = []
    edited: list[Scene] = []
    for k in range(len(scene.marks)):
        if k not in digits and (owner == k).any():
            parts.append(owner == k)
            edited.append(scene.without(k))
        for quarter in QUARTERS if k in digits else ():
            inside = scene.part_of(k, quarter)
            if inside.any():
                parts.append(inside)
                edited.append(scene.without_part(k, quarter))
    wholes = [scene.without(k) for k in digits]
    shown = sorted(set(scene.labels))
    classes = [scene.without(*(k for k in digits if scene.marks[k].label == c)) for c in shown]
    around = [*(scene.on(other.ground) for other in others), *(scene.lit(*light) for light in LIGHTS)]
    y = logits(model, [each.draw() for each in (scene, *edited, *wholes, *classes, *around)])
    effects = y[0] - y[1:]
    of_parts, of_wholes, of_classes, of_surroundings = np.split(
        effects, np.cumsum([len(edited), len(wholes), len(classes)])
    )
    all_digits = np.full(y.shape[1], np.nan)
    for c, effect in zip(shown, of_classes, strict=True):
        all_digits[c] = effect[c]
    return Redrawn(
        scene,
        y[0],
        np.stack(parts),
        of_parts,
        np.stack([owner == k for k in digits]),
        of_wholes,
        all_digits,
        of_surroundings,
    )


@dataclass(frozen=True, eq=False)
class Row:
    """A picture and the class that is explained in it."""

    picture: int
    redrawn: Redrawn
    target: int


def bench(model: nn.Module, number: int, seed: int) -> Bench:
    """Return the bench of redrawn pictures.

    Args:
        model: the network.
        number: pictures of which it sees every class shown; all of these classes are explained.
        seed: of the pictures.

    Raises:
        InputError: the network sees too few of the digits.
    """
    sequence = Clutter("test", "multi", seed)
    found: list[Redrawn] = []
    for i in range(FAR * number):
        scene = sequence.scene(i)
        y = logits(model, [scene.draw()])[0]
        if len(found) < number and (y[list(scene.labels)] > 0).all():
            found.append(redraw(model, scene, [sequence.scene(i + 1 + k) for k in range(GROUNDS)]))
        if len(found) == number:
            seen = f"every class that the picture shows has a positive logit in these, the first {number} of {i + 1}"
            break
    else:
        raise InputError(
            f"of {FAR * number} pictures the network sees the digits of {len(found)}, and {number} are wanted: ask for "
            "fewer pictures, or take a network that is trained"
        )
    rows = [Row(k, each, c) for k, each in enumerate(found) for c in sorted(set(each.scene.labels))]
    return Bench(
        "redrawn pictures",
        model,
        np.stack([row.redrawn.scene.draw() for row in rows]),
        torch.tensor([row.target for row in rows]),
        (deletion(rows), sensitivity(rows), distractibility(rows), background(rows)),
        (f"Pictures: {seen}.", surroundings(rows)),
        _example(rows),
    )


def surroundings(rows: Sequence[Row]) -> str:
    """Say how far the network depends on ground and light."""
    ratios = [np.abs(row.redrawn.surroundings[:, row.target] / row.redrawn.all_digits[row.target]) for row in rows]
    grounds, lights = (np.median(np.stack(ratios)[:, part]) for part in (slice(GROUNDS), slice(GROUNDS, None)))
    return (
        f"The network: another ground changes the logit by {grounds:.0%} of what leaving out the digits does, another "
        f"light by {lights:.0%} (medians)."
    )


def _example(rows: Sequence[Row]) -> Example:
    """The first picture of several classes, or the first."""
    row = next((k for k, row in enumerate(rows) if len(set(row.redrawn.scene.labels)) > 1), 0)
    redrawn, target = rows[row].redrawn, rows[row].target
    marks = [redrawn.scene.marks[k] for k in redrawn.scene.digits]
    boxes = tuple(mark.box for mark in marks if mark.label == target)
    return Example(row, f"a redrawn picture: {CLASSES[target]}", boxes)


# -- single deletion ---------------------------------------------------------------------------------


def deletion(rows: Sequence[Row]) -> Measure:
    """Do the parts that the map finds important change the output when they go?"""

    def score(R: Floats) -> Floats:
        return _each(rows, R, lambda row, r: spearman(_inside(row.redrawn.parts, r), _effect(row)))

    return Measure(
        "single deletion",
        "rank correlation between the relevance on each quarter of a digit and each fragment, and what leaving it out "
        "takes from the logit; the truth has 1, noise 0, a uniform map what the parts' areas have",
        1.0,
        score,
        _pictures(rows),
        np.stack([_spread(row.redrawn.parts, _effect(row)) for row in rows]),
    )


def spearman(a: Floats, b: Floats) -> float:
    """Return the rank correlation of (P,) and (P,); NaN where one of them is the same everywhere, or P is small."""
    if len(a) < LEAST or not np.isfinite(a).all() or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    x, y = _ranks(a), _ranks(b)
    return float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()))


def _ranks(values: Floats) -> Floats:
    """Return the ranks of (P,) values less their mean; equal values share theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[which] - (len(values) + 1) / 2
    return ranks


# -- target sensitivity ------------------------------------------------------------------------------


def sensitivity(rows: Sequence[Row]) -> Measure:
    """Asked for another class, does the map go to the other digit?"""
    pairs = [pair for k in range(len(rows)) for pair in _pairs(rows, k)]

    def score(R: Floats) -> Floats:
        both = [(_agrees(rows, R, a, b) + _agrees(rows, R, b, a)) / 2 for a, b in pairs]
        return np.array(both, dtype=np.float64)

    oracle = np.stack([_spread(row.redrawn.digits, row.redrawn.digit_effects[:, row.target]) for row in rows])
    return Measure(
        "target sensitivity",
        "of two classes in a picture, how often a digit has more relevance for the class for which leaving it out "
        "takes more; the truth has 1, a map that knows no class 0.5",
        1.0,
        score,
        np.array([rows[a].picture for a, _ in pairs], dtype=np.int64),
        oracle,
    )


def _pairs(rows: Sequence[Row], k: int) -> list[tuple[int, int]]:
    """The rows of the same picture that come after row k, each with it."""
    return [(k, j) for j in range(k + 1, len(rows)) if rows[j].picture == rows[k].picture]


def _agrees(rows: Sequence[Row], R: Floats, a: int, b: int) -> float:
    """Whether the digits of row a's class gain or lose as they should when row b's class is asked: 1, 0, tied 0.5."""
    redrawn, classes = rows[a].redrawn, (rows[a].target, rows[b].target)
    own = np.array(redrawn.scene.labels) == classes[0]
    true = redrawn.digit_effects[own][:, classes].sum(0)
    told = [float(_inside(redrawn.digits[own], R[k]).sum()) for k in (a, b)]
    if not np.isfinite(told).all():
        return float("nan")
    return (1 + float(np.sign(true[0] - true[1]) * np.sign(told[0] - told[1]))) / 2


# -- distractibility ---------------------------------------------------------------------------------


def distractibility(rows: Sequence[Row]) -> Measure:
    """Is there relevance on parts that do not matter?"""

    def one(row: Row, r: Floats) -> float:
        sums, areas = _inside(row.redrawn.parts, np.abs(r)), row.redrawn.parts.sum((1, 2))
        idle = _idle(row)
        return _excess(sums[idle].sum(), sums.sum(), areas[idle].sum(), areas.sum())

    truth = [_spread(row.redrawn.parts, np.where(_idle(row), 0.0, _effect(row))) for row in rows]
    return Measure(
        "distractibility",
        f"relevance, whatever its sign, on the parts that change the logit by at most {DISTRACTING:.0%} of what the "
        "one that matters most does, as a multiple of what a uniform map has there; the truth has 0, a uniform map and "
        "noise 1",
        0.0,
        lambda R: _each(rows, R, one),
        _pictures(rows),
        np.stack(truth),
    )


def _idle(row: Row) -> Bools:
    """Which parts do not matter, (P,)."""
    effect = np.abs(_effect(row))
    small: Bools = effect <= DISTRACTING * effect.max()
    return small


# -- background independence -------------------------------------------------------------------------


def background(rows: Sequence[Row]) -> Measure:
    """Where the ground does not matter to the network, is there relevance on it?"""

    def one(row: Row, r: Floats) -> float:
        if not _independent(row):
            return float("nan")
        magnitude, ground = np.abs(r), row.redrawn.ground
        return _excess(magnitude[ground].sum(), magnitude.sum(), ground.sum(), ground.size)

    return Measure(
        "background",
        f"relevance, whatever its sign, off the digits, as a multiple of what a uniform map has there, in pictures "
        f"where other grounds and lights change the logit by at most {GROUND:.0%} of what leaving out the digits does "
        "(median); the truth has 0, a uniform map and noise 1",
        0.0,
        lambda R: _each(rows, R, one),
        _pictures(rows),
        np.stack([_spread(row.redrawn.digits, row.redrawn.digit_effects[:, row.target]) for row in rows]),
    )


def _independent(row: Row) -> bool:
    """Whether the ground and the light do not matter for the class."""
    change = np.median(np.abs(row.redrawn.surroundings[:, row.target]))
    return bool(change <= GROUND * row.redrawn.all_digits[row.target])


# -- what they share ---------------------------------------------------------------------------------


def _effect(row: Row) -> Floats:
    """What leaving out each part takes from the explained logit, (P,)."""
    effect: Floats = row.redrawn.effects[:, row.target]
    return effect


def _inside(regions: Bools, r: Floats) -> Floats:
    """Return the sum of a map (H, W) in each of (P, H, W) regions."""
    return np.array([r[region].sum() for region in regions], dtype=np.float64)


def _spread(regions: Bools, amounts: Floats) -> Floats:
    """Return the map (H, W) that has these amounts in the regions, each spread evenly."""
    r = np.zeros(regions.shape[1:])
    for region, amount in zip(regions, amounts, strict=True):
        r[region] = amount / region.sum()
    return r


def _excess(inside: float, total: float, area_inside: float, area: float) -> float:
    """Return the share of relevance inside by the share of the area; NaN where either is nothing."""
    return float(share(share(inside, total), share(area_inside, area)))


def _each(rows: Sequence[Row], R: Floats, one: Callable[[Row, Floats], float]) -> Floats:
    """Return a value per row."""
    return np.array([one(row, r) for row, r in zip(rows, R, strict=True)], dtype=np.float64)


def _pictures(rows: Sequence[Row]) -> Ints:
    """Return the picture of each row."""
    return np.array([row.picture for row in rows], dtype=np.int64)
