"""The study's tables, each as Markdown, LaTeX and CSV with the same figures."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from relprop.study.accuracy import mean_average_precisions, top_hits
from relprop.study.arranged import Predictions, Rows
from relprop.study.blocks import columns as whole_columns
from relprop.study.paper import published
from relprop.study.results import Study, Which, everything
from relprop.study.schema import STATUSES
from relprop.study.statistics import HALF, SMALL, Bools, Estimate, Floats, Ints
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


def localisation(study: Study, among: Which | None = None, name: str = "table1", of: str = "") -> Table:
    """Return the paper's Table I, by mean mu_w; where the data is the paper's, its figures stand beside ours.

    Means are over what each method defines. The order and the differences are over the pairs that all of them do.

    Args:
        study: what was measured.
        among: the pairs that count; None: all.
        name: of the table's files.
        of: what those pairs are, for the caption.
    """
    these = among or everything
    small, half = (_up_to(bound, these) for bound in (SMALL, HALF))
    common, order = study.common(among=among), study.ranked(among)
    means = [study.means("mu_w", these), *(study.means("mu", pairs) for pairs in (small, half, these))]
    columns = [each.estimates() for each in (*means, study.means("mu_w", common))]
    numbers = study.count(lambda rows: np.stack([pairs(rows) for pairs in (small, half, these)], 1))
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
        f"25 % and 50 % of the picture ({numbers[0]} and {numbers[1]} of {numbers[2]}), with 95 % bootstrap "
        "intervals over pictures; n, defined of all. " + _ranked(study, order, common, these)
    )
    if len(study.indices) < study.planned:
        caption += f" Of an unfinished study: {study.extent}."
    if paper:
        caption += f" Paper: {paper.network}, Table I."
    beside_heads = tuple(f"paper {head}" for head in heads if paper)
    return Table(name, caption, ("method", *heads, "n", "mu_w common", "difference", *beside_heads), tuple(rows))


def by_sign(study: Study) -> list[Table]:
    """Return Table I of the pairs whose logit is positive, and of the others; none where there are no others."""

    def positive(rows: Rows) -> Bools:
        return rows.logit > 0

    def negative(rows: Rows) -> Bools:
        return rows.logit <= 0

    if not study.count(negative):
        return []
    apart: dict[str, tuple[Which, str]] = {
        "positive": (positive, ", logit positive"),
        "negative": (negative, ", logit negative or zero"),
    }
    there = {sign: each for sign, each in apart.items() if study.count(each[0])}
    return [localisation(study, pairs, f"table1-{sign}", of) for sign, (pairs, of) in there.items()]


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
    heads = list(STATUSES)
    heads.insert(heads.index("no_positive_relevance") + 1, _BECAUSE)  # beside the status that it is the reason of

    def found(rows: Rows) -> Bools:
        return np.stack([_because(rows) if head == _BECAUSE else rows.are(head) for head in heads], 1)

    columns = {head: number for head, number in zip(heads, study.count(found), strict=True) if number.any()}
    rows: list[tuple[Cell, ...]] = [
        (study.methods[k], *(int(number[k]) for number in columns.values())) for k in study.ranking
    ]
    meanings = "; ".join(f"{status}: {text}" for status, text in STATUSES.items() if status in columns)
    sizes = [(block.rescaled, len(block.names)) for block in study.prediction_blocks]
    scaled = "{} of {} pictures had another size than annotated".format(*map(sum, zip(*sizes, strict=True)))
    negative = " A negative logit is handed down as negative relevance." if _BECAUSE in columns else ""
    caption = f"What became of each measurement. {meanings}.{negative} {scaled}; their boxes were scaled."
    return Table("statuses", caption, ("method", *columns), tuple(rows))


def accuracy(study: Study) -> Table:
    """Return how good the model is on this data: the maps of a model that is wrong explain something else."""

    def top(shown: Predictions) -> tuple[Floats, Ints, None]:
        return top_hits(shown.top5, shown.targets), shown.picture, None

    hits = study.resamples.over(study.prediction_blocks.each(top))
    rows: list[tuple[Cell, ...]] = [
        (what, estimate, _count(estimate)) for what, estimate in zip(("top-1", "top-5"), hits.estimates(), strict=True)
    ]
    classes = [str(name) for name in study.config.get("classes") or ()]
    known = [(len(scores), len(_seen(scores)), scores.shape[1]) for scores in study.prediction_blocks.each(_scores)]
    pictures, seen = (sum(each[k] for each in known) for k in range(2))
    if classes and seen and {width for *_, width in known} == {len(classes)}:
        scores = whole_columns(study.prediction_blocks.each(lambda shown: _seen(shown.scores)))
        truth = whole_columns(study.prediction_blocks.each(lambda shown: _truth(shown, classes)))
        values = mean_average_precisions(zip(scores, truth, strict=True))
        for what, value in zip(("mean AP", "mean AP, 11 points"), values, strict=True):
            rows.append((what, value, f"{seen}/{pictures}"))
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
    told = (pair for shown in study.prediction_blocks for pair in zip(shown.names, shown.problems, strict=True))
    rows = tuple((name, text) for name, text in told if text)
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
    lines = [
        _no_argument(" & ".join(map(_tex, line))) + r" \\"
        for line in (table.columns, *(map(text, row) for row in table.rows))
    ]
    return "\n".join(
        [
            r"% To \input this in a document of your own: \usepackage{standalone,booktabs} in its preamble.",
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


_BECAUSE = "of them, logit negative"


def _because(rows: Rows) -> Bools:
    """Return of which maps that are nowhere positive that is the reason, (P, M)."""
    found: Bools = rows.nowhere_positive & (rows.logit < 0)[:, None]
    return found


def _up_to(bound: float, among: Which) -> Which:
    """Return of some pairs those whose boxes have no more than this share of the picture."""

    def which(rows: Rows) -> Bools:
        return among(rows) & (rows.share <= bound)

    return which


def _behind(study: Study, order: Sequence[int], common: Which) -> list[Estimate | None]:
    """Return by method the mean of its mu_w less the best method's, over what all define; None for the best."""
    if not order:
        return []
    best = order[0]
    gaps = study.over(lambda rows: rows.values["mu_w"] - rows.values["mu_w"][:, [best]], common).estimates()
    return [None if k == best else gap for k, gap in enumerate(gaps)]


def _ranked(study: Study, order: Sequence[int], common: Which, among: Which) -> str:
    """Say over which pairs the methods are ranked, and why the others are not among them."""
    if not order:
        return "Nothing was measured."

    def numbers(rows: Rows) -> Ints:
        of = among(rows)
        maps = (rows.nowhere_positive & of[:, None]).sum(1), (_because(rows) & of[:, None]).sum(1)
        return np.stack([common(rows), of, *maps], 1)

    both, pairs, nowhere, because = study.count(numbers)
    text = (
        f"Order and mu_w common are over the {both} of {pairs} pairs that all methods define; "
        f"difference, of these from {study.methods[order[0]]}'s."
    )
    if nowhere:
        text += f" Of {nowhere} maps that are nowhere positive {because} explain a negative logit."
    return text


def _scores(shown: Predictions) -> NDArray[np.float32]:
    return shown.scores


def _seen(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the scores of those pictures that the model saw."""
    return scores[np.isfinite(scores).all(axis=1)]


def _truth(shown: Predictions, classes: Sequence[str]) -> Bools:
    """Return of the same pictures, (n, classes), which of the classes each shows."""
    position = {name: k for k, name in enumerate(classes)}
    truth = np.zeros((len(shown.labels), len(classes)), dtype=bool)
    for row, names in zip(truth, shown.labels, strict=True):
        row[[position[name] for name in names if name in position]] = True
    return truth[np.isfinite(shown.scores).all(axis=1)]


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
    before, after = ("paper " if word.startswith("paper ") else ""), (" common" if word.endswith(" common") else "")
    if (name := word.removeprefix(before).removesuffix(after)) in known:
        return f"{before}{known[name]}{after}"
    escapes = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", UNKNOWN: "--"}
    escapes |= {sign: f"\\{sign}" for sign in "&%$#_{}"} | {"<": r"$<$", ">": r"$>$", "\N{MINUS SIGN}": "$-$"}
    escaped = "".join(escapes.get(sign, sign) for sign in word)
    return re.sub(r"(?<![\w.-])-\d[\d.]*\d|(?<![\w.-])-\d", r"$\g<0>$", escaped)  # a minus, not a hyphen


def _no_argument(line: str) -> str:
    r"""Keep what a row begins with from being read as an argument of the ``\\`` before it."""
    return f"{{}}{line}" if line.startswith(("[", "*")) else line
