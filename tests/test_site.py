"""The documentation site: its pages' examples run, and it names every page, every method and every public name."""

import importlib
import re
import sys
from pathlib import Path

import pytest
import typer

import relprop as rp
from pages import DOCS, blocks, commands, follow
from relprop.catalogue.table import METHODS
from relprop.cli import app

ROOT = DOCS.parent
FOLLOWED = (
    "index",
    "batches",
    "gpu",
    "composites",
    "classes",
    "reading",
    "figures",
    "studies",
    "rules",
    "claims",
    "compared",
    "gotchas",
    "methods",
    "patterns",
    "concepts",
    "testbed",
    "models",
)
"""Pages whose examples run here; those of other pages have tests of their own."""
SHORTER = {
    '"download"': '"random"',  # weights that need no server; such a detector is sure of nothing
    "above=0.5": "above=0",
    "pictures=24": "pictures=4",
}
"""What stands in examples and takes long, or a server, and what stands in its place here."""
GROUP = typer.main.get_command(app)


@pytest.mark.parametrize("page", FOLLOWED)
def test_a_page_can_be_followed_word_by_word(page, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    try:
        follow(DOCS / f"{page}.md", call, SHORTER)
    finally:
        sys.modules.pop("mynet", None)
        importlib.invalidate_caches()


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_every_command_that_a_page_shows_is_one(page):
    for language, content in blocks(page):
        if language not in ("", "sh", "bash"):
            continue
        for line in content.replace("\\\n", " ").splitlines():
            if not line.startswith("relprop "):
                continue
            ((_, name, *words),) = commands(line)
            if "--config" in words:
                continue  # it reads a file, which the page has written when it is followed
            command = GROUP.commands[name]
            with GROUP.context_class(GROUP) as above:  # an option that is none is an error here
                command.make_context(name, words, parent=above).close()


def test_the_navigation_names_every_page():
    text = (ROOT / "mkdocs.yml").read_text()
    named = set(re.findall(r"^ +- .*?([\w/-]+\.md)$", text.partition("\nnav:")[2], flags=re.MULTILINE))
    made = {"commands.md", "contributing.md", "benchmarks.md"}
    there = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    assert named - made == there
    assert re.search(r"^ +- NOTEBOOKS$", text, flags=re.MULTILINE)


def test_the_api_names_every_public_name():
    text = "\n".join(page.read_text() for page in sorted((DOCS / "api").glob("*.md")))
    directly = {name.rpartition(".")[2] for name in re.findall(r"^::: ([\w.]+)$", text, flags=re.MULTILINE)}
    listed = {name for names in re.findall(r"members: \[(.*?)\]", text) for name in names.split(", ")}
    modules = {"metrics", "models", "on", "plots", "quantus", "rules", "study"}
    wanted = set(rp.__all__) - modules
    for module in modules:
        wanted |= set(dir(getattr(rp, module)))
    assert wanted <= directly | listed


def test_the_table_of_methods_is_of_all_methods_with_their_options():
    rows = re.findall(r"^\| (`[^|]+) \|[^|]*\|([^|]*)\|", (DOCS / "methods.md").read_text(), flags=re.MULTILINE)
    told = {
        name: set(re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", options)))
        for names, options in rows
        for name in re.findall(r"`([^`]+)`", names)
    }
    assert set(told) == set(rp.methods())
    for name, options in told.items():
        assert options == set(METHODS[name].options), name


def test_the_claims_have_the_verdicts_of_the_model_card():
    card = (DOCS / "model-card.md").read_text()
    rows = re.findall(
        r"^\| (\d+) \|.*\| ([a-z ]+) \| ([a-z ]+) \|$", (DOCS / "claims.md").read_text(), flags=re.MULTILINE
    )
    assert [int(number) for number, *_ in rows] == [*range(1, 12)]
    for verdict, word in (("held", "claims held"), ("not held", "not held"), ("undecided", "undecided")):
        cells = re.search(rf"^\| {word} \|(.*)\|$", card, flags=re.MULTILINE)[1].split("|")
        for network, cell in enumerate((cells[1], cells[3])):  # before and now, of the shallow one and the deep one
            assert [row[0] for row in rows if row[1 + network] == verdict] == re.findall(r"\d+", cell)


def test_ci_builds_the_site():
    assert re.search(r"^uv run --group docs mkdocs build --strict$", (ROOT / ".ci/run").read_text(), flags=re.MULTILINE)


def test_nothing_is_fetched_from_elsewhere():
    text = (ROOT / "mkdocs.yml").read_text()
    assert "font: false" in text
    for page in sorted(DOCS.rglob("*.md")):
        assert not re.search(r"<(script|link|img|iframe)\b|!\[[^]]*\]\(http", page.read_text()), page
    assert "url(" not in Path(DOCS / "site.css").read_text()
