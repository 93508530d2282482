"""Claims 1 and 11: what the object does to the logit, and what speaks against its class."""

from __future__ import annotations

import numpy as np

from relprop.study.arranged import Occlusion, Rows
from relprop.study.compared import COMPOSITES, listed, shown
from relprop.study.results import Study
from relprop.study.statistics import SMALL, Floats, Ints
from relprop.study.verdict import Found, NotMeasurable, absent, closest, condition


def occlusion(study: Study) -> Found:
    """Claim 1: the object matters more than its context, most where it is small."""

    def gaps(cases: Occlusion) -> tuple[Floats, Ints, None]:
        gap = cases.delta[:, 0] - cases.delta[:, 1]
        sizes = cases.share <= SMALL, cases.share > SMALL
        return np.stack([gap, *(np.where(size, gap, np.nan) for size in sizes)], 1), cases.picture, None

    means = study.resamples.over(study.occlusion_blocks.each(gaps))
    if not means.defined[0]:
        raise NotMeasurable("Nothing was occluded.")
    all_of_them, less, more = (shown(means, k, "+.3f") for k in range(3))
    figures = f"Object less context, change of the logit: {all_of_them}"
    lower = condition("object less context", means.mean[0], means.draws[:, 0], means.pictures[0], below=True)
    what = "that of objects up to a quarter of the picture less that of larger ones"
    if not means.defined[1:].all():
        return Found(f"{figures}; all objects are of one kind of size.", (lower, absent(what)))
    most = condition(
        what,
        means.mean[1] - means.mean[2],
        means.draws[:, 1] - means.draws[:, 2],
        means.pictures[1:].min(),
        below=True,
    )
    return Found(f"{figures}; up to a quarter of the picture {less}, larger {more}.", (lower, most))


def contradiction(study: Study) -> Found:
    """Claim 11: negative relevance inside other classes' boxes, against what a uniform map would have there."""
    absent_ones = [name for name in COMPOSITES if name not in study.methods]
    if absent_ones:
        raise NotMeasurable(f"Not measured: {listed(absent_ones)}.")
    share, even = study.over(Rows.contradicting), study.over(Rows.contradicted)
    excess = study.over(lambda rows: rows.contradicting() - rows.contradicted())
    judged = [k for k in range(len(study.methods)) if study.methods[k] in COMPOSITES and share.defined[k]]
    if not judged:
        raise NotMeasurable("No picture shows another class, or no composite has negative relevance.")
    found = listed(
        f"{study.methods[k]} {share.mean[k]:.3f} on {even.mean[k]:.3f} of the area ({shown(excess, k, '+.3f')}, "
        f"n {excess.defined[k]})"
        for k in judged
    )
    each = [
        condition(
            f"that share less the area's, of {study.methods[k]}",
            excess.mean[k],
            excess.draws[:, k],
            excess.pictures[k],
        )
        for k in judged
    ]
    return Found(f"Share of negative relevance inside other classes' boxes: {found}.", (closest(each),))
