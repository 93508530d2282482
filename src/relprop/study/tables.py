"""The study's tables, each as Markdown, LaTeX and CSV with the same figures."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from relprop.study.paper import published
from relprop.study.results import Study
from relprop.study.schema import STATUSES
from relprop.study.statistics import HALF, SMALL, Bools, Estimate, mean_average_precision, top_hits
from relprop.study.verdict import MEANINGS, Claim

Cell = str | int | float | Estimate | None

UNKNOWN = "–"  # noqa: RUF001  (a dash, not a minus)
"""What stands where nothing is defined."""


@dataclass(frozen=True)
class Table:
    """A table before it is written in any format.

    Attributes:
        name: of its files.
        caption: what it shows.
        columns: their headings.
        rows: a cell per column; an `Estimate` is a mean with its interval.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def localisation(study: Study, among: Bools | None = None, name: str = "table1", of: str = "") -> Table:
    """Return the paper's Table I, by mean mu_w; where the data is the paper's, its figures stand beside ours.

    Means are over what each method defines. The order and the differences are over the pairs that all of them do.

    Args:
        study: what was measured.
        among: (P,) the pairs that count; None: all.
        name: of the table's files.
        of: what those pairs are, for the caption.
    """
    everything = np.ones(len(study.rows.picture), dtype=bool) if among is None else among
    small, half = (everything & (study.rows.share <= bound) for bound in (SMALL, HALF))
    common, order = study.common(among=everything), study.ranked(among)
    means = [study.means("mu_w", everything), *(study.means("mu", pairs) for pairs in (small, half, everything))]
    columns = [each.estimates() for each in (*means, study.means("mu_w", common))]
    behind = _behind(study, order, common)
    paper = published(study.data) if among is None else None
    printed = {row.method: (row.mu_w, row.small, row.half, row.mu) for row in paper.rows} if paper else {}
    rows: list[tuple[Cell, ...]] = []
    for k in order:
        *own, shared = (column[k] for column in columns)
        beside = printed.get(study.methods[k], (None,) * 4) if paper else ()
        rows.append((study.methods[k], *own, _count(own[0]), shared, behind[k], *beside))
    heads = ("mu_w", "mu <= 0.25", "mu <= 0.5", "mu")
    caption = (
        f"Localisation{of}: mean weighted ratio mu_w and mean inside-total ratio mu, over all objects and those up to "
        f"25 % and 50 % of the picture ({small.sum()} and {half.sum()} of {everything.sum()}), with 95 % bootstrap "
        "intervals over pictures; n, defined of all. " + _ranked(study, order, common, everything)
    )
    if len(study.indices) < study.planned:
        caption += f" Of an unfinished study: {study.extent}."
    if paper:
        caption += f" Paper: {paper.network}, Table I."
    beside_heads = tuple(f"paper {head}" for head in heads if paper)
    return Table(name, caption, ("method", *heads, "n", "mu_w common", "difference", *beside_heads), tuple(rows))


def by_sign(study: Study) -> list[Table]:
    """Return Table I of the pairs whose logit is positive, and of the others; none where there are no others."""
    negative = study.rows.logit <= 0
    if not negative.any():
        return []
    positive = study.rows.logit > 0
    apart = {"positive": (positive, ", logit positive"), "negative": (negative, ", logit negative or zero")}
    return [localisation(study, pairs, f"table1-{sign}", of) for sign, (pairs, of) in apart.items() if pairs.any()]


def secondary(study: Study) -> Table:
    """Return the localisation measures that the paper does not use, in the order of Table I."""
    names = ("pointing_game", "rank_accuracy", "top_k")
    columns = [study.means(name).estimates() for name in names]
    rows: list[tuple[Cell, ...]] = [
        (study.methods[k], *(column[k] for column in columns), _count(columns[0][k])) for k in study.ranking
    ]
    caption = (
        "Other measures of localisation: whether the most relevant pixel lies inside the boxes, and the share of the "
        "S_in and of the k most relevant pixels that do; means with 95 % intervals."
    )
    return Table("secondary", caption, ("method", "pointing game", "rank accuracy", "top k", "n"), tuple(rows))


def statuses(study: Study) -> Table:
    """Return how many measurements of each method ended how; statuses that never came up are left out."""
    because = study.nowhere_positive & (study.rows.logit < 0)[:, None]
    columns = {}
    for status in STATUSES:
        columns[status] = study.rows.status == status
        if status == "no_positive_relevance":  # beside the status that it is the reason of
            columns["of them, logit negative"] = because
    columns = {head: which for head, which in columns.items() if which.any()}
    rows: list[tuple[Cell, ...]] = [
        (study.methods[k], *(int(which[:, k].sum()) for which in columns.values())) for k in study.ranking
    ]
    meanings = "; ".join(f"{status}: {text}" for status, text in STATUSES.items() if status in columns)
    scaled = f"{study.predictions.rescaled} of {len(study.predictions.names)} pictures had another size than annotated"
    negative = " A negative logit is handed down as negative relevance." if because.any() else ""
    caption = f"What became of each measurement. {meanings}.{negative} {scaled}; their boxes were scaled."
    return Table("statuses", caption, ("method", *columns), tuple(rows))


def accuracy(study: Study) -> Table:
    """Return how good the model is on this data: the maps of a model that is wrong explain something else."""
    shown = study.predictions
    hits = study.resamples.means(top_hits(shown.top5, shown.targets), np.arange(len(shown.names)))
    rows: list[tuple[Cell, ...]] = [
        (what, estimate, _count(estimate)) for what, estimate in zip(("top-1", "top-5"), hits.estimates(), strict=True)
    ]
    classes = [str(name) for name in study.config.get("classes") or ()]
    seen = np.atleast_1d(np.isfinite(shown.scores).all(axis=1))
    if classes and shown.scores.shape[1] == len(classes) and seen.any():
        truth = _truth(shown.labels, classes)[seen]
        for what, eleven in (("mean AP", False), ("mean AP, 11 points", True)):
            value = mean_average_precision(shown.scores[seen], truth, eleven)
            rows.append((what, value, f"{np.count_nonzero(seen)}/{len(seen)}"))
    caption = (
        "The model on this data: the share of pictures whose highest output, or one of the five highest, is of a "
        "class shown, and the mean over classes of the average precision (VOC's since 2010, and VOC 2007's)."
    )
    return Table("accuracy", caption, ("measure", "value", "n"), tuple(rows))


def verdicts(claims: Sequence[Claim]) -> Table:
    """Return the paper's claims and what became of them."""
    rows = tuple((claim.number, claim.text, str(claim.verdict), claim.figures) for claim in claims)
    meanings = "; ".join(f"{verdict}: {text}" for verdict, text in MEANINGS.items())
    caption = f"The paper's claims on this data. {meanings}."
    return Table("claims", caption, ("claim", "text", "found", "figures"), rows)


def problems(study: Study) -> Table:
    """Return the pictures with which something went wrong."""
    shown = study.predictions
    rows = tuple((name, text) for name, text in zip(shown.names, shown.problems, strict=True) if text)
    return Table("problems", "Pictures with a problem.", ("picture", "problem"), rows)


def markdown(table: Table) -> str:
    """Return a table in GitHub's Markdown, its caption below."""
    lines = [table.columns, ["---"] * len(table.columns), *([text(cell) for cell in row] for row in table.rows)]
    escaped = (" | ".join(word.replace("|", "\\|") for word in line) for line in lines)
    return "\n".join(f"| {line} |" for line in escaped) + f"\n\n{table.caption}\n"


def latex(table: Table) -> str:
    r"""Return a table as a LaTeX document of its own; with `\usepackage{standalone}` it can be `\input` too."""
    prose = {
        column for row in table.rows for column, cell in enumerate(row) if isinstance(cell, str) and len(cell) > 40
    }
    layout = "".join("p{6cm}" if k in prose else "l" if k == 0 else "r" for k in range(len(table.columns)))
    lines = [" & ".join(map(_tex, line)) + r" \\" for line in (table.columns, *(map(text, row) for row in table.rows))]
    return "\n".join(
        [
            *(f"% {sentence}" for sentence in re.split(r"(?<=\.) ", table.caption)),
            r"\documentclass[border=6pt]{standalone}",
            r"\usepackage{booktabs}",
            r"\begin{document}",
            rf"\begin{{tabular}}{{@{{}}{layout}@{{}}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{document}",
            "",
        ]
    )


def comma_separated(table: Table) -> str:
    """Return a table as CSV in full precision: of an estimate its mean, low, high, defined and total."""
    wide = {k for row in table.rows for k, cell in enumerate(row) if isinstance(cell, Estimate)}
    parts = ("", " low", " high", " defined", " total")
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(name + part for k, name in enumerate(table.columns) for part in (parts if k in wide else ("",)))
    for row in table.rows:
        writer.writerow(
            value for k, cell in enumerate(row) for value in (_spread(cell) if k in wide else [_plain(cell)])
        )
    return buffer.getvalue()


FORMATS: dict[str, Callable[[Table], str]] = {"md": markdown, "tex": latex, "csv": comma_separated}
"""By a file's ending, what writes it."""


def text(cell: Cell) -> str:
    """Return a cell as people read it: three digits, as the paper has them."""
    if isinstance(cell, Estimate):
        interval = "" if math.isnan(cell.low) else f" [{cell.low:.3f}, {cell.high:.3f}]"
        return UNKNOWN if math.isnan(cell.mean) else f"{cell.mean:.3f}{interval}"
    if isinstance(cell, float):
        return UNKNOWN if math.isnan(cell) else f"{cell:.3f}"
    return UNKNOWN if cell is None else str(cell)


def _behind(study: Study, order: Sequence[int], common: Bools) -> list[Estimate | None]:
    """Return by method the mean of its mu_w less the best method's, over what all define; None for the best."""
    if not order:
        return []
    best, mu_w = order[0], study.rows.values["mu_w"]
    gaps = study.over(mu_w - mu_w[:, [best]], common).estimates()
    return [None if k == best else gap for k, gap in enumerate(gaps)]


def _ranked(study: Study, order: Sequence[int], common: Bools, among: Bools) -> str:
    """Say over which pairs the methods are ranked, and why the others are not among them."""
    if not order:
        return "Nothing was measured."
    text = (
        f"Order and mu_w common are over the {common.sum()} of {among.sum()} pairs that all methods define; "
        f"difference, of these from {study.methods[order[0]]}'s."
    )
    nowhere = study.nowhere_positive & among[:, None]
    if nowhere.any():
        because = (nowhere & (study.rows.logit < 0)[:, None]).sum()
        text += f" Of {nowhere.sum()} maps that are nowhere positive {because} explain a negative logit."
    return text


def _truth(labels: Sequence[Sequence[str]], classes: Sequence[str]) -> Bools:
    """Return (pictures, classes): which of the classes each picture shows."""
    position = {name: k for k, name in enumerate(classes)}
    truth = np.zeros((len(labels), len(classes)), dtype=bool)
    for row, shown in zip(truth, labels, strict=True):
        row[[position[name] for name in shown if name in position]] = True
    return truth


def _count(estimate: Estimate) -> str:
    return f"{estimate.defined}/{estimate.total}"


def _plain(cell: Cell) -> str | int | float:
    return "" if cell is None or (isinstance(cell, float) and math.isnan(cell)) else cell  # type: ignore[return-value]


def _spread(cell: Cell) -> list[str | int | float]:
    """Return the five fields of an estimate; of another value the value and four empty ones."""
    if not isinstance(cell, Estimate):
        return [_plain(cell), "", "", "", ""]
    return [_plain(cell.mean), _plain(cell.low), _plain(cell.high), cell.defined, cell.total]


def _tex(word: str) -> str:
    """Escape a cell; names of ours with a subscript or a bound become mathematics."""
    known = {"mu_w": r"$\mu_w$", "mu": r"$\mu$", "mu <= 0.25": r"$\mu_{\le 0.25}$", "mu <= 0.5": r"$\mu_{\le 0.5}$"}
    if word.removeprefix("paper ") in known:
        return ("paper " if word.startswith("paper ") else "") + known[word.removeprefix("paper ")]
    escapes = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", UNKNOWN: "--"}
    escapes |= {sign: f"\\{sign}" for sign in "&%$#_{}"} | {"<": r"$<$", ">": r"$>$"}
    return "".join(escapes.get(sign, sign) for sign in word)
