"""What may follow the colon in a method's or a measure's name: ``layers=3,eps=0.1`` is read, or refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

from relprop.support.errors import InputError
from relprop.support.suggest import did_you_mean


def parse_options(name: str, text: str, takes: Collection[str]) -> dict[str, Any]:
    """The options in "layers=3,eps=0.1".

    Args:
        name: of the method or measure, as typed, for messages.
        text: what stands after the colon.
        takes: the options that it has.

    Raises:
        InputError: for an option that it does not take, or a value that is none.
    """
    given: dict[str, Any] = {}
    parts = [text] if "patterns" in takes else text.split(",")  # a file's name may hold commas
    for part in filter(None, parts):
        key, equals, value = part.partition("=")
        if key not in takes or not equals:
            known = [option for option in READERS if option in takes]
            raise InputError(
                f"{name!r}: no option {key!r}{did_you_mean(key, known) or '; it takes ' + (', '.join(known) or 'none')}"
            )
        if key in given:
            raise InputError(f"{name!r}: {key} is given twice")
        read, wanted = READERS[key]
        try:
            given[key] = read(value)
        except ValueError:
            raise InputError(f"{name!r}: {key} is {value!r}, and must be {wanted}") from None
    return given


def _number(text: str) -> float:
    """A finite number."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _from(least: int, read: Callable[[str], Any] = int, most: float = math.inf) -> Callable[[str], Any]:
    """A number that is not smaller than `least`, nor larger than `most`."""

    def checked(text: str) -> Any:
        number = read(text)
        if not least <= number <= most:
            raise ValueError(text)
        return number

    return checked


def _or(word: str, read: Callable[[str], Any]) -> Callable[[str], Any]:
    """A word, or what `read` reads."""
    return lambda text: word if text == word else read(text)


def _one_of(*words: str) -> Callable[[str], str]:
    """One of these words."""

    def checked(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return checked


def _some(text: str) -> str:
    """A text that is not empty."""
    if not text:
        raise ValueError(text)
    return text


SEEDS = 2**64 - 1
"""The largest that PyTorch's generators take."""
READERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "layers": (_or("stack", _from(0)), "a whole number from 0 or 'stack'"),
    "eps": (_from(0, _number), "a number of at least 0"),
    "head": (_some, "a module path"),
    "low": (_number, "a number"),
    "high": (_number, "a number"),
    "patterns": (_some, "a file"),
    "conv": (_from(0, _number), "a gamma of at least 0"),
    "linear": (_from(0, _number), "a gamma of at least 0"),
    "gamma": (_from(0, _number), "a number of at least 0"),
    "through": (_one_of("all", "values"), "'all' or 'values'"),
    "bias": (_one_of("on", "off", "apart"), "'on', 'off' or 'apart'"),
    "projections": (_one_of("on", "off"), "'on' or 'off'"),
    "samples": (_from(1), "a whole number from 1"),
    "std": (_from(0, _number), "a number of at least 0"),
    "seed": (_from(0, most=SEEDS), f"a whole number from 0 to {SEEDS}"),
    "steps": (_from(1), "a whole number from 1"),
    "baseline": (_or("black", _number), "a number or 'black'"),
    "region": (_from(1), "a whole number of pixels from 1"),
    "replace": (
        _one_of("mean-image", "blur", "neighbours", "mean"),
        "'mean-image', 'blur', 'neighbours' or 'mean'",
    ),
    "order": (_one_of("top", "bottom", "independent"), "'top', 'bottom' or 'independent'"),
    "layer": (_some, "a module path"),
    "position": (_or("mean", int), "a whole number or 'mean'"),
}
"""Every option of every method and measure: how its value is read, and what that must be."""
