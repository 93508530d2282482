"""From what a test bed found to files: the table, pictures of examples, and one page that holds both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from relprop.plots import page
from relprop.plots.examples import Row, example_grid
from relprop.plots.heatmaps import render
from relprop.study import tables
from relprop.support.errors import InputError
from relprop.support.files import write_whole
from relprop.tools.testbed.results import TestBed

PAGE = "testbed.html"
SHOWN = (
    "lrp-z",
    "lrp-alpha1",
    "cmp-alpha1",
    "cmp-alpha2-flat",
    "guided-backprop",
    "pattern-attribution",
    "gradient",
    "integrated-gradients",
    "grad-cam",
)
"""The methods in the figure of examples, where they were measured; otherwise the first ones."""
EXAMPLES = "Maps of examples, a row for each kind of picture: the picture, then a column for each method,"
READING = (
    "What is asked for is outlined on the picture. Red speaks for it, blue against it, white is zero; each map has "
    "colours of its own."
)
MOST = 9
"""So many methods are in the figure."""


@dataclass(frozen=True)
class Written:
    """What was written: the page, and all files, the page last."""

    page: Path
    files: list[Path]


def write(found: TestBed | Sequence[TestBed], out: str | Path) -> Written:
    """Write the table of each network (Markdown, LaTeX, CSV), its examples (PNG, SVG), and one page.

    Each file is whole or absent, and the page is written last.

    Args:
        found: what `relprop.tools.testbed.run` returned, of one network or of several.
        out: the folder; files of an earlier run are replaced.

    Raises:
        InputError: there is nothing to write.
        WriteError: `out` cannot be written to.
    """
    beds = [found] if isinstance(found, TestBed) else list(found)
    if not beds:
        raise InputError("no test bed to write; run one first")
    out = Path(out)
    content: dict[Path, bytes] = {}
    sections: list[page.Section] = []
    for bed in beds:
        table = bed.table()
        content |= {out / "tables" / f"{table.name}.{kind}": make(table).encode() for kind, make in FORMATS.items()}
        figure = example_grid([Row(e.title, e.picture, e.regions, e.maps) for e in bed.examples], methods_shown(bed))
        images = {kind: render(figure, kind, dpi=130) for kind in ("png", "svg")}
        content |= {out / "figures" / f"{table.name}.{kind}": image for kind, image in images.items()}
        sections.append(page.Section(bed.network, _blocks(bed, table, images["png"])))
    for path, data in content.items():
        write_whole(path, data)
    lead = (
        "Pictures made so that it is known what a network can and does look at, and what each explanation says of them."
    )
    write_whole(out / PAGE, page.page("Which explanation tells the truth?", lead, sections).encode())
    return Written(out / PAGE, [*content, out / PAGE])


FORMATS = tables.FORMATS


def methods_shown(bed: TestBed) -> list[str]:
    """Return the methods of the figure, in the table's order."""
    known = [name for name in bed.methods if any(name in example.maps for example in bed.examples)]
    return ([name for name in known if name in SHOWN] or known)[:MOST]


def _blocks(bed: TestBed, table: tables.Table, image: bytes) -> list[page.Block]:
    """Return a network's part of the page."""
    rows = [[tables.text(cell) for cell in row] for row in table.rows]
    caption = "Means with 95 % bootstrap intervals over pictures. The last three rows are references."
    blocks: list[page.Block] = [
        *(page.Paragraph(fact) for fact in bed.facts),
        page.Table(table.columns, rows, caption),
        page.Heading("What is measured"),
        page.Table(
            ("measure", "best", "what it is"),
            [(column.name, f"{column.best:g}", column.meaning) for column in bed.columns],
            "The truth is what the network does when the picture changes, or what it was made to do.",
        ),
        page.Heading("Examples"),
        page.Figure(image, "png", f"{EXAMPLES} {', '.join(methods_shown(bed))}.", READING),
    ]
    if lines := bed.reasons():
        blocks.append(page.Folded("Methods without figures, and why", "\n".join(lines)))
    return blocks
