"""The space that `tune` searches, as plain data: for each place in a network the rules it may have.

A space is a list of slots, in the order of a composite's entries. A slot has selectors (`on`, one or several to choose
from) and rules: names, or tables of a rule and its numbers, where a list is a choice and {from, to, log} a range. The
rule "none" leaves the slot out.
"""

from __future__ import annotations

import itertools
import random
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from relprop.composites.composite import Composite
from relprop.composites.on import Selector
from relprop.composites.written import read_rule, read_selector
from relprop.rules.layer import Rule
from relprop.support.errors import InputError
from relprop.support.files import near
from relprop.support.suggest import did_you_mean
from relprop.tools.tune_spaces import SPACES

NONE = "none"
SLOT = ("on", "rules")
RANGE = {"from", "to", "log"}


@dataclass(frozen=True)
class Range:
    """Every number from `low` to `high`; evenly on a logarithmic scale where `log` says so."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Ranged:
    """A rule some of whose numbers are ranges."""

    name: str
    numbers: Mapping[str, Any]

    def at(self, values: Mapping[str, float]) -> Rule:
        """The rule with a number in the place of each range."""
        return read_rule(self.name, {**self.numbers, **values}, "the space")

    @property
    def ranges(self) -> dict[str, Range]:
        """By the number's name."""
        return {key: value for key, value in self.numbers.items() if isinstance(value, Range)}


Choice = Rule | Ranged | None


@dataclass(frozen=True)
class Slot:
    """A place in a network: selectors to choose from, and rules to choose from; None: no entry."""

    on: tuple[Selector, ...]
    rules: tuple[Choice, ...]


@dataclass(frozen=True)
class Candidate:
    """A composite of a space, and what was chosen for it, in a few words."""

    composite: Composite
    text: str = field(compare=False)


class Chooser(Protocol):
    """Makes the choices of a candidate."""

    def among(self, name: str, number: int) -> int:
        """Return one of 0 to number - 1."""

    def within(self, name: str, among: Range) -> float:
        """Return a number of a range."""


@dataclass(frozen=True)
class Space:
    """What is searched.

    Attributes:
        name: of it.
        slots: in the order of a composite's entries.
    """

    name: str
    slots: tuple[Slot, ...]

    @property
    def continuous(self) -> bool:
        """Whether some number is of a range."""
        return any(isinstance(rule, Ranged) for slot in self.slots for rule in slot.rules)

    @property
    def size(self) -> int:
        """How many candidates there are, each rule with a range counted once."""
        total = 1
        for slot in self.slots:
            total *= len(slot.on) * len(slot.rules)
        return total

    def draw(self, chooser: Chooser) -> Candidate:
        """One candidate, as a chooser decides."""
        entries: list[tuple[Selector, Rule]] = []
        words: list[str] = []
        for n, slot in enumerate(self.slots, 1):
            rule = slot.rules[chooser.among(f"rule {n}", len(slot.rules))]
            if isinstance(rule, Ranged):
                rule = rule.at({key: chooser.within(f"{key} of {rule.name} {n}", r) for key, r in rule.ranges.items()})
            selector = slot.on[chooser.among(f"on {n}", len(slot.on))] if rule is not None else slot.on[0]
            if rule is not None:
                entries.append((selector, rule))
            if len(slot.rules) > 1 or len(slot.on) > 1 or self.continuous:
                words.append("-" if rule is None else f"{rule}" + f" on {selector}" * (len(slot.on) > 1))
        return Candidate(Composite(entries), " / ".join(words))

    def candidates(self, most: int, seed: int = 0) -> list[Candidate]:
        """All candidates of a space without ranges, each once, or `most` of them drawn from the seed."""
        numbers = range(self.size)
        if len(numbers) > most:
            numbers = sorted(random.Random(seed).sample(numbers, most))  # type: ignore[assignment]  # noqa: S311
        return list(dict.fromkeys(self.draw(_Numbered(number)) for number in numbers))


@dataclass
class _Numbered:
    """Makes the choices that belong to a number: its digits, each in the base of its choice."""

    left: int

    def among(self, name: str, number: int) -> int:
        """The next digit."""
        del name
        self.left, digit = divmod(self.left, number)
        return digit

    def within(self, name: str, among: Range) -> float:
        """There is none."""
        raise InputError(f"{name}: a range from {among.low} to {among.high} cannot be listed")


# -- reading -----------------------------------------------------------------------------------------


def read_space(space: Any, bounds: tuple[Any, Any] = (None, None)) -> Space:
    """Make a space of its name, of a TOML file, or of data in Python.

    Args:
        space: a name (small, default, large, attention, gamma), "FILE.toml", a mapping as such a file holds, in which
            selectors and rules may be objects too, or a `Space`.
        bounds: of the network's input, for ZBox without numbers.

    Raises:
        InputError: it is no space; the message names the slot.

    Example:
        >>> space = read_space({"slot": [{"on": "conv", "rules": ["ZPlus", {"rule": "AlphaBeta", "alpha": [1, 2]}]},
        ...                              {"on": "weighted", "rules": ["Epsilon"]}]})
        >>> space.size
        3
        >>> print(space.candidates(9)[2].text)
        AlphaBeta(alpha=2)
    """
    if isinstance(space, Space):
        return space
    where = "the space"
    if isinstance(space, (str, Path)):
        where = str(space)
        space = SPACES.get(where) or _file(where)
    if not isinstance(space, Mapping) or not isinstance(slots := space.get("slot"), Sequence) or not slots:
        raise InputError(
            f'{where}: a space is a table [[slot]] for each place in the network, with on = "on.conv" and '
            f'rules = ["ZPlus", ...]'
        )
    found = tuple(_slot(slot, f"{where}, slot {n}", bounds) for n, slot in enumerate(slots, 1))
    return Space(str(space.get("name", where)), found)


def _file(name: str) -> Mapping[str, Any]:
    if not name.lower().endswith(".toml"):
        raise InputError(f"no space is named {name!r}{did_you_mean(name, SPACES)}; or name a TOML file")
    try:
        return tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{name}: no such file{near(Path(name)) or '; check the path'}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: not a TOML file ({error})") from None


def _slot(slot: Any, where: str, bounds: tuple[Any, Any]) -> Slot:
    if not isinstance(slot, Mapping) or not slot.get("on") or not slot.get("rules"):
        raise InputError(f'{where}: it needs on, such as "on.conv", and rules, such as ["ZPlus", "none"]')
    for key in slot:
        if key not in SLOT:
            raise InputError(f"{where}: a slot has no {key!r}{did_you_mean(str(key), SLOT)}")
    on, rules = (value if isinstance(value, (list, tuple)) else [value] for value in (slot["on"], slot["rules"]))
    selectors = tuple(s if isinstance(s, Selector) else read_selector(str(s), where) for s in on)
    choices = (choice for rule in rules for choice in _choices(rule, where, bounds))
    return Slot(selectors, tuple(choices))


def _choices(rule: Any, where: str, bounds: tuple[Any, Any]) -> Iterator[Choice]:
    """What one of the rules of a slot stands for: lists are choices."""
    if rule is None or rule == NONE:
        yield None
        return
    if isinstance(rule, Rule):
        yield rule
        return
    table = {"rule": rule} if isinstance(rule, str) else rule
    if not isinstance(table, Mapping) or not isinstance(table.get("rule"), str):
        raise InputError(f'{where}: {rule!r} is no rule; write "ZPlus", or {{rule = "AlphaBeta", alpha = [1, 2]}}')
    name = table["rule"]
    numbers = {key: _values(value, f"{where}, {key} of {name}") for key, value in table.items() if key != "rule"}
    if name == "ZBox" and not numbers:
        numbers = dict(zip(("low", "high"), ([bound] for bound in bounds), strict=True))
    for values in itertools.product(*numbers.values()):
        given = dict(zip(numbers, values, strict=True))
        if any(isinstance(value, Range) for value in values):
            ranged = Ranged(name, given)
            for ends in ("low", "high"):
                ranged.at({key: getattr(r, ends) for key, r in ranged.ranges.items()})  # both ends must be possible
            yield ranged
        else:
            yield read_rule(name, given, where)


def _values(value: Any, where: str) -> list[Any]:
    """What a number may be: each of a list, any of a range, or itself."""
    if not isinstance(value, Mapping):
        return list(value) if isinstance(value, (list, tuple)) else [value]
    low, high, log = value.get("from"), value.get("to"), bool(value.get("log", False))
    number = (int, float)
    if not isinstance(low, number) or not isinstance(high, number) or set(value) - RANGE or low >= high:
        raise InputError(f"{where}: a range is {{from = 0.01, to = 1.0, log = true}}, not {dict(value)!r}")
    if log and low <= 0:
        raise InputError(f"{where}: a range on a logarithmic scale begins above 0, not at {low}")
    return [Range(float(low), float(high), log)]
