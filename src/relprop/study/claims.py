"""The paper's claims, put to the data at hand. What is found is reported, whichever way it falls."""

from __future__ import annotations

from collections.abc import Callable

from relprop.study import claims_likeness as likeness
from relprop.study import claims_objects as objects
from relprop.study import claims_ranking as ranking
from relprop.study.results import Study
from relprop.study.verdict import Claim, Found, NotMeasurable, Verdict

CLAIMS: dict[int, tuple[str, Callable[[Study, Study | None], Found]]] = {
    1: (
        "Occluding the object lowers the class's logit more than occluding the context, most for small objects.",
        lambda study, _: objects.occlusion(study),
    ),
    2: ("Every method beats the uniform baseline.", lambda study, _: ranking.baseline(study)),
    3: (
        "The composites beat the uniform configurations and Guided Backprop in mu_w.",
        lambda study, _: ranking.composites(study),
    ),
    4: ("CMP:alpha2+flat is the best of all in mu_w.", lambda study, _: ranking.best_of_all(study)),
    5: ("Composing matters more than tuning alpha.", lambda study, _: ranking.composing(study)),
    6: ("LRP_z suffers in the deeper network (gradient shattering), the composites do not.", ranking.depth),
    7: ("LRP_epsilon and LRP_z give the same results.", lambda study, _: likeness.same_results(study)),
    8: (
        "LRP_alpha,beta everywhere marks all objects shown, whichever class is asked.",
        lambda study, _: likeness.several_classes(study),
    ),
    9: ("Pattern Attribution behaves like LRP_alpha1.", lambda study, _: likeness.pattern_attribution(study)),
    10: (
        "For boxes over half of the picture all methods converge.",
        lambda study, _: likeness.convergence(study),
    ),
    11: (
        "Composites put negative relevance on what contradicts the class.",
        lambda study, _: objects.contradiction(study),
    ),
}
"""By number: what the paper says, and what looks for it in a study, and in one of a network of another depth."""


def claims(study: Study, other: Study | None = None) -> list[Claim]:
    """Test all eleven claims: each gets its verdict from an interval.

    Args:
        study: whose rows they are tested on.
        other: the same methods on a network of another depth, which the sixth claim needs.
    """
    return [_claim(number, study, other) for number in CLAIMS]


def _claim(number: int, study: Study, other: Study | None) -> Claim:
    text, look = CLAIMS[number]
    try:
        found = look(study, other)
    except NotMeasurable as why:
        return Claim(number, text, Verdict.NOT_MEASURABLE, str(why))
    decided = "; ".join(each.text for each in found.conditions)
    return Claim(number, text, found.verdict, f"{found.figures} Decided by: {decided}.", found.conditions)
