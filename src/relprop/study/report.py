"""From rows to what people read: tables, figures, and one page that holds them all."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from relprop.plots import curves, dots, page
from relprop.plots.heatmaps import render
from relprop.study import abstract, tables, tables_logit
from relprop.study.arranged import Occlusion, Rows
from relprop.study.blocks import Each
from relprop.study.claims import claims
from relprop.study.files import StudyError
from relprop.study.measure_tables import tables_of_measures
from relprop.study.results import BASELINE, Study, read_study
from relprop.study.statistics import BINS, ENOUGH, Floats, Ints, Means, binned, deviations, merged, stops
from relprop.study.verdict import Claim
from relprop.support.errors import InputError
from relprop.support.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = "report.html"
LONGEST = 50
"""So many rows of a table are on the page; the files have all."""
GRIDS = "grids"
"""The folder, in that of the report, whose PNG files are shown on the page; one leads to the HTML file of its name."""


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        page: the page that holds everything.
        files: all files, the page last.
        claims: by study, what became of the paper's claims.
        unfinished: how far the studies are of which pictures are not there yet, by study.
    """

    page: Path
    files: list[Path]
    claims: dict[str, list[Claim]]
    unfinished: dict[str, str]


@dataclass(frozen=True)
class Drawing:
    """A figure with the name of its files and what to say below it."""

    name: str
    title: str
    caption: str
    figure: Figure

    @cached_property
    def images(self) -> dict[str, bytes]:
        """The files' contents by kind."""
        return {kind: render(self.figure, kind) for kind in ("png", "svg")}


def report(folders: Path | Sequence[Path], out: Path, by: str | None = None) -> Report:
    """Write tables (Markdown, LaTeX, CSV), figures (PNG, SVG) and the page.

    Each file is whole or absent, and the page is written last. With several studies, each has a folder of
    its own in `out`. PNG files that stand in ``out/grids`` are shown on the page.

    Args:
        folders: a study's folder, or several.
        out: where to; files of an earlier report are replaced.
        by: ``"sign"``: the page shows Table I of positive and of other logits too, which is always among the files.

    Raises:
        InputError: Table I cannot be split by that.
        StudyError: a folder holds no study, or nothing is measured yet.
        WriteError: `out` cannot be written to.
    """
    folders = [folders] if isinstance(folders, Path) else list(folders)
    if by not in (None, "sign"):
        raise InputError(f"Table I is split by sign, the logit's, not by {by!r}; give sign, or leave it out")
    if not folders:
        raise StudyError("no study to report on; name a study's folder")
    studies = _named_apart([read_study(folder) for folder in folders])
    written: list[Path] = []
    found: dict[str, list[Claim]] = {}
    sections: list[page.Section] = []
    for name, study in studies.items():
        found[name] = claims(study, _other(study, list(studies.values())))
        listed, drawn = _tables(study, found[name]), list(drawings(study))
        written += _write(out / name if len(studies) > 1 else out, listed, drawn)
        blocks = _results(study, found[name], listed, drawn, split=by == "sign")
        sections.append(page.Section(name if len(studies) > 1 else "Results", blocks))
    sections.insert(0, page.Section("Abstract", abstract.blocks(studies, found)))
    sections += _grids(out / GRIDS)
    sections.append(page.Section("Configuration", [_configuration(study) for study in studies.values()]))
    lead = "Localisation of Layer-wise Relevance Propagation and other methods, after Kohlbrenner et al. 2020."
    write_whole(out / PAGE, page.page("Which explanation finds the object?", lead, sections).encode())
    unfinished = {name: study.extent for name, study in studies.items() if len(study.indices) < study.planned}
    return Report(out / PAGE, [*written, out / PAGE], found, unfinished)


def _grids(folder: Path) -> list[page.Section]:
    """Return the page's section of heat maps; none where there is no picture."""
    titles = {path: path.stem.replace("_", " ").replace("-", " ") for path in sorted(folder.glob("*.png"))}
    shown = [
        page.Figure(path.read_bytes(), "png", f"Heat maps: {title}", title, _closer(path))
        for path, title in titles.items()
    ]
    rows = (
        "A row per class that a picture shows, its boxes framed: the picture, then a column per method with mu_w under "
        "each map. Lettered columns are those of the paper's figure."
    )
    return [page.Section("Heat maps", [page.Paragraph(rows), *shown])] if shown else []


def _closer(path: Path) -> str:
    """The address, from the page, of the file in which a grid's maps can be looked at closely; "" if there is none."""
    held = Path(f"{path.with_suffix('')}.html")
    return f"{GRIDS}/{quote(held.name)}" if held.exists() else ""


def drawings(study: Study) -> Iterator[Drawing]:
    """Draw each figure that the study has the rows for."""
    if any(np.isfinite(cases.delta).any() for cases in study.occlusion_blocks):
        yield Drawing(
            "fig2-occlusion",
            "Figure 2: object against context",
            "What occluding the object, or all else, with the data set's mean image does to the logit of its class; "
            f"mean and standard deviation over bins of the boxes' area, each of {ENOUGH} pictures or more; "
            "beneath, how many pairs of a picture and a class they hold.",
            _occlusion(study),
        )
    yield Drawing(
        "fig3-localisation",
        "Figure 3: localisation by the boxes' area",
        f"Mean mu over bins of the boxes' share of the picture, each of {ENOUGH} pictures or more, 95 % intervals "
        f"shaded: of the {study.count(study.common())} of {study.total} pairs that all methods define, which are "
        "counted beneath. The paper's methods are coloured, others grey. The upright lines are at 25 % and 50 %.",
        _localisation(study),
    )
    cosines = study.cosines
    if cosines.defined.any():
        yield Drawing(
            "claim8-similarity",
            "Two classes in one picture",
            "How alike the maps of two classes are: 1 is the same map whichever class is asked for. 95 % intervals.",
            dots.similarity(_triples(study, cosines)),
        )
    shares, areas = study.over(Rows.contradicting), study.over(Rows.contradicted)
    if shares.defined.any():
        yield Drawing(
            "claim11-contradiction",
            "Negative relevance on other classes",
            "The share of negative relevance that lies inside the boxes of the picture's other classes, less the "
            "overlap with its own; right of the bar is more than a uniform map would have there. 95 % intervals.",
            dots.contradiction(_triples(study, shares), dict(zip(study.methods, areas.mean.tolist(), strict=True))),
        )


def _localisation(study: Study) -> Figure:
    """Draw Figure 3, the baseline left to the figure: what a uniform map has is the area itself."""
    common, blocks = study.common(), study.row_blocks

    def where(rows: Rows) -> Ints:
        return np.where(common(rows), rows.where, -1)

    ends = stops(blocks.each(lambda rows: (where(rows), rows.picture)))
    pieces = blocks.each(lambda rows: (rows.values["mu"], rows.picture, merged(where(rows), ends)))
    bins = binned(study.resamples, pieces, len(ends))
    nothing = [(math.nan,) * 3] * len(study.methods)
    by_bin = [nothing if means is None else [(e.mean, e.low, e.high) for e in means.estimates()] for means in bins]
    defined = study.means("mu", common).defined
    shown = [k for k in study.ranking if study.methods[k] != BASELINE and defined[k]]
    lines = {study.methods[k]: curves.strip([row[k] for row in by_bin]) for k in shown}
    return curves.localisation(lines, _counted(blocks.each(lambda rows: (rows.share, merged(where(rows), ends))), ends))


def _occlusion(study: Study) -> Figure:
    """Draw Figure 2: standard deviations, not intervals, as the paper has them."""
    blocks = study.occlusion_blocks

    def where(cases: Occlusion) -> Ints:
        return np.where(np.isfinite(cases.delta).all(1), cases.where, -1)

    def delta(k: int) -> Each[tuple[Floats, Ints]]:
        return blocks.each(lambda cases: (cases.delta[:, k], merged(where(cases), ends)))

    ends = stops(blocks.each(lambda cases: (where(cases), cases.picture)))
    spreads = [deviations(delta(k), len(ends)) for k in range(2)]
    thing, context = (curves.Curve(mean, mean - deviation, mean + deviation) for mean, deviation in spreads)
    shares = blocks.each(lambda cases: (cases.share, merged(where(cases), ends)))
    return curves.occlusion(thing, context, _counted(shares, ends))


def _counted(shares: Each[tuple[Floats, Ints]], ends: Sequence[int]) -> curves.Bins:
    """Return the bins that end there, of pieces of the boxes' shares and their bins."""
    centres, _ = deviations(shares, len(ends))
    numbers = np.sum([np.bincount(where[where >= 0], minlength=len(ends)) for _, where in shares], axis=0)
    return curves.Bins(np.array([0, *ends]) / BINS, centres, numbers.tolist())


def _triples(study: Study, means: Means) -> dict[str, tuple[float, float, float]]:
    """Return mean and interval of the methods that have them, the highest first."""
    estimates = means.estimates()
    order = [k for k in np.argsort(-means.mean, kind="stable") if means.defined[k]]
    return {study.methods[k]: (estimates[k].mean, estimates[k].low, estimates[k].high) for k in order}


def _tables(study: Study, found: Sequence[Claim]) -> list[tables.Table]:
    makers = (tables.localisation, tables_logit.shares, tables.secondary, tables.accuracy, tables.statuses)
    rest = (tables.problems(study), tables.verdicts(found))
    return [*(make(study) for make in makers), *rest, *tables.by_sign(study), *tables_of_measures(study)]


def _write(place: Path, listed: Sequence[tables.Table], drawn: Sequence[Drawing]) -> list[Path]:
    """Write tables and figures; return the files."""
    content = {
        place / "tables" / f"{table.name}.{kind}": make(table).encode()
        for table in listed
        for kind, make in tables.FORMATS.items()
    }
    content |= {
        place / "figures" / f"{drawing.name}.{kind}": image
        for drawing in drawn
        for kind, image in drawing.images.items()
    }
    for path, data in content.items():
        write_whole(path, data)
    return list(content)


def _results(
    study: Study, found: Sequence[Claim], listed: Sequence[tables.Table], drawn: Sequence[Drawing], *, split: bool
) -> list[page.Block]:
    """Return a study's part of the page."""
    by_name = {table.name: table for table in listed}
    blocks: list[page.Block] = [
        page.Paragraph(_summary(study)),
        page.Heading("Table I: which method finds the object"),
        _shown(by_name["table1"]),
        *_by_sign(by_name, split=split),
        page.Heading("Where the logit went"),
        _shown(by_name["logit"]),
        page.Heading("The paper's claims on this data"),
        page.Claims([(claim.number, claim.text, str(claim.verdict), claim.figures) for claim in found]),
    ]
    for drawing in drawn:
        alt = f"{drawing.title}. {drawing.caption}"
        picture = page.Figure(drawing.images["svg"], "svg", alt, drawing.caption)
        blocks += [page.Heading(drawing.title), picture]
    titles = {
        "secondary": "Other measures",
        "accuracy": "The model",
        "statuses": "Measurements",
        "problems": "Problems",
    }
    titles |= {name: name.capitalize() for name in study.later if name in by_name}
    for name, title in titles.items():
        blocks += [page.Heading(title), _shown(by_name[name])]
    return blocks


def _by_sign(by_name: Mapping[str, tables.Table], *, split: bool) -> list[page.Block]:
    """Return Table I split by the logit's sign, where that is asked for."""
    if not split:
        return []
    apart = [by_name[name] for name in ("table1-positive", "table1-negative") if name in by_name]
    what: list[page.Block] = [_shown(table) for table in apart]
    return [page.Heading("Table I by the logit's sign"), *(what or [page.Paragraph("No logit is negative.")])]


def _shown(table: tables.Table) -> page.Block:
    """Return a table for the page; of a long one the beginning."""
    rows = [[tables.text(cell) for cell in row] for row in table.rows]
    if not rows:
        return page.Paragraph("None.")
    rest = f" And {len(rows) - LONGEST} more, in the file." if len(rows) > LONGEST else ""
    return page.Table(table.columns, rows[:LONGEST], table.caption + rest)


def _summary(study: Study) -> str:
    what = f"{study.model or 'The model'} on {study.data or study.name}"
    pairs = f"{study.total} pairs of a picture and a class"
    return f"{what}: {study.extent}, {pairs}, {len(study.methods)} methods."


def _configuration(study: Study) -> page.Block:
    return page.Folded(f"run.json of {study.name}", json.dumps(study.config, indent=2, ensure_ascii=False))


def _named_apart(studies: Sequence[Study]) -> dict[str, Study]:
    """Return the studies by a name fit for a folder; a name that comes again has a number."""
    named: dict[str, Study] = {}
    for study in studies:
        plain = "".join(sign if sign.isalnum() or sign in "-_" else "-" for sign in study.name) or "study"
        names = itertools.chain([plain], (f"{plain}-{number}" for number in itertools.count(2)))
        named[next(name for name in names if name not in named)] = study
    return named


def _other(study: Study, studies: Sequence[Study]) -> Study | None:
    """Return the first study of a network of another depth, where both are known."""
    return next((each for each in studies if study.depth and each.depth not in (0, study.depth)), None)
