"""Which composite explains a model best: searched by some pictures, told on others."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from relprop.catalogue.names import Function
from relprop.catalogue.names import source_sha256 as source_of_method
from relprop.composites.composite import Composite
from relprop.study.statistics import Estimate, Floats, Ints, Resamples
from relprop.support.errors import InputError
from relprop.support.fingerprint import weights_hash
from relprop.tools.halving import DEFINED, Round, ranking, rounds, work
from relprop.tools.tune_data import samples_of
from relprop.tools.tune_measures import Measure, measures_named
from relprop.tools.tune_optuna import proposed
from relprop.tools.tune_result import Told, Tuned
from relprop.tools.tune_space import Candidate, Space, read_space
from relprop.tools.tune_store import Measured
from relprop.tools.tune_walk import Hands, Judge, Planned, Progress

VERSION = 1
"""To be raised when what a value says changes."""
PRESETS = (
    "cmp-alpha2-flat",
    "cmp-alpha2",
    "cmp-alpha1-flat",
    "cmp-alpha1",
    "lrp-alpha2",
    "lrp-alpha1",
    "lrp-z",
    "epsilon-gamma-box",
    "epsilon-plus-flat",
)
"""The named methods that the chosen composite is compared with, where none are named."""


def tune(
    model: nn.Module,
    data: Any,
    space: str | Path | Mapping[str, Any] | Space = "default",
    by: str | Sequence[str] | Mapping[str, Measure] = "mu_w",
    *,
    against: Sequence[str] = PRESETS,
    split: float = 0.5,
    finalists: int = 3,
    eta: int = 3,
    most: int = 512,
    trials: int = 96,
    profile: str = "paper",
    seed: int = 0,
    folder: str | Path | None = None,
    progress: Progress = lambda *_: None,
    hands: Hands | None = None,
) -> Tuned:
    """Find which composite of a space explains a model best by a measure, and say whether it beats the named methods.

    The pictures are split in two. On one part candidates are searched by successive halving: all of them on a few
    pictures, then eta times fewer on eta times more, until `finalists` have seen all. On the other part, which the
    search never saw, the best one is compared with the named methods. Candidates share forward passes, and what their
    rules have in common from the output down.

    Args:
        model: in eval mode, of pictures to logits (B, C). It is not changed; batches go to where its parameters are.
        data: a data set of `relprop.data`, such as `relprop.data.embedded.embedded()`; or anything with a length and
            items (x, target, mask), mask (H, W) bool where the class is; or (x, {target: mask, ...}); or, for measures
            that need no masks, (x, target).
        space: a name (small, default, large, gamma, attention), a TOML file, or a mapping as such a file holds.
        by: "mu_w", "mu", "pointing_game", "rank_accuracy", or of flipping "srg", "abpc", "morf", "lerf"; several, by
            the mean of whose ranks candidates are ordered; or a mapping from names of your own to functions of a case
            (model, x, targets, R, inside) to a number per map, more being better.
        against: the named methods that the best one is compared with.
        split: the share of the pictures that is searched by.
        finalists: so many see all of them.
        eta: at least 2.
        most: candidates of a larger space are drawn from the seed.
        trials: candidates of a space with ranges, which Optuna proposes (the extra `tune`).
        profile: numeric conventions, as for `relprop.attribute`.
        seed: of the split, the drawing, Optuna and the bootstrap.
        folder: where to keep what was measured, for a search that is interrupted, or continued with another space.
        progress: called as work goes on, with what is done, how much of it, and how much there is.
        hands: who explains and measures, such as `relprop.tools.tune_by_ray` makes them; None: this process.

    Returns:
        The best composite with its code, the table of finalists and named methods with 95 % intervals, and a verdict.

    Raises:
        InputError: no such space, measure or method; too little data, or data without masks where a measure needs
            them; a folder of another search.
        RuleError: no candidate fits the model.
        UnsupportedOp: as `relprop.attribute` does.

    Example:
        >>> import torch, relprop as rp
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(),
        ...                           torch.nn.Linear(72, 2)).eval()
        >>> mask = torch.zeros(8, 8, dtype=torch.bool)
        >>> mask[2:6, 2:6] = True
        >>> data = [(torch.randn(1, 8, 8), k % 2, mask) for k in range(8)]
        >>> found = rp.tune(net, data, space="small", against=["lrp-z"])
        >>> found.pictures, found.verdict
        ((4, 4), 'undecided')
    """
    _demand(0 < split < 1, f"split is {split}; the share of the pictures to search by is needed, such as 0.5")
    _demand(eta >= 2 and min(finalists, most, trials) >= 1, "eta must be at least 2, the other numbers at least 1")
    began = time.process_time()
    samples, measures = samples_of(data, model), measures_named(by)
    searched, told = _split(len(samples), split, seed)
    found = read_space(space, getattr(getattr(model, "preprocess", None), "bounds", (None, None)))
    values = Measured(
        Path(folder) if folder else None, _config(model, samples.identity(), by, profile) if folder else {}
    )
    judge = Judge(model, samples, measures, profile, values, hands)
    presets, refused = judge.planned({name: name for name in against}, told)
    search = Search(judge, searched, finalists, eta, seed, progress)
    best, plan = search.best(found, most, trials)
    judge.measure([*best, *presets], told, _counting(progress, "comparing", (len(best) + len(presets)) * len(told)))
    finals, named, pairs, few = _told(judge, list(measures), best, presets, searched, told, search.texts, seed)
    unread = {f"picture {index}": why for index, why in judge.skipped.items()}
    return Tuned(
        best=search.composites[best[0].name],
        by=tuple(measures),
        finalists=finals,
        presets=named,
        space=found.name,
        candidates=search.number,
        distinct=search.distinct,
        rounds=tuple((r.candidates, r.pictures) for r in plan),
        pictures=(len(searched), len(told)),
        pairs=pairs,
        maps=judge.maps,
        seconds=time.process_time() - began + judge.elsewhere,
        history=search.history,
        left_out=refused | search.refused | few | unread,
    )


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InputError(otherwise)


def _split(number: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Pictures to search by, in the order in which they are looked at, and pictures to tell on."""
    order = np.random.default_rng(seed).permutation(number).tolist()
    cut = min(max(round(number * share), 1), number - 1)
    return order[:cut], sorted(order[cut:])


def _config(model: nn.Module, data: Mapping[str, Any], by: Any, profile: str) -> dict[str, Any]:
    """All that values depend on."""
    names = [by] if isinstance(by, str) else list(by)
    own = {name: source_of_method(name) for name in names if ":" in name and "/" not in name}
    libraries = {library: version(library) for library in ("torch", "relprop")}
    return {
        "tune_version": VERSION,
        "model": weights_hash(model),
        "data": data,
        "measures": names,
        "own_measures": own,
        "profile": profile,
        "libraries": libraries,
    }


def _counting(progress: Progress, what: str, total: int) -> Callable[[int], None]:
    """Add up what is done."""
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress(what, min(done, total), total)

    return count


# -- searching ---------------------------------------------------------------------------------------


@dataclass
class Search:
    """The search on its part of the pictures.

    Attributes:
        composites, texts: of all candidates, by name.
        number, distinct: how many candidates there were, and how many of them differ on this network.
        refused: why others do not fit it.
        history: by candidate, the mean of the first measure in each round that it was in.
    """

    judge: Judge
    pictures: list[int]
    finalists: int
    eta: int
    seed: int
    progress: Progress

    def __post_init__(self) -> None:
        self.composites: dict[str, Composite] = {}
        self.texts: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self.history: dict[str, tuple[float, ...]] = {}
        self.number = self.distinct = 0

    def best(self, space: Space, most: int, trials: int) -> tuple[list[Planned], list[Round]]:
        """The finalists, best first, and the rounds that they came through."""
        if space.continuous:
            first = rounds(trials, len(self.pictures), self.finalists, self.eta)[0].pictures
            count = _counting(self.progress, "proposing", trials * first)
            measures = len(self.judge.measures)
            candidates = proposed(
                space, trials, self.seed, lambda some: self._scores(some, self.pictures[:first], count), measures
            )
        else:
            candidates = space.candidates(most, self.seed)
        alive = self._planned(candidates)
        self.number, self.distinct = len(candidates), len(alive)
        plan = rounds(len(alive), len(self.pictures), self.finalists, self.eta)
        count = _counting(self.progress, "searching", work(plan))
        seen = 0
        for n, (_, number) in enumerate(plan):
            self.judge.measure(alive, self.pictures[seen:number], count)
            seen = max(seen, number)
            values, _ = values_of(self.judge, alive, self.pictures[:number])
            _demand(
                bool(np.isfinite(values).all(2).any()), "no candidate's measures are defined on any of the pictures"
            )
            for k, each in enumerate(alive):
                self.history[each.name] = (*self.history.get(each.name, ()), mean_of(values[:, k, 0]))
            order = ranking(values)
            keep = plan[n + 1].candidates if n + 1 < len(plan) else self.finalists
            ranked = [alive[k] for k in order[:keep]]
            alive = ranked if n + 1 == len(plan) else sorted(ranked, key=lambda each: each.rules)
        return alive, plan

    def _planned(self, candidates: Sequence[Candidate]) -> list[Planned]:
        """Those that fit, under names of their own."""
        names = {f"candidate {n}": each for n, each in enumerate(candidates, 1)}
        self.composites |= {name: each.composite for name, each in names.items()}
        self.texts |= {name: each.text for name, each in names.items()}
        methods: dict[str, Composite | Function | str] = {name: each.composite for name, each in names.items()}
        planned, refused = self.judge.planned(methods, self.pictures)
        self.refused = refused
        if not planned:
            raise InputError(
                f"no candidate fits this model; the first: {next(iter(refused.values()), 'there is none')}"
            )
        return planned

    def _scores(self, candidates: Sequence[Candidate], pictures: list[int], count: Any) -> list[list[float]]:
        """The means of the measures for each; NaN for one that does not fit."""
        methods: dict[str, Composite | Function | str] = {str(k): each.composite for k, each in enumerate(candidates)}
        planned, _ = self.judge.planned(methods, pictures)
        self.judge.measure(planned, pictures, lambda _: None)
        count(len(candidates) * len(pictures))
        scores = [[np.nan] * len(self.judge.measures) for _ in candidates]
        for each in planned:
            found = values_of(self.judge, [each], pictures)[0][:, 0]
            defined = found[np.isfinite(found).all(1)]
            for name in (each.name, *each.same) if len(defined) else ():
                scores[int(name)] = defined.mean(0).tolist()
        return scores


def mean_of(values: Floats) -> float:
    """The mean over what is defined; NaN of nothing."""
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def values_of(judge: Judge, methods: Sequence[Planned], pictures: Sequence[int]) -> tuple[Floats, Ints]:
    """What was measured: (P, methods, measures), P the pairs of a picture and a class, and the picture of each (P,)."""
    rows: list[list[list[float]]] = []
    picture: list[int] = []
    for place, index in enumerate(pictures):
        each = [judge.values.of(method.key, index) for method in methods]
        for t in range(len(each[0])):
            rows.append([found[t] for found in each])
            picture.append(place)
    shape = (len(rows), len(methods), len(judge.measures))
    return np.array(rows, dtype=np.float64).reshape(shape), np.array(picture, dtype=np.int64)


# -- telling -----------------------------------------------------------------------------------------


def _told(
    judge: Judge,
    measures: list[str],
    best: list[Planned],
    presets: list[Planned],
    searched: list[int],
    told: list[int],
    texts: Mapping[str, str],
    seed: int,
) -> tuple[tuple[Told, ...], tuple[Told, ...], tuple[int, int], dict[str, str]]:
    """The table's rows: finalists, and named methods in the order of the first measure."""
    values, picture = values_of(judge, [*best, *presets], told)
    _demand(len(values) > 0, "none of the pictures to tell on can be explained; give more pictures")
    share = np.isfinite(values).all(2).mean(0)
    fit = [k for k in range(values.shape[1]) if not k or share[k] >= DEFINED * share[0]]
    few = {
        each.name: f"it defines {share[k]:.0%} of the pairs, the chosen composite {share[0]:.0%}"
        for k, each in enumerate([*best, *presets])
        if k not in fit
    }
    common = np.isfinite(values[:, fit]).all((1, 2))
    resamples = Resamples(len(told), seed)
    before, _ = values_of(judge, best, searched)
    rows = []
    for k in fit:
        each = [*best, *presets][k]
        gaps = {m: values[:, 0, j] - values[:, k, j] for j, m in enumerate(measures)} if k else {}
        rows.append(
            Told(
                ", ".join((each.name, *each.same)) if k >= len(best) else each.name,
                texts.get(each.name, "") if k < len(best) else "",
                {m: _estimate(resamples, values[:, k, j], picture, common) for j, m in enumerate(measures)},
                {m: _estimate(resamples, gap, picture, common) for m, gap in gaps.items()},
                {m: mean_of(before[:, k, j]) for j, m in enumerate(measures)} if k < len(best) else {},
            )
        )
    finals = [row for row in rows if row.searched]
    named = sorted((row for row in rows if not row.searched), key=lambda row: -row.estimates[measures[0]].mean)
    return tuple(finals), tuple(named), (int(common.sum()), len(values)), few


def _estimate(resamples: Resamples, values: Floats, picture: Ints, common: Any) -> Estimate:
    """The mean over the pairs that all define."""
    return resamples.means(values[:, None], picture, common).estimates()[0]
