"""What the documentation site has beside the files of docs/; mkdocs calls the functions here (`hooks` in mkdocs.yml).

Pages are made of what stands elsewhere: the command line's of the commands' own help, and the two documents outside
docs/ that pages link to. The navigation takes every notebook.
"""

# ruff: noqa: INP001 - mkdocs loads this file by its path

from __future__ import annotations

import json
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "site"))

from command_line import written  # noqa: E402 - it stands beside this file, which is in no package

NOTEBOOKS = "NOTEBOOKS"
"""Stands in the navigation for all notebooks."""
FIRST = ("digits", "photograph", "own_data", "text", "client_report")
"""Of the notebooks, those that are read first, in this order; others follow by name."""
OUTSIDE = {
    "contributing.md": ROOT / "CONTRIBUTING.md",
    "benchmarks.md": ROOT / "benchmarks" / "results" / "cpu-2.md",
}
"""Pages made of documents outside docs/."""
LINKS = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/results/": "benchmarks.md",
    "benchmarks/results/cpu-2.md": "benchmarks.md",
}
"""Where links to those documents lead on the site; from the root of the repository."""
DRAWING = re.compile(
    r"<script\b(?:(?!</script>).)*(?:mermaid|mathjax)(?:(?!</script>).)*</script>", re.DOTALL | re.IGNORECASE
)
"""What the notebooks' template brings to draw diagrams and formulas with; it asks other hosts for programs."""
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed|object)\b[^>]*(?:src|data)=["'](?:https?:)?//[^"']*"""
    r"""|<link\b[^>]*rel=["'](?:stylesheet|preload|preconnect|icon)["'][^>]*href=["'](?:https?:)?//[^"']*"""
    r"""|\bimport\(["']https?://[^"']*|@import[^;]*//[^;]*|url\(["']?(?:https?:)?//[^)]*"""
)
"""What a page or style would fetch from another host."""
log = logging.getLogger("mkdocs.hooks.relprop")


def on_config(config: Any) -> Any:
    """Put the notebooks into the navigation."""
    config.nav = [_filled(entry, Path(config.docs_dir)) for entry in config.nav]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made."""
    made = {"commands.md": written(), **{name: path.read_text(encoding="utf-8") for name, path in OUTSIDE.items()}}
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links to documents outside docs/, and from these into it, lead to the pages of the site."""
    uri = page.file.src_uri
    if uri.endswith(".ipynb"):
        return markdown
    source = OUTSIDE.get(uri, ROOT / "docs" / uri)

    def linked(found: re.Match[str]) -> str:
        target, anchor = found[1], found[2] or ""
        place = os.path.relpath(source.parent / target, ROOT) + "/" * target.endswith("/")
        if place in LINKS:
            page_of = LINKS[place]
        elif uri in OUTSIDE and place.startswith("docs/"):
            page_of = place.removeprefix("docs/")
        else:
            return found[0]
        return f"]({os.path.relpath(page_of, Path(uri).parent)}{anchor})"

    return re.sub(r"\]\((?![a-z]+:)([^)#\s]+)(#[^)]*)?\)", linked, markdown)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Take out of notebooks what draws diagrams that none of them has."""
    return DRAWING.sub("", output) if page.file.src_uri.endswith(".ipynb") else output


def on_post_build(config: Any) -> None:
    """Warn, which ends a strict build, of whatever the built pages would fetch from elsewhere."""
    for path in sorted(Path(config.site_dir).rglob("*")):
        if path.suffix in (".html", ".css"):
            for found in FETCHED.finditer(path.read_text(encoding="utf-8")):
                log.warning("%s fetches from another host: %s", path.relative_to(config.site_dir), found[0][:120])


def _filled(entry: Any, docs: Path) -> Any:
    """An entry of the navigation, with every notebook where it says so."""
    if not isinstance(entry, dict):
        return entry
    ((title, inside),) = entry.items()
    if not isinstance(inside, list):
        return entry
    return {title: [each for part in inside for each in (_notebooks(docs) if part == NOTEBOOKS else [part])]}


def _notebooks(docs: Path) -> list[dict[str, str]]:
    """Title and place of each."""

    def order(path: Path) -> tuple[int, str]:
        return (FIRST.index(path.stem) if path.stem in FIRST else len(FIRST), path.stem)

    found = sorted((docs / "notebooks").glob("*.ipynb"), key=order)
    return [{_title(path): path.relative_to(docs).as_posix()} for path in found]


def _title(path: Path) -> str:
    """The first heading of a notebook."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    heading = re.search(r"^# +(.+)$", text, flags=re.MULTILINE)
    return heading[1].strip() if heading else path.stem
