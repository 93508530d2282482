"""The paper's claims, put to the data at hand. What is found is reported, whichever way it falls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from relprop.study.results import BASELINE, Study
from relprop.study.statistics import HALF, SMALL, Bools, Floats, Means, interval

COMPOSITES = ("cmp-alpha1", "cmp-alpha2", "cmp-alpha1-flat", "cmp-alpha2-flat")
UNIFORM = ("lrp-z", "lrp-epsilon", "lrp-alpha1", "lrp-alpha2")
COMPARED = ("guided-backprop", "pattern-attribution", "gradient-x-input", BASELINE)
"""The paper's methods: its composites, one rule in every layer, and what it compares them with."""
SAME = 0.01
"""Two methods give the same results where mu differs by less than this on average."""
ALIKE = 0.25
"""Two methods behave alike where their mean mu_w are apart by no more than this share of what the methods span."""
CONVERGED = 0.5
"""Methods converge where their spread has shrunk to this share of what it was."""


@dataclass(frozen=True)
class Claim:
    """What became of a claim.

    Attributes:
        number: as in `docs/` and the report.
        text: what the paper says.
        held: whether the means say so too; None where this data cannot tell.
        figures: what was found, with 95 % intervals in brackets; or why it cannot be told.
    """

    number: int
    text: str
    held: bool | None
    figures: str


def claims(study: Study, other: Study | None = None) -> list[Claim]:
    """Test all eleven claims.

    Args:
        study: whose rows they are tested on.
        other: the same methods on a network of another depth, which the sixth claim needs.
    """
    alone = (occlusion, baseline, composing_beats_uniform, best_of_all, composing_matters_more)
    rest = (same_results, several_classes, pattern_attribution, convergence, contradiction)
    return [*(claim(study) for claim in alone), depth(study, other), *(claim(study) for claim in rest)]


def occlusion(study: Study) -> Claim:
    """Claim 1: the object matters more than its context, most where it is small."""
    text = "Occluding the object lowers the class's logit more than occluding the context, most for small objects."
    cases = study.occlusion
    gap = cases.delta[:, 0] - cases.delta[:, 1]
    columns = np.stack([gap, *(np.where(size, gap, np.nan) for size in (cases.share <= SMALL, cases.share > SMALL))], 1)
    means = study.resamples.means(columns, cases.picture)
    if not means.defined[0]:
        return Claim(1, text, None, "Nothing was occluded.")
    all_of_them, less, more = (_shown(means, k, "+.3f") for k in range(3))
    figures = f"Object less context, change of the logit: {all_of_them}"
    if not means.defined[1:].all():
        return Claim(1, text, bool(means.mean[0] < 0), f"{figures}; all objects are of one kind of size.")
    held = bool(means.mean[0] < 0 and means.mean[1] < means.mean[2])
    return Claim(1, text, held, f"{figures}; up to a quarter of the picture {less}, larger {more}.")


def baseline(study: Study) -> Claim:
    """Claim 2: every method beats the uniform map, whose mu_w is 1 whatever the boxes."""
    text = "Every method beats the uniform baseline."
    judged = [k for k in study.ranking if study.methods[k] != BASELINE and study.mu_w.defined[k]]
    if not judged:
        return Claim(2, text, None, "No method's mu_w is defined.")
    below = [k for k in judged if study.mu_w.mean[k] <= 1]
    figures = f"The lowest mean mu_w is {_named(study, judged[-1])}, against 1 of a uniform map"
    if below:
        figures += f"; not above it: {_listed(study.methods[k] for k in below)}"
    return Claim(2, text, not below, f"{figures}.")


def composing_beats_uniform(study: Study) -> Claim:
    """Claim 3: the lowest composite against the highest of the others."""
    text = "The composites beat the uniform configurations and Guided Backprop in mu_w."
    composites, rivals = _measured(study, COMPOSITES), _measured(study, (*UNIFORM, "guided-backprop"))
    if not composites or not rivals:
        return Claim(3, text, None, "It takes a composite and one of the others.")
    lowest, highest = composites[-1], rivals[0]
    found = f"The lowest composite is {_named(study, lowest)}, the highest of the others {_named(study, highest)}"
    gap = _difference(study, lowest, highest)
    return Claim(3, text, _above(study, lowest, highest), f"{found}; difference {_shown(gap, 0, '+.3f')}.")


def best_of_all(study: Study) -> Claim:
    """Claim 4: judged among the methods that the paper had; a better one that it had not is named."""
    text = "CMP:alpha2+flat is the best of all in mu_w."
    known = _measured(study, (*COMPOSITES, *UNIFORM, *COMPARED))
    champion = study.position("cmp-alpha2-flat")
    rivals = [k for k in known if k != champion]
    if champion not in known or not rivals:
        return Claim(4, text, None, "It takes cmp-alpha2-flat and another of the paper's methods.")
    gap = _difference(study, champion, rivals[0])
    figures = f"{_named(study, champion)}, the best of the paper's others {_named(study, rivals[0])}"
    figures += f"; difference {_shown(gap, 0, '+.3f')}"
    strangers = [k for k in study.ranking if k not in known and study.mu_w.mean[k] > study.mu_w.mean[champion]]
    if strangers:
        figures += f"; higher, though not in the paper: {_listed(_named(study, k) for k in strangers)}"
    return Claim(4, text, _above(study, champion, rivals[0]), f"{figures}.")


def composing_matters_more(study: Study) -> Claim:
    """Claim 5: mean over alpha of mu_w(CMP:alpha) - mu_w(LRP_alpha) against |mu_w(LRP_alpha2) - mu_w(LRP_alpha1)|."""
    text = "Composing matters more than tuning alpha."
    wanted = _exactly(study, ("cmp-alpha1", "cmp-alpha2", "lrp-alpha1", "lrp-alpha2"))
    if wanted is None:
        return Claim(5, text, None, "It takes cmp-alpha1, cmp-alpha2, lrp-alpha1 and lrp-alpha2.")

    def gains(mu_w: Floats) -> tuple[Floats, Floats]:
        composite1, composite2, uniform1, uniform2 = mu_w[..., wanted].T
        return (composite1 - uniform1 + composite2 - uniform2) / 2, np.abs(uniform2 - uniform1)

    (composing, tuning), draws = gains(study.mu_w.mean), gains(study.mu_w.draws)
    shown = [_number(float(value), draw, ".3f") for value, draw in zip((composing, tuning), draws, strict=True)]
    figures = f"Composing adds {shown[0]} to mu_w, tuning changes it by {shown[1]}."
    return Claim(5, text, bool(composing > tuning), figures)


def depth(study: Study, other: Study | None) -> Claim:
    """Claim 6: of what the composites gain over the baseline, LRP_z keeps less in the deeper network."""
    text = "LRP_z suffers in the deeper network (gradient shattering), the composites do not."
    if other is None:
        return Claim(6, text, None, "It takes the same methods on two networks, one deeper than the other.")
    layers = [study.depth, other.depth]
    if 0 in layers or layers[0] == layers[1]:
        return Claim(6, text, None, "The two networks' depths are the same or not known.")
    shallow, deep = (study, other) if layers[0] < layers[1] else (other, study)
    shares, leads = [], []
    for each in (shallow, deep):
        z, composites, uniform = (_measured(each, names) for names in (("lrp-z",), COMPOSITES, UNIFORM))
        if not z or not composites:
            return Claim(6, text, None, f"It takes lrp-z and a composite, which {each.name} lacks.")
        shares.append(_share_of_gain(each, z[0], composites))
        leads.append(_above(each, composites[0], uniform[0]))
    before, after = (value for value, _ in shares)
    shown = [_number(value, draws, ".2f") for value, draws in shares]
    figures = (
        f"LRP_z reaches {shown[0]} of the composites' gain over the baseline in {shallow.name} ({min(layers)} layers) "
        f"and {shown[1]} in {deep.name} ({max(layers)} layers), where the best composite "
        f"{'is' if leads[1] else 'is not'} above every uniform configuration."
    )
    return Claim(6, text, bool(after < before and leads[1]), figures)


def same_results(study: Study) -> Claim:
    """Claim 7: LRP_epsilon and LRP_z, map by map."""
    text = "LRP_epsilon and LRP_z give the same results."
    both = _exactly(study, ("lrp-epsilon", "lrp-z"))
    if both is None:
        return Claim(7, text, None, "It takes lrp-epsilon and lrp-z.")
    apart = _apart(study, *both)
    figures = f"mu differs by {_shown(apart, 0, '.4f')} on average (the same: below {SAME})"
    figures += f"; mean mu_w {_listed(_named(study, k) for k in both)}."
    return Claim(7, text, bool(apart.mean[0] < SAME), figures)


def several_classes(study: Study) -> Claim:
    """Claim 8: LRP_alpha,beta's maps of two classes are alike, and it falls behind where there are several."""
    text = "LRP_alpha,beta everywhere marks all objects shown, whichever class is asked."
    found = _exactly(study, ("cmp-alpha1", "cmp-alpha2", "lrp-alpha1", "lrp-alpha2"))
    if found is None:
        return Claim(8, text, None, "It takes cmp-alpha1, cmp-alpha2, lrp-alpha1 and lrp-alpha2.")
    cosine = study.resamples.means(study.pairs.cosine, study.pairs.picture)
    if not cosine.defined[found].all():
        return Claim(8, text, None, "No picture shows two classes whose maps could be compared.")
    composites, uniform = found[:2], found[2:]
    alike = all(cosine.mean[b] > cosine.mean[a] for a, b in zip(composites, uniform, strict=True))
    similar = _listed(f"{study.methods[k]} {_shown(cosine, k, '.2f')}" for k in (*uniform, *composites))
    figures = f"Cosine of two classes' maps: {similar}"
    one, several = (
        _relative(study, uniform, composites, shown) for shown in (study.rows.shown == 1, study.rows.shown > 1)
    )
    if not (np.isfinite(one[0]) and np.isfinite(several[0])):
        return Claim(8, text, alike, f"{figures}; there are no pictures of one class to compare with.")
    shown = [_number(value, draws, ".2f") for value, draws in (one, several)]
    figures += f"; of the composites' mu_w it reaches {shown[0]} on pictures of one class, {shown[1]} of several."
    return Claim(8, text, bool(alike and several[0] < one[0]), figures)


def pattern_attribution(study: Study) -> Claim:
    """Claim 9: in mean mu_w it is close to LRP_alpha1, and of all LRP configurations LRP_alpha1's mu is the nearest.

    Close is told by what the configurations and the baseline span, near map by map.
    """
    text = "Pattern Attribution behaves like LRP_alpha1."
    pattern, uniform = _measured(study, ("pattern-attribution",)), _measured(study, ("lrp-alpha1",))
    others = _measured(study, (*COMPOSITES, *UNIFORM))
    if not pattern or not uniform or len(others) < 2:
        return Claim(9, text, None, "It takes pattern-attribution, lrp-alpha1 and another configuration of LRP.")
    span = float(np.ptp([1.0, *study.mu_w.mean[others]]))  # of a uniform map mu_w is 1
    gap = _difference(study, pattern[0], uniform[0])
    share = abs(float(gap.mean[0])) / span if span else np.inf
    apart = {k: _apart(study, pattern[0], k) for k in others}
    nearest = min(others, key=lambda k: apart[k].mean[0])
    figures = (
        f"{_named(study, pattern[0])}, {_named(study, uniform[0])}; difference over what both define "
        f"{_shown(gap, 0, '+.3f')}, {share:.2f} of what the configurations and the baseline span (alike: up to "
        f"{ALIKE}); mu differs from lrp-alpha1's by {_shown(apart[uniform[0]], 0, '.3f')} on average"
    )
    if nearest != uniform[0]:
        figures += f", from {study.methods[nearest]}'s by only {_shown(apart[nearest], 0, '.3f')}"
    cosine = study.resamples.means(study.pairs.cosine, study.pairs.picture)
    if cosine.defined[[pattern[0], uniform[0]]].all():
        shown = [_shown(cosine, k, ".2f") for k in (pattern[0], uniform[0])]
        figures += f"; cosine of two classes' maps {shown[0]}, lrp-alpha1's {shown[1]}"
    return Claim(9, text, share <= ALIKE and nearest == uniform[0], f"{figures}.")


def convergence(study: Study) -> Claim:
    """Claim 10: how far apart the methods' mean mu are for large and for small objects, the baseline left out."""
    text = "For boxes over half of the picture all methods converge."
    methods = [k for k, name in enumerate(study.methods) if name != BASELINE]
    spreads = []
    for among in (study.rows.share < SMALL, study.rows.share > HALF):
        means = study.means("mu", among)
        judged = [k for k in methods if means.defined[k]]
        if len(judged) < 2:
            return Claim(
                10, text, None, "It takes two methods, and objects under a quarter and over half of the picture."
            )
        draws = np.ptp(means.draws[:, judged], axis=1)
        spreads.append((float(np.ptp(means.mean[judged])), draws))
    (small, _), (large, _) = spreads
    shown = [_number(value, draws, ".3f") for value, draws in spreads]
    figures = (
        f"From the lowest to the highest method, mean mu spans {shown[1]} over half of the picture and {shown[0]} "
        f"under a quarter: {large / small:.2f} of it (converged: up to {CONVERGED})."
        if small > 0
        else "All methods have the same mean mu under a quarter of the picture."
    )
    return Claim(10, text, large <= CONVERGED * small, figures)


def contradiction(study: Study) -> Claim:
    """Claim 11: negative relevance inside other classes' boxes, against what a uniform map would have there."""
    text = "Composites put negative relevance on what contradicts the class."
    inside, area = study.contradiction()
    share, even = study.over(inside), study.over(area)
    judged = [k for k in range(len(study.methods)) if study.methods[k] in COMPOSITES and share.defined[k]]
    if not judged:
        return Claim(11, text, None, "No picture shows another class, or no composite was measured.")
    excess = study.over(inside - area)
    found = _listed(
        f"{study.methods[k]} {share.mean[k]:.3f} on {even.mean[k]:.3f} of the area ({_shown(excess, k, '+.3f')})"
        for k in judged
    )
    held = all(excess.mean[k] > 0 for k in judged)
    return Claim(11, text, held, f"Share of negative relevance inside other classes' boxes: {found}.")


def _measured(study: Study, names: Sequence[str]) -> list[int]:
    """Return which of the methods have a mu_w, the highest first."""
    return [k for k in study.ranking if study.methods[k] in names and study.mu_w.defined[k]]


def _exactly(study: Study, names: Sequence[str]) -> list[int] | None:
    """Return the methods' positions in this order; None unless each has a mu_w."""
    found = _measured(study, names)
    return [study.methods.index(name) for name in names] if len(found) == len(names) else None


def _above(study: Study, one: int, other: int) -> bool:
    return bool(study.mu_w.mean[one] > study.mu_w.mean[other])


def _difference(study: Study, one: int, other: int) -> Means:
    """Return the mean of one method's mu_w less the other's, over what both define."""
    mu_w = study.rows.values["mu_w"]
    return study.over((mu_w[:, one] - mu_w[:, other])[:, None])


def _apart(study: Study, one: int, other: int) -> Means:
    """Return by how much two methods' mu differ on average, whatever the sign."""
    mu = study.rows.values["mu"]
    return study.over(np.abs(mu[:, one] - mu[:, other])[:, None])


def _share_of_gain(study: Study, one: int, others: Sequence[int]) -> tuple[float, Floats]:
    """Return one method's gain over the baseline as a share of the others' mean gain, and its draws."""

    def gain(mu_w: Floats) -> Floats:
        result: Floats = (mu_w[..., one] - 1) / (mu_w[..., list(others)].mean(-1) - 1)
        return result

    return float(gain(study.mu_w.mean)), gain(study.mu_w.draws)


def _relative(study: Study, above: Sequence[int], below: Sequence[int], among: Bools) -> tuple[float, Floats]:
    """Return the ratio, above / below, of two groups of methods' mean mu_w among some pairs, and its draws."""
    means = study.means("mu_w", among)

    def ratio(mu_w: Floats) -> Floats:
        result: Floats = mu_w[..., list(above)].mean(-1) / mu_w[..., list(below)].mean(-1)
        return result

    return float(ratio(means.mean)), ratio(means.draws)


def _shown(means: Means, k: int, form: str) -> str:
    return _number(float(means.mean[k]), means.draws[:, k], form)


def _number(value: float, draws: Floats, form: str) -> str:
    """Return ``"2.716 [2.651, 2.781]"``."""
    low, high = interval(draws)
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


def _named(study: Study, k: int) -> str:
    return f"{study.methods[k]} with {_shown(study.mu_w, k, '.3f')}"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)
