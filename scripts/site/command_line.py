"""The page of all commands, made of what `relprop COMMAND --help` says, so that it cannot differ from it."""

# ruff: noqa: INP001 - the site's hooks import it by its name

from __future__ import annotations

import html
import re
from typing import Any

import typer

from relprop.cli import app

HEAD = """# Command line

`relprop COMMAND`, or `python -m relprop COMMAND`. This page is made of the commands' own help: `relprop COMMAND --help`
says the same. Progress and warnings go to stderr, results to stdout and files. Exit codes: 0; 1 for a failure that one
line names, with what to do; 2 for wrong usage; 130 after Ctrl-C, 143 after SIGTERM.
"""


def written() -> str:
    """The page, as Markdown."""
    group: Any = typer.main.get_command(app)
    parts = [HEAD, "| command | |\n|---|---|"]
    parts[-1] += "".join(
        f"\n| [`{name}`](#relprop-{name}) | {_cell(command.get_short_help_str(200))} |"
        for name, command in group.commands.items()
        if not command.hidden
    )
    with group.context_class(group, info_name="relprop") as above:
        parts += [_section(name, command, above) for name, command in group.commands.items() if not command.hidden]
    return "\n\n".join(parts) + "\n"


def _section(name: str, command: Any, above: Any) -> str:
    """A command: what it does, its arguments and options, examples."""
    with command.context_class(command, parent=above, info_name=name) as context:
        usage = command.get_usage(context).removeprefix("Usage: ")
        rows = [(parameter.param_type_name, parameter.get_help_record(context)) for parameter in command.params]
    parts = [f"## relprop {name}", f"```text\n{' '.join(usage.split())}\n```", *map(_text, _paragraphs(command.help))]
    for kind, title in (("argument", "Arguments"), ("option", "Options")):
        of_kind = [record for each, record in rows if each == kind and record]
        if of_kind:
            lines = [f"| `{_name(said)}` | {_cell(meaning)} |" for said, meaning in of_kind]
            parts.append("\n".join([f"**{title}**\n", "| | |\n|---|---|", *lines]))
    for paragraph in _paragraphs(command.epilog):
        title, *lines = paragraph.splitlines()
        parts.append(f"**{title.strip().rstrip(':')}**\n\n```text\n" + "\n".join(map(str.strip, lines)) + "\n```")
    return "\n\n".join(parts)


def _paragraphs(text: str | None) -> list[str]:
    """Of a help text, without the signs that tell Click how to wrap it."""
    return [part.strip("\n") for part in re.split(r"\n\s*\n", (text or "").replace("\b\n", "")) if part.strip()]


def _text(paragraph: str) -> str:
    """Running text: nothing in it is markup."""
    return _escaped(" ".join(paragraph.split()))


def _name(said: str) -> str:
    return said.replace("|", "\\|")


def _cell(text: str) -> str:
    return _text(text).replace("|", "\\|")


def _escaped(text: str) -> str:
    """What stands in backquotes, and options, are code; elsewhere signs of Markdown and HTML are only signs."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(piece if piece.startswith("`") else _plain(piece) for piece in pieces)


def _plain(piece: str) -> str:
    signs = re.sub(r"([*_\[\]])", r"\\\1", html.escape(piece, quote=False))
    return re.sub(r"(--[a-z][a-z-]*)", r"`\1`{.option}", signs)
