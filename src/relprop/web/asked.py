"""What is asked, read from JSON: every length is bounded, and no word of it is taken for a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relprop.catalogue.options import parse_options
from relprop.catalogue.table import METHODS
from relprop.support.suggest import did_you_mean
from relprop.web.limits import Limits
from relprop.web.refused import Refused, shown

ID = re.compile(r"[0-9a-f]{64}")
"""How pictures and texts are called: by the SHA-256 of what they hold."""
FILES = ("patterns",)
"""Options of methods that name a file."""
ROUNDS = ("samples", "steps")
"""Options of methods that say how often they explain."""


LARGEST = 2**63 - 1
"""Number in a question: whole ones fit into 64 bits, others into float32."""


@dataclass(frozen=True)
class Asked:
    """A question.

    Attributes:
        network: its name.
        of: "picture" or "text".
        id: of the picture or text.
        targets: classes or tokens, each once.
        methods: names with their options, each once.
    """

    network: str
    of: str
    id: str
    targets: tuple[int | str, ...]
    methods: tuple[str, ...]


def asked_in(given: Mapping[str, Any], limits: Limits) -> Asked:
    """Read a question.

    Raises:
        Refused: something is missing, is of another kind, is too long, or is a method that there is not.
    """
    of = next((kind for kind in ("picture", "text") if kind in given), None)
    if of is None:
        raise Refused(400, 'neither "picture" nor "text" is named; send the id that uploading one has given')
    targets = _listed(given, "targets", limits.targets, (int, str), limits.name)
    methods = _listed(given, "methods", limits.methods, (str,), limits.name)
    if len(targets) * len(methods) > limits.maps:
        raise Refused(422, f"{len(targets)} targets by {len(methods)} methods; {limits.maps} maps at once at most")
    for method in methods:
        demand_method(method, limits)
    return Asked(text_in(given, "network", limits.name), of, id_in(given[of], of), targets, methods)


def text_in(given: Mapping[str, Any], key: str, most: int) -> str:
    """Return a text of a request.

    Raises:
        Refused: it is missing, empty, too long, or no text.
    """
    value = given.get(key)
    if not isinstance(value, str) or not value.strip():
        raise Refused(400, f'"{key}" is missing, or no text; send {{"{key}": "..."}}')
    if len(value) > most:
        raise Refused(413, f'"{key}" has {len(value)} characters, and {most} are taken at most; shorten it')
    if _halved(value):
        raise Refused(400, f'"{key}" has half a character in it (a lone surrogate); send it whole')
    return value


def _halved(text: str) -> bool:
    """Whether there is half a character in a text."""
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def id_in(value: Any, of: str) -> str:
    """Return an id of a picture or a text.

    Raises:
        Refused: it is none.
    """
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise Refused(400, f'"{of}" is no id of a {of}: 64 hexadecimal digits, as uploading one has given')
    return value


def demand_method(name: str, limits: Limits) -> None:
    """Refuse a method that is not of relprop's own, or that would read a file.

    Raises:
        Refused: so it is; the nearest name is offered.
        InputError: it takes no such option.
    """
    base, _, text = name.partition(":")
    if base not in METHODS:
        raise Refused(422, f"no method is named {shown(base)!r}{did_you_mean(base, METHODS)}")
    if name.lower().endswith(".toml"):
        raise Refused(422, f"{shown(name)!r} names a file, and files are not read for the page; use relprop explain")
    given = parse_options(name, text, METHODS[base].options)
    if any(option in given for option in FILES):
        raise Refused(422, f"{shown(name)!r} names a file, and files are not read for the page; use relprop explain")
    for option, value in given.items():
        if not isinstance(value, str) and abs(value) > LARGEST:
            raise Refused(422, f"{shown(name)!r}: {option} is too large a number; choose one below 1e18")
    for option in ROUNDS:
        if given.get(option, 0) > limits.rounds:
            raise Refused(422, f"{shown(name)!r}: {option} is {limits.rounds} at most here; use relprop explain")


def _listed(given: Mapping[str, Any], key: str, most: int, kinds: tuple[type, ...], longest: int) -> tuple[Any, ...]:
    """A list of a request, each of its entries once."""
    values = given.get(key)
    if not isinstance(values, list) or not values:
        raise Refused(400, f'"{key}" is missing, or no list with something in it; send {{"{key}": [...]}}')
    if len(values) > most:
        raise Refused(413, f'"{key}" has {len(values)} entries, and {most} are taken at once; ask in two questions')
    for value in values:
        if isinstance(value, bool) or not isinstance(value, kinds) or len(str(value)) > longest:
            words = " or ".join({int: "whole numbers", str: "names"}[kind] for kind in kinds)
            raise Refused(400, f'"{key}" has an entry {shown(str(value))!r}; they are {words}')
        if (isinstance(value, int) and abs(value) > LARGEST) or (isinstance(value, str) and _halved(value)):
            raise Refused(422, f'"{key}" has an entry {shown(str(value))!r}, which cannot be the name or place of any')
    return tuple(dict.fromkeys(values))
