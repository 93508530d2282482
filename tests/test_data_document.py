"""The document on data: its code writes data sets in all forms, and its commands measure them, with one result."""

import re
import shlex
from pathlib import Path

import pytest

from test_study import contents

DOCUMENT = (Path(__file__).parents[1] / "docs" / "data.md").read_text()


@pytest.fixture
def written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (block,) = re.findall(r"```python\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    exec(block, {})
    return tmp_path


def test_the_commands_measure_the_same_pictures_alike(written, call):
    (block,) = re.findall(r"^```\n((?:relprop .*\n|  .*\n)+)```", DOCUMENT, flags=re.MULTILINE)
    lines = block.replace("\\\n", "").splitlines()
    assert len(lines) == 5
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "relprop"
        call(*words, *(("--no-occlusion",) if words[0] == "study" else ()))
    first, *others = (contents(written / name) for name in "abcd")
    assert len(first) == 4
    assert others == [first] * 3
    assert (written / "digits-shallow.patterns.safetensors").exists()
