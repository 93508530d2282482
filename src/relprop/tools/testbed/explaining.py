"""Maps of a bench by every method that can explain its model, and by references of which the truth is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from relprop.catalogue.table import METHODS
from relprop.propagate import explain
from relprop.support.errors import RelpropError
from relprop.tools.testbed.bench import Bench, Floats, Measure

UNIFORM, NOISE, TRUTH = REFERENCES = ("uniform", "noise", "truth")
"""Maps that stand beside those of the methods: the same everywhere, chance, and what each measure asks for."""


def every_method() -> list[str]:
    """Return the name of every method but the uniform map, which is a reference here."""
    return [name for name in METHODS if name != UNIFORM]


def reasons(bench: Bench, methods: Sequence[str]) -> dict[str, str]:
    """Return of the methods that cannot explain a bench's model why not, tried on its first picture."""
    found: dict[str, str] = {}
    if not len(bench.target):
        return found
    one = bench.x(slice(1))
    for name in methods:
        try:
            explain(bench.model, one, [bench.target[:1]], [name])
        except RelpropError as error:
            found[name] = str(error)
    return found


def maps(bench: Bench, methods: Sequence[str], batch: int, progress: Callable[[int], None]) -> dict[str, Floats]:
    """Explain all pictures of a bench.

    Args:
        bench: the bench.
        methods: names of methods that can explain its model.
        batch: pictures at once.
        progress: told how many pictures were explained, after each batch.

    Returns:
        Maps (N, H, W) by method, summed over colours.
    """
    number = len(bench.target)
    parts: dict[str, list[Floats]] = {name: [] for name in methods}
    for start in range(0, number, batch):
        rows = slice(start, start + batch)
        target = bench.target[rows]
        if methods:
            explanation = explain(bench.model, bench.x(rows), [target], list(methods))
            for name in methods:
                parts[name].append(explanation.relevance[name][0].double().sum(1).cpu().numpy())
        progress(len(target))
    empty = np.zeros(bench.pictures.shape[:3])
    return {name: np.concatenate(found) if found else empty for name, found in parts.items()}


def references(bench: Bench, measure: Measure, seed: int) -> Mapping[str, Floats]:
    """Return the references' maps (N, H, W) for a measure."""
    shape = bench.pictures.shape[:3]
    noise = np.random.default_rng(seed).standard_normal(shape)
    return {UNIFORM: np.ones(shape), NOISE: noise, TRUTH: measure.oracle}
