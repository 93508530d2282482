"""The methods that can be asked for, as the paper writes them in letters alone."""

from __future__ import annotations

import re
from typing import Any

from relprop.catalogue.table import BEST, BEST_FOR_TEXTS, METHODS
from relprop.plots.named import shown

FOR_TEXTS = frozenset(
    (
        "lrp-z",
        "lrp-epsilon",
        "attnlrp",
        "cp-lrp",
        "gradient",
        "gradient-x-input",
        "attention-rollout",
        "uniform",
    )
)
"""What says something of tokens; the others are made for pictures."""
_SIGNS = {r"\epsilon": "\N{GREEK SMALL LETTER EPSILON}", r"\alpha": "\N{GREEK SMALL LETTER ALPHA}"}


def methods() -> list[dict[str, Any]]:
    """Describe every method: its name and title, what it does, of what it can explain, and whether it is the usual."""
    return [
        {
            "name": name,
            "title": title(name),
            "summary": entry.summary,
            "options": list(entry.options),
            "kinds": ["pictures", "text"] if name in FOR_TEXTS else ["pictures"],
        }
        | ({"default": True} if name in (BEST, BEST_FOR_TEXTS) else {})
        for name, entry in METHODS.items()
    ]


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
