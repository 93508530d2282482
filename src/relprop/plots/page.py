"""One web page that holds everything it shows: no script, nothing fetched, readable offline and in print."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

_MEDIA = {"svg": "image/svg+xml", "png": "image/png"}


def page(title: str, lead: str, sections: Sequence[tuple[str, str]]) -> str:
    """Return the whole page.

    Args:
        title: its heading.
        lead: a sentence below it.
        sections: each a heading, and its content as the functions below make it.
    """
    style = files("relprop.plots").joinpath("page.css").read_text(encoding="utf-8")
    links = "".join(f'<a href="#s{k}">{escape(heading)}</a>' for k, (heading, _) in enumerate(sections))
    body = "\n".join(f'<h2 id="s{k}">{escape(heading)}</h2>\n{html}' for k, (heading, html) in enumerate(sections))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f'<h1>{escape(title)}</h1>\n<p class="lead">{escape(lead)}</p>\n<nav>{links}</nav>\n'
        f"{body}\n</body>\n</html>\n"
    )


def heading(text: str) -> str:
    """Return a heading within a section."""
    return f"<h3>{escape(text)}</h3>\n"


def paragraph(text: str) -> str:
    """Return a paragraph."""
    return f"<p>{escape(text)}</p>\n"


def figure(image: bytes, kind: str, alt: str, caption: str) -> str:
    """Return a picture with its caption.

    Args:
        image: a file's content.
        kind: ``"svg"`` or ``"png"``.
        alt: what it shows, for those who cannot see it.
        caption: below it.
    """
    # As an image, not as markup: several figures' ids would meet in one page.
    source = f"data:{_MEDIA[kind]};base64,{b64encode(image).decode()}"
    return f'<figure><img src="{source}" alt="{escape(alt)}"><figcaption>{escape(caption)}</figcaption></figure>\n'


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    """Return a table; an interval in brackets is set small, columns of long words are wrapped."""
    rows = list(rows)
    prose = {k for row in rows for k, word in enumerate(row) if len(word) > 40}
    kinds = [' class="prose"' if k in prose else "" for k in range(len(columns))]
    head = "".join(f"<th{kind}>{escape(word)}</th>" for kind, word in zip(kinds, columns, strict=True))
    lines = ("".join(f"<td{kind}>{_cell(word)}</td>" for kind, word in zip(kinds, row, strict=True)) for row in rows)
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="wide"><table><caption>{escape(caption)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>\n"
    )


def claims(items: Iterable[tuple[int, str, bool | None, str]]) -> str:
    """Return a list of claims: number, what is claimed, whether it held (None: cannot be told), what was found."""
    tags = {True: ("held", "✓ held"), False: ("fell", "✗ not held"), None: ("open", "not measurable")}
    lines = (
        f'<li><span>{number}</span><span class="tag {tags[held][0]}">{tags[held][1]}</span>'
        f'<p>{escape(text)}</p><p class="note">{escape(found)}</p></li>'
        for number, text, held, found in items
    )
    return '<ol class="claims">\n' + "\n".join(lines) + "\n</ol>\n"


def folded(summary: str, text: str) -> str:
    """Return text as it is, such as JSON, hidden until it is asked for."""
    return f"<details><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>\n"


def _cell(word: str) -> str:
    plain, bracket, rest = word.partition(" [")
    return escape(plain) + (
        f" <small>[{escape(rest)}</small>" if bracket and rest.endswith("]") else escape(bracket + rest)
    )
