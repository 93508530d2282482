"""Assembles the component: style and script from the files beside this one, and the document as data in the page.

A page asks nothing of any network, unless it is one of `relprop serve`, which asks the server that it came from. What
a document holds, such as the name of a class, never becomes markup or code: it is embedded as data, the script writes
it as text, and the page's policy lets no script run but its own.
"""

from __future__ import annotations

import gzip
import json
import math
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from relprop.plots.marked import STRONGEST
from relprop.plots.palette import BLUE, VERMILION
from relprop.plots.view import COLOURS, PERCENTILE, UNSEEN, Range
from relprop.support.account import HALF, NEGATIVE, NOTICEABLE, TURNED

SCRIPTS = (
    "numbers.js",
    "colours.js",
    "elements.js",
    "view.js",
    "maps.js",
    "cross.js",
    "boxes.js",
    "tokens.js",
    "save.js",
    "controls.js",
    "server.js",
    "inputs.js",
    "study.js",
    "start.js",
)
"""In the order in which they are put together."""
SERVE: Mapping[str, Any] = {"mode": "serve"}
"""The document of a page that has a server to ask."""


def page(document: Mapping[str, Any] | None, *, title: str) -> str:
    """Return the page as HTML that stands alone.

    Args:
        document: what is shown: maps of a picture or of a text with ``"mode": "static"``, as
            `relprop.plots.viewer.documents` makes it, or several as ``{"mode": "static", "pictures": [...]}``, each
            with a "title"; or ``{"mode": "serve"}``; None is the latter.
        title: of the page. Whatever it holds is text.

    Example:
        >>> "&lt;b&gt;" in page(None, title="<b>")
        True
    """
    document = SERVE if document is None else document
    style, script = _text("viewer.css"), _script()
    templates = Environment(
        loader=PackageLoader("relprop.plots.viewer", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    connect = "'self'" if document.get("mode") == "serve" else "'none'"
    policy = (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; img-src data: blob:; connect-src {connect}; "
        f"style-src '{content_hash(style)}'; script-src '{content_hash(script)}'"
    )
    return templates.get_template("viewer.html").render(
        title=title, style=style, script=script, policy=policy, document=embedded(document), look=embedded(_look())
    )


def embedded(data: Any) -> str:
    r"""Return data as JSON that can stand in a script element: nothing in it ends the element or begins another.

    Numbers that JSON has no word for are null.

    Example:
        >>> embedded({"name": "</script><b>", "logit": float("nan")})
        '{"name":"\\u003c/script\\u003e\\u003cb\\u003e","logit":null}'
    """
    text = json.dumps(_finite(data), allow_nan=False, separators=(",", ":"))  # ASCII alone: no U+2028 ends a line
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _finite(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {str(name): _finite(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


@cache
def _look() -> dict[str, Any]:
    """What the script shares with the figures: colours, bounds and words, each in one place."""
    steps = np.linspace(0, 1, 256)
    ranges = {"both": Range(-1, 1), "+": Range(0, 1), "-": Range(-1, 0)}
    tables = {sign: np.rint(255 * each.colours(COLOURS)(steps)[:, :3]) for sign, each in ranges.items()}
    return {
        "colours": {sign: b64encode(table.astype(np.uint8).tobytes()).decode() for sign, table in tables.items()},
        "percentile": PERCENTILE,
        "unseen": UNSEEN,
        "for": VERMILION,
        "against": BLUE,
        "strongest": STRONGEST,
        "half": HALF,
        "noticeable": NOTICEABLE,
        "negative": NEGATIVE,
        "turned": TURNED,
    }


@cache
def _script() -> str:
    parts = [_text(name) for name in SCRIPTS]
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"


@cache
def _text(name: str) -> str:
    return files("relprop.plots.viewer").joinpath(name).read_text(encoding="utf-8")


def content_hash(text: str) -> str:
    """Return what a policy knows an element's content by."""
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


PACKED = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<p>The maps are shown where scripts may run, in a browser that can unpack gzip.</p>
<script type="text/plain" id="packed">{packed}</script><script>(() => {{
const bytes = Uint8Array.from(atob(document.getElementById("packed").textContent), (letter) => letter.charCodeAt(0));
const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
new Response(plain).text().then((page) => {{ document.open(); document.write(page); document.close(); }});
}})();</script></html>"""
"""A page that unpacks another one: a notebook that shows the component ten times is a third as large."""


def frame(document: Mapping[str, Any], *, title: str, height: str = "46rem") -> str:
    """Return the page as an element of another page: a frame that shares nothing with what is around it.

    Args:
        document: as for `page`.
        title: likewise.
        height: of the frame, as CSS has it.
    """
    packed = b64encode(gzip.compress(page(document, title=title).encode(), mtime=0)).decode()
    held = escape(PACKED.format(title=escape(title), packed=packed), quote=True)
    look = f"width:100%;height:{escape(height)};border:1px solid #d9d9d5;border-radius:6px"
    may = "allow-scripts allow-downloads allow-modals"  # no more: what is around it is not for it to read
    return f'<iframe title="{escape(title)}" loading="lazy" sandbox="{may}" style="{look}" srcdoc="{held}"></iframe>'
