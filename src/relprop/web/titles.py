"""Methods as the paper writes them, in letters alone."""

from __future__ import annotations

import re

from relprop.plots.named import shown

_SIGNS = {r"\epsilon": "\N{GREEK SMALL LETTER EPSILON}", r"\alpha": "\N{GREEK SMALL LETTER ALPHA}"}


def title(method: str) -> str:
    r"""Return a method's name for people.

    Example:
        >>> title("cmp-alpha2-flat"), title("lrp-z"), title("cmp-alpha1-zbox"), title("cmp-alpha1-flat:layers=3")
        ('LRP_CMP:α2+♭', 'LRP_z', 'LRP_CMP:α1+zᴮ', 'LRP_CMP:α1+♭ layers=3')
    """
    text = shown(method, "paper").replace("$z^B$", "z\N{MODIFIER LETTER CAPITAL B}").replace(r"_\mathrm{CMP}", "_CMP")
    for written, sign in _SIGNS.items():
        text = text.replace(written, sign)
    return re.sub(r"(?<!\\)\$_?\{?([^}$]*)\}?\$", _subscript, text).replace(r"\$", "$").replace("\n", " ")


def _subscript(formula: re.Match[str]) -> str:
    return f"_{formula[1].removeprefix('_')}"
