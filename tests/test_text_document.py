"""The document on texts: its code and its commands run, on small models of the kinds that it speaks of."""

import re
import shlex
from pathlib import Path

import pytest

import text_models

DOCUMENT = (Path(__file__).parents[1] / "docs" / "text.md").read_text()
KINDS = {"FOLDER": "llama", "CLASSIFIER": "classifier", "MASKED": "masked"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    found = {}
    for name, kind in KINDS.items():
        found[name] = tmp_path_factory.mktemp(kind)
        text_models.save(found[name], kind)
    return found


@pytest.fixture
def filled(folders):
    """Put the folders into a piece of the document, in the place of their names."""

    def fill(piece):
        for name, folder in folders.items():
            piece = re.sub(rf'(hf:|"){name}\b', rf"\g<1>{folder}", piece)
        return piece

    return fill


def test_the_code_runs(filled):
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    assert len(blocks) == 5
    names: dict = {}
    for block in blocks:
        exec(filled(block), names)
    assert names["picture"][1:4] == b"PNG"
    assert names["R"].shape == names["x"]["input_ids"].shape


def test_the_commands_run(filled, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"^```\n((?:relprop .*\n)+)```", DOCUMENT, flags=re.MULTILINE)
    lines = block.splitlines()
    assert len(lines) == 6
    for line in lines:
        program, *words = shlex.split(filled(line))
        assert program == "relprop"
        call(*words)
    assert (tmp_path / "maps" / "relprop-explain.html").exists()
    assert (tmp_path / "relprop-explain-layers.png").exists()
