"""The page that is served."""

from __future__ import annotations

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>relprop</title></head>
<body><h1>relprop</h1><p>The page is not here yet; its addresses are.</p></body></html>
"""


def page() -> str:
    """Return the page's HTML."""
    return PAGE
