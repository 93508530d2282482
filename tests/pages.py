"""Pages of the documentation, and how their examples are run.

Of a page, from top to bottom in one folder: python blocks, which share their names; in blocks marked sh each line,
which is a command of ours; a block whose first line is a comment with a file's name is that file. Blocks marked bash
begin what the tests cannot (environments, other machines), and those marked text are what something prints.
"""

import re
import shlex
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w.]+\.(?:py|toml))\n")


def blocks(page):
    """Language and content of each, in order."""
    return BLOCK.findall(page.read_text())


def commands(content):
    """The words of every line, comments left out."""
    for line in content.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


def follow(page, call, shorter):
    """Do what a page says, in the current folder, with some words in the place of others."""
    names: dict = {}
    for number, (language, text) in enumerate(blocks(page)):
        content = text
        for words, others in shorter.items():
            content = content.replace(words, others)
        if named := FILE.match(content):
            Path(named[1]).write_text(content)
        elif language == "python":
            exec(compile(content, f"{page.name}, block {number}", "exec"), names)
        elif language == "sh":
            for program, *words in commands(content):
                assert program == "relprop"
                call(*words)
    return names
