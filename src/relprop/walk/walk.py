"""The walk: relevance goes from the logits to the input, op by op, for all methods and targets at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from relprop.catalogue.backprop import DERIVED, Backprop, derived
from relprop.composites.composite import Assigned
from relprop.ops.context import Context
from relprop.ops.layer import AT_ONCE
from relprop.rules.division import sums_in
from relprop.rules.layer import Rule, Share
from relprop.support.errors import RelpropError
from relprop.tape.tape import Node, Tape, Value
from relprop.walk.ledger import Ledger, Row


@dataclass(eq=False)
class Held:
    """Relevance that waits at a value.

    Attributes:
        R: (T, *value.shape).
        total: its sum per map and picture, (T, B).
        magnitude: the sum of its absolute values, (T, B); None until somebody asks.
        vanishes: whether it is proved to be 0 wherever the value, as it is held, is not positive.
    """

    R: Tensor
    total: Tensor
    magnitude: Tensor | None = None
    vanishes: bool = False

    def __add__(self, other: Held) -> Held:
        return Held(self.R + other.R, self.total + other.total, vanishes=self.vanishes and other.vanishes)

    def part(self, maps: slice) -> Held:
        """Some of its maps."""
        magnitude = None if self.magnitude is None else self.magnitude[maps]
        return Held(self.R[maps], self.total[maps], magnitude, self.vanishes)


@dataclass
class Group:
    """Methods that gave every op so far the same rule share their relevance."""

    methods: tuple[str, ...]
    relevance: dict[Value, Held] = field(default_factory=dict)


class Walk:
    """One way down, for all methods and targets at once."""

    def __init__(self, tape: Tape, nodes: list[Node], plans: Mapping[str, list[Assigned]], context: Context) -> None:
        self.tape = tape
        self.nodes = nodes
        self.plans = plans
        self.context = context
        self.groups: list[Group] = []
        self.constants: dict[tuple[float, int], Tensor] = {}
        self.rows: dict[str, list[Row]] = {name: [] for name in plans}
        self.derived = {
            name for name, plan in plans.items() if any(isinstance(step.rule, Backprop) for step in plan)
        }  # gradients are not conserved: no ledger

    def down(self, first: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Ledger]]:
        """Relevance of the input and ledger per method, from the relevance of the output, (T, B, C) per method.

        What is in `first` may be overwritten.
        """
        self.groups = self._joined(first)
        came = {name: self.context.total(R, self.tape.output) for name, R in first.items()}
        while self.nodes:
            node = self.nodes.pop()
            self._pass(node, len(self.nodes))
            release(node)
        relevance: dict[str, Tensor] = {}
        ledger: dict[str, Ledger] = {}
        for group in self.groups:
            held = group.relevance.get(self.tape.input) or self._nothing(self.tape.input, len(came[group.methods[0]]))
            for name in group.methods:
                relevance[name] = (
                    held.R.clone() if len(group.methods) > 1 else held.R.contiguous()
                )  # flat repeats a channel
                ledger[name] = Ledger(came[name], held.total, self.rows[name])
        return relevance, {name: ledger[name] for name in self.plans if name not in self.derived}

    def _joined(self, first: Mapping[str, Tensor]) -> list[Group]:
        """Methods that start alike begin as one group."""
        joined: list[Group] = []
        for name, R in first.items():
            alike = next((g for g in joined if torch.equal(g.relevance[self.tape.output].R, R)), None)
            if alike is not None:
                alike.methods += (name,)
            else:
                joined.append(Group((name,), {self.tape.output: self._held(R, self.tape.output)}))
        return joined

    def _pass(self, node: Node, place: int) -> None:
        """Hand the relevance of one node down in every group; a group splits where its rules differ."""
        after: list[Group] = []
        by_rule: dict[Rule, list[Group]] = {}
        for group in self.groups:
            if not any(value in group.relevance for value in node.outputs):
                after.append(group)
                continue
            parts: dict[Rule, list[str]] = {}
            for name in group.methods:
                parts.setdefault(self.plans[name][place].rule, []).append(name)
            for rule, names in parts.items():
                part = Group(tuple(names), dict(group.relevance) if len(parts) > 1 else group.relevance)
                by_rule.setdefault(rule, []).append(part)
                after.append(part)
        self.groups = after
        stacks = [(rule, stack) for rule, groups in by_rule.items() for stack in self._stacks(node, groups)]
        stacks.sort(key=lambda each: -each[0].sides)  # what makes both denominators leaves one to the others
        self.context.shared = len(stacks) > 1
        for rule, stack in stacks:
            self._propagate(node, rule, stack)
        self.context.memo.clear()

    def _stacks(self, node: Node, groups: list[Group]) -> list[list[Group]]:
        """Groups that go together: those that lie in one place already, or are so small that they are soon copied."""
        held = [group.relevance.get(value) for group in groups for value in node.outputs]
        found = [each.R for each in held if each is not None]
        if sum(R.numel() for R in found) <= AT_ONCE or together(found) is not None:
            return [groups]
        return [[group] for group in groups]

    def _propagate(self, node: Node, rule: Rule, groups: list[Group]) -> None:
        """Hand down the relevance of all groups that follow the same rule here, as one stack of maps."""
        upper = self._taken(node, groups)
        came, size = sum_over(held.total for held in upper), sum_over(map(self._magnitude, upper, node.outputs))
        vanishes = all(held.vanishes for held in upper)
        self.context.spend, self.context.vanishes = self._nobody_else(upper), vanishes
        maps = len(came) // len(groups)
        share = handed_down(node, rule, [held.R for held in upper], self.context)
        below = [
            None if R is None else self._summed(R, value, upper, vanishing(share, value, vanishes))
            for R, value in zip(share.relevance, node.inputs, strict=True)
        ]
        del upper
        out = sum_over(held.total for held in below if held is not None) if any(below) else self._constant(0.0, came)
        rest = [c if isinstance(c, Tensor) else self._constant(c, came) for c in (share.bias, share.eps, share.lost)]
        for k, group in enumerate(groups):
            mine = slice(k * maps, (k + 1) * maps)
            for value, held in zip(node.inputs, below, strict=True):
                if held is not None:
                    part = held if len(groups) == 1 else held.part(mine)
                    known = group.relevance.get(value)
                    group.relevance[value] = part if known is None else known + part
            numbers = [column if len(groups) == 1 else column[mine] for column in (came, out, *rest, size)]
            row = Row(node.path, node.op.name, str(rule), *numbers)
            for name in group.methods:
                self.rows[name].append(row)

    def _constant(self, number: float, like: Tensor) -> Tensor:
        """The same number for every map and picture, made once."""
        key = (number, len(like))
        if key not in self.constants:
            self.constants[key] = torch.full_like(like, number)
        return self.constants[key]

    def _taken(self, node: Node, groups: list[Group]) -> list[Held]:
        """The relevance of each output, of all groups one after the other; the groups hold it no longer."""
        maps = next(len(held.R) for group in groups for held in group.relevance.values())
        found: list[Held] = []
        for value in node.outputs:
            each = [group.relevance.pop(value, None) for group in groups]
            found.append(self._stacked([self._nothing(value, maps) if held is None else held for held in each]))
        return found

    def _stacked(self, each: list[Held]) -> Held:
        if len(each) == 1:
            return each[0]
        stack = together([held.R for held in each])
        R = torch.cat([held.R for held in each]) if stack is None else stack
        sizes = [held.magnitude for held in each if held.magnitude is not None]
        return Held(
            R,
            torch.cat([held.total for held in each]),
            torch.cat(sizes) if len(sizes) == len(each) else None,
            all(held.vanishes for held in each),
        )

    def _nothing(self, value: Value, maps: int) -> Held:
        R = torch.zeros(maps, *value.shape, dtype=self.context.dtype, device=value.data.device)
        zeros = R.new_zeros(maps, self.context.batch, dtype=sums_in(R.dtype))
        return Held(R, zeros, zeros, vanishes=True)

    def _held(self, R: Tensor, value: Value, vanishes: bool = False) -> Held:
        return Held(R, self.context.total(R, value), vanishes=vanishes)

    def _summed(self, R: Tensor, value: Value, upper: list[Held], vanishes: bool) -> Held:
        """Relevance with its sums; many ops hand down what they got (who overwrites it gives another view of it)."""
        same = next((held for held in upper if held.R is R), None)
        return self._held(R, value, vanishes) if same is None else Held(R, same.total, same.magnitude, vanishes)

    def _magnitude(self, held: Held, value: Value) -> Tensor:
        if held.magnitude is None:
            held.magnitude = self.context.magnitude(held.R, value)
        return held.magnitude

    def _nobody_else(self, upper: list[Held]) -> bool:
        """Whether these tensors may be overwritten: no other relevance that still waits lies in the same memory."""
        mine = [span(held.R) for held in upper]
        if len(mine) != 1 or not upper[0].R.is_contiguous():
            return False
        ((first, end),) = mine
        return not any(
            start < end and first < stop
            for group in self.groups
            for held in group.relevance.values()
            for start, stop in (span(held.R),)
        )


def vanishing(share: Share, value: Value, above: bool) -> bool:
    """Whether what a value got is proved to be 0 wherever the value, as it is held, is not positive."""
    if share.proportional is None:
        return above
    return share.proportional and (value.nonneg or value.rectified)


def handed_down(node: Node, rule: Rule, R: list[Tensor], context: Context) -> Share:
    """What the inputs of a node get, and where the rest went."""
    if node.op.propagate is None:
        raise RelpropError(f"{node.where} has a place in the table and no way to hand relevance down")
    if isinstance(rule, Backprop) and node.kind in DERIVED:
        return derived(node, rule, R, context)
    return node.op.propagate(node, rule, R, context)


def together(held: Sequence[Tensor]) -> Tensor | None:
    """The stack that these maps are consecutive slices of, if they are all of one; nothing needs to be copied then."""
    base = held[0]._base  # noqa: SLF001  (public in all but name)
    if base is None or base.shape[1:] != held[0].shape[1:] or not base.is_contiguous():
        return None
    place = base.data_ptr()
    for R in held:
        if R._base is not base or R.data_ptr() != place or not R.is_contiguous():  # noqa: SLF001
            return None
        place += R.numel() * R.element_size()
    return base if place == base.data_ptr() + base.numel() * base.element_size() else None


def span(R: Tensor) -> tuple[int, int]:
    """The addresses that a tensor lies between."""
    if R.is_contiguous():
        return R.data_ptr(), R.data_ptr() + R.numel() * R.element_size()
    whole = R.untyped_storage()
    return whole.data_ptr(), whole.data_ptr() + whole.nbytes()


def sum_over(terms: Iterable[Tensor]) -> Tensor:
    """The sum of tensors of one shape."""
    first, *others = terms
    return torch.stack([first, *others]).sum(0) if others else first


def release(node: Node) -> None:
    """Forget what no node below needs: memory falls as the walk goes down."""
    done = [value for value in node.outputs if node.into is None]
    if node.merged is not None:
        done.append(node.merged[2])
    for value in done:
        value.data = value.data.new_empty(0)
    node.args, node.kwargs, node.constants, node.merged, node.noted = (), {}, (), None, None
