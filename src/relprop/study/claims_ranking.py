"""Claims 2 to 6: which methods beat which in mu_w, and whether depth changes that."""

from __future__ import annotations

import numpy as np

from relprop.study.compared import ALSO, COMPOSITES, RIVALS, UNIFORM, Compared, compared, listed, shown
from relprop.study.results import BASELINE, Study
from relprop.study.statistics import Floats
from relprop.study.verdict import Found, NotMeasurable, Verdict, closest, condition, spread


def baseline(study: Study) -> Found:
    """Claim 2, of every method that was measured: of a uniform map mu_w is 1, whatever the boxes."""
    judged = [k for k in study.ranking if study.methods[k] != BASELINE and study.mu_w.defined[k]]
    if not judged:
        raise NotMeasurable("No method's mu_w is defined.")
    each = {
        k: condition(
            f"mu_w of {study.methods[k]}",
            study.mu_w.mean[k],
            study.mu_w.draws[:, k],
            study.mu_w.pictures[k],
            bound=1,
            form=".3f",
        )
        for k in judged
    }
    figures = f"{len(judged)} methods beside the baseline, whose mu_w is 1"
    below = [k for k in judged if each[k].verdict is Verdict.NOT_HELD]
    if below:
        figures += f"; below it: {listed(study.methods[k] for k in below)}"
    unmeasured = [name for name in (*COMPOSITES, *RIVALS) if name not in study.methods]
    if unmeasured:
        figures += f"; of the paper's not measured: {listed(unmeasured)}"
    return Found(f"{figures}.", (closest([*each.values()]),))


def composites(study: Study) -> Found:
    """Claim 3: each of the composites against each of the others."""
    these = compared(study, (*COMPOSITES, *RIVALS))
    ours, theirs = these.of(COMPOSITES), these.of(RIVALS)
    figures = f"The lowest composite is {these.named(ours[-1])}, the highest of the others {these.named(theirs[0])}"
    gaps = [these.gap(one, other) for one in ours for other in theirs]
    return Found(f"{figures} ({these.extent} that all define).", (closest(gaps),))


def best_of_all(study: Study) -> Found:
    """Claim 4: judged among the methods that the paper had; a better one that it had not is named."""
    these = compared(study, (*COMPOSITES, *RIVALS), ALSO)
    champion = study.methods.index("cmp-alpha2-flat")
    rivals = [k for k in these.of(study.methods) if k != champion]
    figures = f"{these.named(champion)}, the best of the paper's others {these.named(rivals[0])} ({these.extent})"
    strangers = [k for k in study.ranking if k not in these.positions and _higher(study, k, champion)]
    if strangers:
        higher = listed(f"{study.methods[k]} with {shown(study.mu_w, k, '.3f')}" for k in strangers)
        figures += f"; higher, though not in the paper: {higher}"
    return Found(f"{figures}.", (closest([these.gap(champion, k) for k in rivals]),))


def composing(study: Study) -> Found:
    """Claim 5: mean over alpha of mu_w(CMP:alpha) - mu_w(LRP_alpha) against |mu_w(LRP_alpha2) - mu_w(LRP_alpha1)|."""
    these = compared(study, ("cmp-alpha1", "cmp-alpha2", "lrp-alpha1", "lrp-alpha2"))

    def gains(mu_w: Floats) -> tuple[Floats, Floats]:
        composite1, composite2, uniform1, uniform2 = mu_w[..., list(these.positions)].T
        return (composite1 - uniform1 + composite2 - uniform2) / 2, np.abs(uniform2 - uniform1)

    (adds, changes), draws = gains(these.mu_w.mean), gains(these.mu_w.draws)
    told = [spread(float(value), draw, ".3f") for value, draw in zip((adds, changes), draws, strict=True)]
    figures = f"Composing adds {told[0]} to mu_w, tuning changes it by {told[1]} ({these.extent})."
    what = "what composing adds less what tuning changes"
    return Found(figures, (condition(what, float(adds - changes), draws[0] - draws[1], these.pictures),))


def depth(study: Study, other: Study | None) -> Found:
    """Claim 6: of what the composites gain over the baseline, LRP_z keeps less in the deeper network."""
    if other is None:
        raise NotMeasurable("It takes the same methods on two networks, one deeper than the other.")
    layers = [study.depth, other.depth]
    if 0 in layers or layers[0] == layers[1]:
        raise NotMeasurable("The two networks' depths are the same or not known.")
    both = (study, other) if layers[0] < layers[1] else (other, study)
    shallow, deep = (_in_network(each) for each in both)
    (before, then), (after, now) = (_share_of_gain(each) for each in (shallow, deep))
    told = [spread(value, draws, ".2f") for value, draws in ((before, then), (after, now))]
    best, uniform = deep.of(COMPOSITES)[0], deep.of(UNIFORM)
    figures = (
        f"LRP_z reaches {told[0]} of the composites' gain over the baseline in {both[0].name} ({min(layers)} layers) "
        f"and {told[1]} in {both[1].name} ({max(layers)} layers), where the best composite is {deep.named(best)}."
    )
    lost = condition(
        "LRP_z's share in the shallower network less that in the deeper",
        before - after,
        then - now,
        min(shallow.pictures, deep.pictures),
        form="+.2f",
    )
    return Found(figures, (lost, closest([deep.gap(best, k) for k in uniform])))


def _in_network(study: Study) -> Compared:
    try:
        return compared(study, (*COMPOSITES, *UNIFORM))
    except NotMeasurable as why:
        raise NotMeasurable(f"{study.name}: {why}") from None


def _share_of_gain(these: Compared) -> tuple[float, Floats]:
    """Return LRP_z's gain over the baseline as a share of the composites' mean gain, and its draws."""
    z, ours = these.of(("lrp-z",))[0], these.of(COMPOSITES)

    def gain(mu_w: Floats) -> Floats:
        result: Floats = (mu_w[..., z] - 1) / (mu_w[..., ours].mean(-1) - 1)
        return result

    return float(gain(these.mu_w.mean)), gain(these.mu_w.draws)


def _higher(study: Study, one: int, other: int) -> bool:
    """Whether one method's mean mu_w is above another's, over what both define."""
    mean = study.means("mu_w", study.common((one, other))).mean
    return bool(mean[one] > mean[other])
