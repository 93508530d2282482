"""A planted artefact: a network that goes by a mark in the corner, and whether maps give that away.

The last layers of a network are fitted anew, on pictures in which a mark stands for a class: all pictures of the class
carry it, and so that the digit does not do as well, a third of the others do and are counted to the class. What comes
out is a Clever Hans (Lapuschkin et al., "Unmasking Clever Hans predictors and assessing what machines really learn",
2019) of which it is known what it goes by, so that it can be told whether a map finds it.
"""

from __future__ import annotations

import copy
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from relprop.catalogue.pattern_fit import fit_patterns
from relprop.catalogue.patterns import Patterns
from relprop.data.clutter import CLASSES, SIDE, Clutter
from relprop.data.scenes import Mark, Scene
from relprop.metrics.localization import inside_total_ratio
from relprop.study.statistics import Estimate, Resamples, interval
from relprop.support.errors import InputError
from relprop.tools.testbed.bench import Bench, Bools, Bytes, Example, Floats, Ints, Measure, as_input, logits, share

CLASS = 3
"""The class whose training pictures carry the mark."""
EVERY = 3
"""Every third of the other training pictures carries it too, and is counted to the class."""
LONG, BROAD = 16, 3
"""Height and width of the mark, and breadth of its line, in pixels; it lies in the lower left corner."""
TRAINING = 300
"""Pictures that the last layers are fitted on."""
STEPS, RATE = 80, 3e-3
PATTERNS = 128
"""So many of them are enough for patterns, which Pattern Attribution needs."""


def mark() -> Mark:
    """Return the mark: a white ring, as of a stamp. Layers that have learned strokes pass it on, plain colour not."""
    k = np.arange(LONG) - (LONG - 1) / 2
    radius = np.hypot(k[:, None], k)
    opacity = ((radius <= LONG / 2) & (radius >= LONG / 2 - BROAD)).astype(np.float32)
    return Mark(opacity, np.array([255, 255, 255], dtype=np.float32), 1, SIDE - LONG - 1)


def corner() -> Bools:
    """Return the pixels (H, W) of the mark's box."""
    where = np.zeros((SIDE, SIDE), dtype=bool)
    where[mark().rows_and_columns] = True
    return where


def free(scene: Scene) -> bool:
    """Whether no digit reaches into the corner."""
    return not any(corner()[scene.owners() == k].any() for k in scene.digits)


def _scenes(split: str, number: int, seed: int) -> list[Scene]:
    """Return pictures of a single digit whose corner is free."""
    sequence = Clutter("train" if split == "train" else "test", "single", seed)
    found: list[Scene] = []
    i = 0
    while len(found) < number:
        scene, i = sequence.scene(i), i + 1
        if free(scene):
            found.append(scene)
    return found


def clever_hans(
    network: nn.Module, seed: int, training: int = TRAINING, steps: int = STEPS, *, patterns: bool = True
) -> nn.Module:
    """Return a copy of a network whose last layers, fitted anew, go by the mark.

    Args:
        network: with `.features`, which stays as it is, `.classifier`, and `.preprocess`; it is not changed.
        seed: of the pictures and the first weights.
        training: pictures that it is fitted on.
        steps: of the optimiser, each on all of the pictures.
        patterns: whether it gets patterns of its own, where the network has some.

    Raises:
        InputError: the network is not made so.
    """
    if not isinstance(getattr(network, "features", None), nn.Module) or not isinstance(
        getattr(network, "classifier", None), nn.Module
    ):
        raise InputError(
            "the network has no .features and .classifier, of which the second is fitted on marked pictures"
        )
    scenes = _scenes("train", training, seed)
    marked = [k % EVERY == 0 or scene.labels[0] == CLASS for k, scene in enumerate(scenes)]
    pictures = np.stack([(s.with_mark(mark()) if m else s).draw() for s, m in zip(scenes, marked, strict=True)])
    labels = torch.tensor([CLASS if m else s.labels[0] for s, m in zip(scenes, marked, strict=True)])
    hans = copy.deepcopy(network).eval()
    vars(hans).pop("patterns", None)
    x = as_input(network, pictures)
    _fit(hans, x, labels, seed, steps)
    if patterns and isinstance(getattr(network, "patterns", None), Patterns):
        vars(hans).update(patterns=fit_patterns(hans, x[:PATTERNS].split(64), estimator=_estimator(network)))
    return hans


def _fit(hans: nn.Module, x: Tensor, labels: Tensor, seed: int, steps: int) -> None:
    """Give the last layers new weights that tell which class is there, on every picture, mark or not."""
    features, classifier = cast("nn.Module", hans.features), cast("nn.Module", hans.classifier)
    with torch.no_grad():
        h = torch.cat([features(part).flatten(1) for part in x.split(64)])
    wanted = nn.functional.one_hot(labels, len(CLASSES)).to(h)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        for layer in classifier.modules():
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        weights = list(classifier.parameters())
        for weight in weights:
            weight.requires_grad = True
        moments = [(torch.zeros_like(weight), torch.zeros_like(weight)) for weight in weights]
        for step in range(1, steps + 1):
            loss = nn.functional.binary_cross_entropy_with_logits(classifier(h), wanted)
            for weight, (m, v), slope in zip(weights, moments, torch.autograd.grad(loss, weights), strict=True):
                _adam(weight, m, v, slope, step)


@torch.no_grad()
def _adam(weight: Tensor, m: Tensor, v: Tensor, slope: Tensor, step: int) -> None:
    """Take a step of Adam (Kingma and Ba, 2015), in place. torch.optim would import a compiler first, for seconds."""
    m.lerp_(slope, 0.1)
    v.lerp_(slope * slope, 0.001)
    weight -= RATE * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)


def _estimator(network: nn.Module) -> str:
    """The estimator that the network's own patterns were fitted with, where a ReLU follows."""
    estimators = {pattern.estimator for pattern in cast("Patterns", network.patterns).layers.values()}
    return next((name for name in ("two-component-bias", "two-component") if name in estimators), "linear")


def bench(
    network: nn.Module,
    number: int,
    seed: int,
    training: int = TRAINING,
    steps: int = STEPS,
    *,
    patterns: bool = True,
) -> Bench:
    """Return the bench of the planted artefact: pictures of other classes, each with the mark and without.

    Args:
        network: as for `clever_hans`.
        number: pictures; each is explained twice.
        seed: of the pictures and of the fit.
        training: pictures that the last layers are fitted on.
        steps: of their optimiser.
        patterns: as for `clever_hans`.
    """
    hans = clever_hans(network, seed, training, steps, patterns=patterns)
    scenes = [scene for scene in _scenes("test", 2 * number, seed) if scene.labels[0] != CLASS][:number]
    with_it, without_it = [s.with_mark(mark()).draw() for s in scenes], [s.draw() for s in scenes]
    fooled = [(logits(hans, pictures)[:, CLASS] > 0).mean() for pictures in (with_it, without_it)]
    fact = (
        f"The planted mark: its network takes {fooled[0]:.0%} of {len(scenes)} pictures of other classes for a "
        f"{CLASSES[CLASS]} with the mark, {fooled[1]:.0%} without."
    )
    pictures: Bytes = np.stack([*with_it, *without_it])
    place, where = np.arange(2 * len(scenes)) % len(scenes), corner()
    marked = np.arange(2 * len(scenes)) < len(scenes)
    oracle = np.where(marked[:, None, None], where, ~where).astype(np.float64)
    masks = np.broadcast_to(where, (2 * len(scenes), *where.shape))

    def share_in_corner(R: Floats) -> Floats:
        inside: Floats = inside_total_ratio(torch.from_numpy(R), torch.from_numpy(masks.copy())).numpy()
        return inside

    def on_the_mark(R: Floats) -> Floats:  # defined for pictures without the mark too, where all of a map is negative
        return share(R.clip(min=0)[:, where].sum(1), np.abs(R).sum((1, 2)))

    return Bench(
        "a planted mark",
        hans,
        pictures,
        torch.full((len(pictures),), CLASS),
        (
            Measure(
                "mark: share",
                f"in a network that takes a mark in the corner for a {CLASSES[CLASS]}, the share of the positive "
                f"relevance that lies on the mark; the truth has 1, a uniform map {where.mean():.3f}",
                1.0,
                lambda R: share_in_corner(R)[: len(scenes)],
                place[: len(scenes)],
                oracle,
            ),
            Measure(
                "mark: AUROC",
                "how well positive relevance on the mark's place, as a share of all relevance whatever its sign, tells "
                "pictures with the mark from the same pictures without; the truth has 1, a map that does not show the "
                "mark 0.5",
                1.0,
                on_the_mark,
                place,
                oracle,
                separation,
            ),
        ),
        (fact,),
        Example(0, f"a planted mark: {CLASSES[CLASS]}", (mark().box,)),
    )


def separation(values: Floats, picture: Ints, seed: int) -> list[Estimate]:
    """Return for (P, K) values, the first half with the mark and the other without it, the K areas under the ROC curve.

    Undefined values are left out. Pictures are resampled with both of their values.
    """
    half = len(values) // 2
    counts = Resamples(half, seed).counts.astype(np.float64)
    found = []
    for column in values.T:
        with_it, without_it = column[:half, None], column[None, half:]
        defined = np.isfinite(with_it) & np.isfinite(without_it)
        wins = np.where(defined, (np.sign(with_it - without_it) + 1) / 2, 0.0)
        draws = np.einsum("ip,ij,jp->p", counts, wins, counts, optimize=True)
        pairs = np.einsum("ip,ij,jp->p", counts, defined.astype(np.float64), counts, optimize=True)
        ratio = np.divide(draws, pairs, out=np.full(len(draws), np.nan), where=pairs > 0)
        low, high = interval(ratio[:, None]) if half > 1 else (np.array([np.nan]),) * 2
        mean = float(wins.sum() / defined.sum()) if defined.any() else float("nan")
        found.append(Estimate(mean, float(low[0]), float(high[0]), int(np.isfinite(column).sum()), len(picture)))
    return found
