"""Run the test bed on both embedded networks, and write the tables and the picture of docs/testbed.md anew.

    python scripts/write_testbed.py

takes a minute or two. What stands between the two markers in the document is replaced, all else stays.
"""  # noqa: INP001 - a script beside the package, no part of one

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from relprop.models.networks.digits import NAMES
from relprop.plots.examples import Row, example_grid
from relprop.plots.heatmaps import render
from relprop.study import tables
from relprop.support.files import write_whole
from relprop.tools.testbed import TestBed, run
from relprop.tools.testbed.report import methods_shown
from relprop.tools.testbed.running import PICTURES

DOCS = Path(__file__).resolve().parent.parent / "docs"
DOCUMENT, IMAGE = DOCS / "testbed.md", DOCS / "images/testbed.png"
BEGIN, END = "<!-- tables: written by scripts/write_testbed.py -->\n", "<!-- end of tables -->\n"


def section(bed: TestBed) -> str:
    """A network's table, and what is to be said of it."""
    table = tables.markdown(bed.table()).partition("\n\n")[0]
    return "\n".join([f"### {bed.network}", "", table, "", *(f"- {fact}" for fact in bed.facts), ""])


def main() -> None:
    """Run, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    torch.set_num_threads(1)  # the networks are small: threads would wait for each other
    beds = [run(name, pictures=parser.parse_args().pictures) for name in NAMES]
    before, rest = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    middle = "\n".join(map(section, beds))
    write_whole(DOCUMENT, f"{before}{BEGIN}\n{middle}\n{END}{after}".encode())
    shown = beds[-1]
    rows = [Row(e.title, e.picture, e.regions, e.maps) for e in shown.examples]
    write_whole(IMAGE, render(example_grid(rows, methods_shown(shown)), dpi=110))


if __name__ == "__main__":
    main()
