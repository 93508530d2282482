"""The documents: their code runs, and what they link to exists."""

import doctest
import re
from pathlib import Path

import pytest

from relprop.cli import app
from relprop.composites import composite as composites

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_readmes_python_runs():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert len(blocks) >= 2
    names: dict = {}
    for block in blocks:
        exec(block, names)
    assert names["R"].shape == names["x"].shape


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_links_to_exists(document):
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


def test_the_commands_that_the_readme_shows_exist():
    shown = set(
        re.findall(
            r"relprop (\w+)", " ".join(re.findall(r"```\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL))
        )
    )
    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert shown <= known


def test_examples_in_docstrings_run():
    assert doctest.testmod(composites).failed == 0


def test_ci_calls_the_readmes_test_command():
    assert "uv run pytest" in (ROOT / "README.md").read_text()
    assert re.search(r"^uv run pytest$", (ROOT / ".ci/run").read_text(), flags=re.MULTILINE)
