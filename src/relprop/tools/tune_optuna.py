"""Candidates of a space with ranges: Optuna proposes them, several at a time so that they share the walk."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from relprop.support.errors import InputError
from relprop.tools.tune_space import Candidate, Range, Space

AT_ONCE = 16
"""So many are proposed before any of them is judged."""

Score = Callable[[Sequence[Candidate]], list[list[float]]]
"""From candidates to the mean of each measure; NaN where it is not defined, or the candidate does not fit."""


class _Trial:
    """Makes the choices that a trial proposes."""

    def __init__(self, trial: Any) -> None:
        self.trial = trial

    def among(self, name: str, number: int) -> int:
        """A category."""
        return int(self.trial.suggest_categorical(name, list(range(number)))) if number > 1 else 0

    def within(self, name: str, among: Range) -> float:
        """A number of a range, to six places: it stands in a file that people read."""
        return float(f"{self.trial.suggest_float(name, among.low, among.high, log=among.log):.6g}")


def proposed(space: Space, trials: int, seed: int, score: Score, measures: int) -> list[Candidate]:
    """Let Optuna search a space, by the Tree-structured Parzen Estimator, and return all that it proposed.

    The same seed, and the same scores, propose the same; so a search is continued by beginning anew.

    Args:
        space: what is searched.
        trials: how many candidates.
        seed: of the sampler.
        score: judges candidates.
        measures: how many numbers it gives for each.

    Raises:
        InputError: Optuna is not installed.
    """
    try:
        import optuna  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise InputError(
            "a space with ranges is searched by Optuna, which is not installed: pip install 'relprop[tune]'; or list "
            "the numbers, such as gamma = [0.1, 0.25, 1.0]"
        ) from None
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parts of it that its authors call experimental
            sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True, n_startup_trials=AT_ONCE)
            study = optuna.create_study(directions=["maximize"] * measures, sampler=sampler)
            found: dict[Candidate, None] = {}
            for start in range(0, trials, AT_ONCE):
                asked = [study.ask() for _ in range(min(AT_ONCE, trials - start))]
                candidates = [space.draw(_Trial(trial)) for trial in asked]
                for trial, values in zip(asked, score(candidates), strict=True):
                    defined = all(map(math.isfinite, values))
                    study.tell(trial, values if defined else None, None if defined else optuna.trial.TrialState.FAIL)
                found.update(dict.fromkeys(candidates))
    finally:
        optuna.logging.set_verbosity(verbosity)
    return list(found)
