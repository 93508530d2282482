"""Claims 7 to 10: which methods give the same, mark the same, behave alike, and where all do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from relprop.study.arranged import Pairs, Rows
from relprop.study.compared import COMPOSITES, UNIFORM, Compared, apart, compared, listed, shown
from relprop.study.results import BASELINE, Study, Which
from relprop.study.statistics import HALF, SMALL, Bools, Floats, Ints, Means
from relprop.study.verdict import Condition, Found, NotMeasurable, absent, closest, condition, spread

SAME = 0.01
"""Two methods give the same results where mu differs by less than this on average."""
ALIKE = 0.25
"""Two methods behave alike where their mean mu_w are apart by no more than this share of what the methods span."""
CONVERGED = 0.5
"""Methods converge where their spread has shrunk to this share of what it was."""


def same_results(study: Study) -> Found:
    """Claim 7: LRP_epsilon and LRP_z, map by map."""
    both = compared(study, ("lrp-epsilon", "lrp-z"))
    gap = apart(study, *both.positions)
    means = listed(both.named(k) for k in both.positions)
    found = condition(
        "mean difference of mu", gap.mean[0], gap.draws[:, 0], gap.pictures[0], bound=SAME, below=True, form=".4f"
    )
    return Found(f"{means} ({both.extent}); their mu differ by {found.number}, whatever the sign.", (found,))


def several_classes(study: Study) -> Found:
    """Claim 8: LRP_alpha,beta's maps of two classes are alike, and it falls behind where there are several."""
    these = compared(study, ("cmp-alpha1", "cmp-alpha2", "lrp-alpha1", "lrp-alpha2"))
    composites, uniform = these.positions[:2], these.positions[2:]

    def both(pairs: Pairs) -> tuple[Floats, Ints, Bools]:
        defined: Bools = np.all(np.isfinite(pairs.cosine[:, list(these.positions)]), axis=1)
        return pairs.cosine, pairs.picture, defined

    cosine = study.resamples.over(study.pair_blocks.each(both))
    if not cosine.defined[list(these.positions)].any():
        raise NotMeasurable("No picture shows two classes whose maps could be compared.")
    similar = listed(f"{study.methods[k]} {shown(cosine, k, '.2f')}" for k in (*uniform, *composites))
    more = [
        condition(
            f"cosine of {study.methods[b]} less that of {study.methods[a]}",
            cosine.mean[b] - cosine.mean[a],
            cosine.draws[:, b] - cosine.draws[:, a],
            cosine.pictures[a],
            form="+.2f",
        )
        for a, b in zip(composites, uniform, strict=True)
    ]
    figures = f"Cosine of two classes' maps: {similar}"
    what = "that share on pictures of one class less that on pictures of several"
    one, several = _showing(these.among, 1, 1), _showing(these.among, 2, None)
    if not (study.count(one) and study.count(several)):
        return Found(
            f"{figures}; pictures of one class and of several are not both there.", (closest(more), absent(what))
        )
    means = [study.means("mu_w", each) for each in (one, several)]
    (alone, of_one), (together, of_several) = (_relative(each, uniform, composites) for each in means)
    told = [spread(value, draws, ".2f") for value, draws in ((alone, of_one), (together, of_several))]
    figures += f"; of the composites' mu_w it reaches {told[0]} on pictures of one class, {told[1]} of several."
    pictures = min(int(each.pictures[composites[0]]) for each in means)
    loses = condition(what, alone - together, of_one - of_several, pictures, form="+.2f")
    return Found(figures, (closest(more), loses))


def pattern_attribution(study: Study) -> Found:
    """Claim 9: in mean mu_w it is close to LRP_alpha1, and of all LRP configurations LRP_alpha1's mu is the nearest.

    Close is told by what the configurations and the baseline span, near map by map.
    """
    these = compared(study, ("pattern-attribution", *COMPOSITES, *UNIFORM))
    pattern, configurations = these.positions[0], list(these.positions[1:])
    uniform = study.methods.index("lrp-alpha1")

    def share(mu_w: Floats) -> Floats:
        of_all = np.concatenate([np.ones((*mu_w.shape[:-1], 1)), mu_w[..., configurations]], -1)  # uniform maps have 1
        result: Floats = np.abs(mu_w[..., pattern] - mu_w[..., uniform]) / np.ptp(of_all, axis=-1)
        return result

    def distances(rows: Rows) -> Floats:
        mu = rows.values["mu"]
        return np.abs(mu - mu[:, [pattern]])

    distance = study.over(distances, these.among)
    nearest = min(configurations, key=lambda k: distance.mean[k])
    close = condition(
        "mu_w's distance from lrp-alpha1 as a share of what the configurations and the baseline span",
        float(share(these.mu_w.mean)),
        share(these.mu_w.draws),
        these.pictures,
        bound=ALIKE,
        below=True,
        form=".2f",
    )
    figures = (
        f"{these.named(pattern)}, {these.named(uniform)} ({these.extent}); mu differs from lrp-alpha1's by "
        f"{shown(distance, uniform, '.3f')} on average"
    )
    if nearest != uniform:
        figures += f", from {study.methods[nearest]}'s by only {shown(distance, nearest, '.3f')}"
    figures += _cosines(study, pattern, uniform)
    others = [k for k in configurations if k != uniform]
    return Found(f"{figures}.", (close, closest([_farther(these, distance, k, uniform) for k in others])))


def convergence(study: Study) -> Found:
    """Claim 10: how far apart the methods' mean mu are for large and for small objects, the baseline left out."""
    methods = [k for k, name in enumerate(study.methods) if name != BASELINE and study.mu_w.defined[k]]
    if len(methods) < 2:
        raise NotMeasurable("It takes two methods beside the baseline.")
    common = study.common(methods)
    spreads, pictures = [], []
    for among in (lambda rows: common(rows) & (rows.share < SMALL), lambda rows: common(rows) & (rows.share > HALF)):
        means = study.means("mu", among)
        if not means.defined[methods].any():
            raise NotMeasurable(
                "It takes objects under a quarter and over half of the picture, which all methods define."
            )
        spreads.append((float(np.ptp(means.mean[methods])), np.ptp(means.draws[:, methods], axis=1)))
        pictures.append(int(means.pictures[methods[0]]))
    (small, at_small), (large, at_large) = spreads
    told = [spread(value, draws, ".3f") for value, draws in spreads]
    figures = (
        f"From the lowest to the highest of {len(methods)} methods, mean mu spans {told[1]} over half of the picture "
        f"({pictures[1]} pictures) and {told[0]} under a quarter ({pictures[0]} pictures)."
    )
    what = f"the span over half of the picture less {CONVERGED:g} of that under a quarter"
    shrunk = condition(what, large - CONVERGED * small, at_large - CONVERGED * at_small, min(pictures), below=True)
    return Found(figures, (shrunk,))


def _showing(among: Which, least: int, most: int | None) -> Which:
    """Return of some pairs those on pictures that show so many classes."""

    def which(rows: Rows) -> Bools:
        return among(rows) & (rows.shown >= least) & (True if most is None else rows.shown <= most)

    return which


def _relative(means: Means, above: Sequence[int], below: Sequence[int]) -> tuple[float, Floats]:
    """Return the ratio, above / below, of two groups of methods' mean mu_w, and its draws."""

    def ratio(mu_w: Floats) -> Floats:
        result: Floats = mu_w[..., list(above)].mean(-1) / mu_w[..., list(below)].mean(-1)
        return result

    return float(ratio(means.mean)), ratio(means.draws)


def _farther(these: Compared, distance: Means, one: int, other: int) -> Condition:
    """Return the condition that one configuration's mu is farther from Pattern Attribution's than another's."""
    what = f"distance in mu from {these.study.methods[one]} less that from {these.study.methods[other]}"
    return these.condition(what, distance.mean, distance.draws, one, other)


def _cosines(study: Study, *methods: int) -> str:
    """Return how alike the maps of two classes are by method, where that is known."""
    cosine = study.cosines
    if not cosine.defined[list(methods)].all():
        return ""
    each = listed(f"{study.methods[k]} {shown(cosine, k, '.2f')}" for k in methods)
    return f"; cosine of two classes' maps: {each}"
