"""The top of the report's page: two sentences of figures, and the paper's claims and figures beside ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from relprop.plots import page
from relprop.study.compared import shown
from relprop.study.paper import TABLE_1, margins
from relprop.study.results import Study
from relprop.study.tables import UNKNOWN, text
from relprop.study.tables_logit import median_on_pixels
from relprop.study.verdict import MEANINGS, Claim, Verdict

CHAMPION = "cmp-alpha2-flat"
DATA = {"voc2007": "VOC 2007", "imagenet": "ImageNet"}
_WORDS = {
    Verdict.HELD: "held",
    Verdict.NOT_HELD: "did not",
    Verdict.UNDECIDED: "stayed undecided",
    Verdict.NOT_MEASURABLE: "could not be measured",
}
_SAYS_SO = "says so"
"""What stands in the paper's columns where its tables have no figure."""


def blocks(studies: Mapping[str, Study], found: Mapping[str, Sequence[Claim]]) -> list[page.Block]:
    """Return the abstract: what was found in two sentences, the matrix of claims, and the paper's mu_w beside ours.

    Args:
        studies: by name.
        found: their claims, likewise.
    """
    called = _called(studies)
    result: list[page.Block] = [
        page.Paragraph(f"{_leaders(studies, called)} {_verdicts(studies, found, called)}"),
        _matrix(found, called),
    ]
    beside = _beside(studies, called)
    return [*result, beside] if beside else result


def _called(studies: Mapping[str, Study]) -> dict[str, str]:
    """Return what each study is called in a narrow column: its network, where no other study is of that."""
    models = Counter(study.model for study in studies.values())
    return {name: study.model if study.model and models[study.model] == 1 else name for name, study in studies.items()}


def _leaders(studies: Mapping[str, Study], called: Mapping[str, str]) -> str:
    """Say which method localises best on each network, beside the paper."""
    best = []
    for name, study in studies.items():
        if not study.mu_w.defined.any():
            best.append(f"on {called[name]} no mu_w is defined")
            continue
        means, first = study.shared_mu_w, study.ranking[0]
        figures = shown(means, first, ".2f")
        champion = study.position(CHAMPION)
        if champion not in (None, first):
            figures += f"; {CHAMPION} {shown(means, champion, '.2f')}"
        best.append(f"on {called[name]} {study.methods[first]} has the highest mean mu_w ({figures})")
    paper = _and(f"{row.network} ({row.rows[0].mu_w:.2f})" for row in TABLE_1.values())
    sentence = f"{_and(best)}, where the paper found {CHAMPION} first with {paper}."
    return sentence[0].upper() + sentence[1:]


def _verdicts(studies: Mapping[str, Study], found: Mapping[str, Sequence[Claim]], called: Mapping[str, str]) -> str:
    """Say how many claims became what on each network, and how much of the logit the maps hold."""
    parts = []
    for name, claims in found.items():
        number = Counter(claim.verdict for claim in claims)
        each = _and(f"{number[verdict]} {words}" for verdict, words in _WORDS.items() if number[verdict])
        share = median_on_pixels(studies[name], CHAMPION)
        lies = (
            f" ({100 * share:.0f} % of the logit lies on pixels under {CHAMPION}, median)" if np.isfinite(share) else ""
        )
        parts.append(f"{each} on {called[name]}{lies}")
    return f"Of the paper's eleven claims {'; '.join(parts)}."


def _matrix(found: Mapping[str, Sequence[Claim]], called: Mapping[str, str]) -> page.Matrix:
    """Return the claims by the paper's two experiments and each of ours."""
    theirs = {data: margins(experiment) for data, experiment in TABLE_1.items()}
    ours = list(found.values())
    rows = [
        (
            claim.number,
            claim.text,
            [
                *(("", _margin(claim.number, each)) for each in theirs.values()),
                *((str(claims[row].verdict), _deciding(claims[row])) for claims in ours),
            ],
        )
        for row, claim in enumerate(ours[0])
    ]
    heads = [f"paper: {experiment.network}, {DATA[data]}" for data, experiment in TABLE_1.items()]
    meanings = "; ".join(f"{verdict}: {meaning}" for verdict, meaning in MEANINGS.items())
    caption = (
        "The paper's claims, with the number that decides each and its 95 % interval, and the same number from the "
        "paper's Table I where that has it (claim 2: the lowest mu_w, to be above 1; 3 to 5: a difference of mu_w, to "
        f"be above 0). {meanings[0].upper()}{meanings[1:]}. What the numbers are is said with each study's claims."
    )
    return page.Matrix(["claim", *heads, *called.values()], rows, caption)


def _margin(number: int, known: Mapping[int, float]) -> str:
    if number not in known:
        return _SAYS_SO
    return f"{known[number]:.3f}" if number == 2 else f"{known[number]:+.3f}"


def _deciding(claim: Claim) -> str:
    """Return the number of the condition that the verdict is from, the first of those alike."""
    same = (each.number for each in claim.decided_by if each.verdict is claim.verdict and np.isfinite(each.value))
    return next(same, "")


def _beside(studies: Mapping[str, Study], called: Mapping[str, str]) -> page.Table | None:
    """Return mean mu_w of the paper's methods, its figures and ours; None where none of them was measured."""
    printed = [{row.method: row.mu_w for row in experiment.rows} for experiment in TABLE_1.values()]
    measured = {name: study.shared_mu_w for name, study in studies.items()}
    rows = []
    for method in printed[0]:
        ours = []
        for name, study in studies.items():
            k = study.position(method)
            ours.append(UNKNOWN if k is None or not measured[name].defined[k] else shown(measured[name], k, ".3f"))
        if any(cell != UNKNOWN for cell in ours):
            rows.append([method, *(text(each.get(method)) for each in printed), *ours])
    heads = [f"paper: {experiment.network}" for experiment in TABLE_1.values()]
    caption = (
        "Mean mu_w, the paper's and ours, in the paper's order; ours over the pairs that all methods define. Other "
        "data has other boxes, so the order is to be compared, not the figures."
    )
    return page.Table(["method", *heads, *called.values()], rows, caption) if rows else None


def _and(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
