"""Methods as the paper writes them: with subscripts, Greek letters and the flat sign."""

from __future__ import annotations

from relprop.plots.style import drawable

COLUMNS = (
    "lrp-z",
    "lrp-alpha2",
    "guided-backprop",
    "pattern-attribution",
    "cmp-alpha1",
    "cmp-alpha2",
    "cmp-alpha2-flat",
)
"""The paper's grid of seven columns: one rule everywhere, what it is compared with, and three composites."""

_OTHERS = {
    "guided-backprop": "Guided Backprop",
    "pattern-attribution": "Pattern Attribution",
    "gradient-x-input": "Gradient \N{MULTIPLICATION SIGN} Input",
    "deconvnet": "Deconvnet",
    "excitation-backprop": "Excitation Backprop",
    "pattern-net": "PatternNet",
    "attention-rollout": "Attention Rollout",
    "attnlrp": "AttnLRP",
    "cp-lrp": "CP-LRP",
    "cam": "CAM",
    "grad-cam": "Grad-CAM",
    "smoothgrad": "SmoothGrad",
    "integrated-gradients": "Integrated Gradients",
    "gradient": "Gradient",
    "uniform": "Uniform",
}
_RULES = {"z": "z", "epsilon": r"\epsilon", "alpha1": r"\alpha1", "alpha2": r"\alpha2"}
_LETTERS = {
    r"\epsilon": "\N{GREEK SMALL LETTER EPSILON}",
    r"\alpha": "\N{GREEK SMALL LETTER ALPHA}",
    r"\mathrm": "",
    "^": "",
} | dict.fromkeys("${}", "")
_ALPHA = "\N{GREEK SMALL LETTER ALPHA}"
_PARTS = {"alpha1": f"{_ALPHA}1", "alpha2": f"{_ALPHA}2", "flat": "♭", "zbox": "$z^B$"}


def shown(method: str, names: str) -> str:
    r"""Return a method as a figure writes it, for matplotlib to read formulas in; its options on a line below.

    Args:
        method: its name in code.
        names: "paper" or "code"; what the paper does not name is written as in code.

    Example:
        >>> shown("cmp-alpha2-flat:layers=3", "code")
        'cmp-alpha2-flat\nlayers=3'
        >>> shown("cmp-alpha2-flat", "paper")
        'LRP$_\\mathrm{CMP}$:α2+♭'
    """
    base, colon, options = method.partition(":")
    written = (names == "paper" and _in_paper(base)) or plain(base)
    return f"{written}\n{plain(options)}" if colon else written


def on_a_line(method: str, names: str = "paper") -> str:
    """The same with its options behind it, as in code behind a colon.

    Example:
        >>> on_a_line("mine:eps=0.1", "code"), on_a_line("cam:eps=0.1")
        ('mine:eps=0.1', 'CAM, eps=0.1')
    """
    return shown(method, names).replace("\n", ":" if names == "code" else ", ")


def in_words(method: str) -> str:
    """The paper's name as text without formulas, for titles of pages.

    Example:
        >>> in_words("cmp-alpha2-flat:layers=3"), in_words("lrp-epsilon"), in_words("attnlrp")
        ('LRP_CMP:α2+♭, layers=3', 'LRP_ε', 'AttnLRP')
    """
    base, colon, options = method.partition(":")
    formula = _in_paper(base)
    for sign, letter in _LETTERS.items():
        formula = formula.replace(sign, letter)
    return f"{formula or base}{', ' if colon else ''}{options}"


def _in_paper(base: str) -> str:
    kind, *parts = base.split("-")
    if kind == "lrp" and "-".join(parts) in _RULES:
        return rf"LRP$_{{{_RULES[parts[0]]}}}$"
    if kind == "cmp" and all(part in _PARTS for part in parts):
        return r"LRP$_\mathrm{CMP}$:" + "+".join(_PARTS[part] for part in parts)
    return _OTHERS.get(base, "")


def plain(text: str) -> str:
    """Return a text in which matplotlib finds no formula, and every letter has a font."""
    return drawable(text).replace("$", r"\$")
