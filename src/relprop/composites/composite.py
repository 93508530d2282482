"""Composites: which rule each op gets, an ordered list of (selector, rule) in which the first match wins."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from relprop.composites.on import Selector
from relprop.composites.profiles import Profile
from relprop.rules.layer import WEIGHTED, Fixed, Rule
from relprop.rules.lrp import Flat
from relprop.rules.norms import Apart
from relprop.support.errors import InputError, RuleError
from relprop.tape.tape import Node


@dataclass(frozen=True, init=False, repr=False)
class Composite:
    """An ordered list of (selector, rule); it prints itself as that list.

    Args:
        entries: pairs of a selector (`rp.on`) and a rule (`rp.rules`). For each op the first selector that
            means it decides. A rule made for weighted ops leaves other ops at their default, unless the
            selector asks for their kind by name; a weighted op that no selector means is a RuleError.
        start: "logit" or "one": what this composite starts from, whatever the caller says.

    Raises:
        InputError: if an entry is not such a pair.

    Example:
        >>> import relprop as rp
        >>> rp.Composite([(rp.on.head, rp.rules.Epsilon()), (rp.on.conv, rp.rules.AlphaBeta(2))])
        Composite([
            (on.head, Epsilon(eps=1e-06)),
            (on.conv, AlphaBeta(alpha=2)),
        ])
    """

    entries: tuple[tuple[Selector, Rule], ...]
    start: str | None

    @property
    def opens(self) -> bool:
        """Whether one of its rules goes through gates."""
        return any(rule.opens for _, rule in self)

    def __init__(self, entries: Iterable[tuple[Selector, Rule]], start: str | None = None) -> None:
        object.__setattr__(self, "entries", tuple(_checked(entry) for entry in entries))
        object.__setattr__(self, "start", start)

    def __iter__(self) -> Iterator[tuple[Selector, Rule]]:
        return iter(self.entries)

    def __repr__(self) -> str:
        lines = "".join(f"    ({selector}, {rule}),\n" for selector, rule in self)
        start = "" if self.start is None else f", start={self.start!r}"
        return f"Composite([\n{lines}]{start})"


def _checked(entry: object) -> tuple[Selector, Rule]:
    if isinstance(entry, (tuple, list)) and len(entry) == 2:
        selector, rule = entry
        if isinstance(selector, Selector) and isinstance(rule, Rule):
            return selector, rule
    raise InputError(
        f"a composite is a list of (selector, rule), such as (rp.on.conv, rp.rules.ZPlus()), not {entry!r}"
    )


NOTHING = Fixed("none")


def opened_by(composite: Composite, nodes: Sequence[Node]) -> set[Node]:
    """The nodes to which a composite gives a rule that goes through their gates (`rules.Attend`).

    Args:
        composite: gives every node the rule of the first selector that means it.
        nodes: those that relevance comes to, as far as that is known yet, in order of execution.
    """
    found: set[Node] = set()
    left = set(nodes)
    for selector, rule in composite:
        with contextlib.suppress(RuleError):  # a path may yet be found in what is opened; `assign` asks again
            meant = {n for n in left & selector.select(nodes) if _serves(rule, n, selector)}
            found |= meant if rule.opens else set()
            left -= meant
    return found


@dataclass(frozen=True)
class Assigned:
    """The rule of one op and the reason for it."""

    rule: Rule
    why: str


def assign(composite: Composite, nodes: Sequence[Node], profile: Profile) -> list[Assigned]:
    """Give every node its rule.

    Args:
        composite: what to give.
        nodes: the nodes that the output depends on, in order of execution.
        profile: conventions that the rules follow.

    Returns:
        One for each node.

    Raises:
        RuleError: for a weighted op without a rule, and for the flat rule on a fully connected one.
    """
    everywhere = any(rule.everywhere for _, rule in composite)
    reached = [node for node in nodes if node.reached or everywhere or composite in node.opened]
    meant = [(selector, rule, selector.select(reached)) for selector, rule in composite]
    comes = set(reached)
    return [_rule_of(node, meant, profile, comes=node in comes) for node in nodes]


def _rule_of(node: Node, meant: list[tuple[Selector, Rule, set[Node]]], profile: Profile, *, comes: bool) -> Assigned:
    if not comes:
        return Assigned(NOTHING, "no relevance comes here: it opens a gate, or a detach follows")
    default = profile.default(node.op.default)
    if node.into is not None and default is not None:
        return Assigned(default, f"merged into {node.into.path or node.into.op.name}")
    for selector, rule, found in meant:
        if node not in found:
            continue
        if _serves(rule, node, selector):
            _refuse_flat_on_head(node, rule)
            return Assigned(profile.adapt(rule), str(selector))
        if default is None:
            raise RuleError(f"{rule} does not fit {node.where}, which {selector} means")
        return Assigned(default, f"default: {rule} is not for this kind of op")
    if default is None:
        raise RuleError(
            f"no rule for {node.where}: no selector of the composite means it; add an entry such as "
            f"(rp.on.weighted, rp.rules.Epsilon()) at the end"
        )
    return Assigned(default, "default")


def _serves(rule: Rule, node: Node, selector: Selector) -> bool:
    """Whether a rule is for a node that its selector means."""
    return node.kind in rule.fits or (node.kind in rule.can and node.kind in selector.kinds)


def _refuse_flat_on_head(node: Node, rule: Rule) -> None:
    flat = isinstance(rule.layer if isinstance(rule, Apart) else rule, Flat)
    if flat and node.kind in WEIGHTED and node.head:
        raise RuleError(
            f"the flat rule on {node.where}, which is fully connected: there it would spread relevance over "
            f"everything alike; use 'lrp-epsilon', or a composite without flat"
        )
