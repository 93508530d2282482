"""Figures that look the same whoever draws them, with letters that the fonts at hand have.

A user's matplotlibrc is for the user's own figures: ours would fail with LaTeX where there is none, and look otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from matplotlib import font_manager, rc_context, rcdefaults, rcParams

FALLBACKS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans CJK KR",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "SimHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Noto Sans Arabic",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Arial Unicode MS",
)
"""Fonts with letters that DejaVu Sans lacks; those of them that are installed are asked after it."""


@contextmanager
def style(settings: Mapping[Any, Any]) -> Iterator[None]:
    """Draw and write figures in the block with matplotlib's defaults and these settings, whatever the user's are."""
    with rc_context():
        rcdefaults()
        rcParams["font.family"] = list(_families())
        rcParams.update(settings)
        yield


def drawable(text: str) -> str:
    r"""Return a text with what no font at hand has a letter for as ``\u72d7``: it stays known, and no box is drawn."""
    known = _letters()
    return "".join(c if ord(c) in known or c == "\n" else c.encode("ascii", "backslashreplace").decode() for c in text)


@cache
def _families() -> tuple[str, ...]:
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ("DejaVu Sans", *(name for name in FALLBACKS if name in installed))


@cache
def _letters() -> frozenset[int]:
    """Return the characters that one of the fonts has."""
    fonts = (font_manager.get_font(font_manager.findfont(name)) for name in _families())
    return frozenset().union(*(font.get_charmap() for font in fonts))
