"""Each example of the documents runs, and its map finds what was planted: the examples themselves say so."""

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "docs" / "examples.md").read_text()
BLOCKS = {
    part.partition("\n")[0]: re.findall(r"```python\n(.*?)```", part, flags=re.DOTALL)
    for part in re.split(r"^##? ", TEXT, flags=re.MULTILINE)[1:]
}
SHARED, *EXAMPLES = BLOCKS


def test_every_example_has_its_code_and_says_what_must_be_found():
    assert len(EXAMPLES) == 10
    for blocks in BLOCKS.values():
        assert len(blocks) == 1
    assert all("\nassert " in BLOCKS[title][0] for title in EXAMPLES)


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_finds_what_was_planted(title):
    names: dict = {}
    exec(BLOCKS[SHARED][0], names)
    exec(compile(BLOCKS[title][0], f"examples.md: {title}", "exec"), names)
