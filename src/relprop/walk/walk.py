"""The walk: relevance goes from the logits to the input, op by op, for all methods and targets at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from relprop.composites.composite import Assigned
from relprop.ops import parts
from relprop.ops.call import Call
from relprop.rules.layer import Rule, Share, Zero
from relprop.support.errors import RelpropError, RuleError
from relprop.tape.tape import Node, Tape, Value
from relprop.tape.torch_internals import version
from relprop.tape.visit import Conventions, Visit
from relprop.walk.ledger import Ledger, Row
from relprop.walk.relevance import Waiting, addresses, common_stack, stacked, sum_over


@dataclass
class Group:
    """Methods that gave every op so far the same rule share their relevance."""

    methods: tuple[str, ...]
    waiting: dict[Value, Waiting] = field(default_factory=dict)


class Walk:
    """One way down, for all methods and targets at once; it consumes the tape.

    Args:
        tape: a recorded pass that is ready (`record.prepare`).
        plans: per method the rule of each of the tape's nodes.
        conventions: of all rules.
    """

    def __init__(self, tape: Tape, plans: Mapping[str, list[Assigned]], conventions: Conventions) -> None:
        self.tape = tape
        self.plans = plans
        self.conventions = conventions
        self.precisions = {value.data.dtype for node in tape.nodes for value in node.outputs} | {tape.input.data.dtype}
        self.groups: list[Group] = []
        self.filled: dict[tuple[float, int], Tensor] = {}
        self.rows: dict[str, list[Row]] = {name: [] for name in plans}
        self.conserving = [name for name, plan in plans.items() if all(step.rule.conserves for step in plan)]

    def down(self, start: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Ledger]]:
        """Relevance of the input per method, and the ledger of those that conserve relevance.

        Args:
            start: the relevance of the output, (T, B, C) per method; it may be overwritten.
        """
        self.groups = self._groups_that_start_alike(start)
        first = {name: self.tape.output.owners.total(R) for name, R in start.items()}
        for node in self.tape.consume():
            self._pass(node, len(self.tape.nodes))
        relevance: dict[str, Tensor] = {}
        ledger: dict[str, Ledger] = {}
        for group in self.groups:
            last = group.waiting.get(self.tape.input) or self._none(self.tape.input, len(first[group.methods[0]]))
            for name in group.methods:
                # flat repeats a channel in one place of memory
                relevance[name] = last.R.clone() if len(group.methods) > 1 else last.R.contiguous()
                ledger[name] = Ledger(first[name], last.total, self.rows[name], self._coarsest())
        return relevance, {name: ledger[name] for name in self.conserving}

    def _coarsest(self) -> float:
        """The machine epsilon of the coarsest precision that model or rules computed in."""
        return max(torch.finfo(dtype).eps for dtype in {*self.precisions, self.conventions.dtype})

    def _groups_that_start_alike(self, start: Mapping[str, Tensor]) -> list[Group]:
        output = self.tape.output
        groups: list[Group] = []
        for name, R in start.items():
            alike = next((g for g in groups if torch.equal(g.waiting[output].R, R)), None)
            if alike is not None:
                alike.methods += (name,)
            else:
                groups.append(Group((name,), {output: Waiting.at(output, R)}))
        return groups

    def _pass(self, node: Node, place: int) -> None:
        """Hand the relevance of one node down in every group; a group splits where its rules differ."""
        after: list[Group] = []
        by_rule: dict[Rule, list[Group]] = {}
        for group in self.groups:
            if not any(value in group.waiting for value in node.outputs):
                after.append(group)
                continue
            split: dict[Rule, list[str]] = {}
            for name in group.methods:
                split.setdefault(self.plans[name][place].rule, []).append(name)
            for rule, names in split.items():
                part = Group(tuple(names), dict(group.waiting) if len(split) > 1 else group.waiting)
                by_rule.setdefault(rule, []).append(part)
                after.append(part)
        self.groups = after
        stacks = [(rule, stack) for rule, groups in by_rule.items() for stack in _stacks(node, groups)]
        stacks.sort(key=lambda each: -each[0].sides)  # what makes both denominators leaves one to the others
        visit = Visit(self.conventions, shared=len(stacks) > 1)
        for rule, stack in stacks:
            self._propagate(node, rule, stack, visit)
        visit.made.clear()  # what was made knows of the visit: left so, both would wait for the garbage collector

    def _propagate(self, node: Node, rule: Rule, groups: list[Group], visit: Visit) -> None:
        """Hand down the relevance of all groups that follow the same rule here, as one stack of maps."""
        upper = self._taken(node, groups)
        incoming = sum_over(waiting.total for waiting in upper)
        size = sum_over(waiting.magnitude_at(value) for waiting, value in zip(upper, node.outputs, strict=True))
        visit.vanishes = all(waiting.vanishes for waiting in upper)
        visit.may_overwrite = self._nobody_else_needs(upper)
        share = handed_down(node, rule, [waiting.R for waiting in upper], visit)
        below = [
            None if R is None else _waiting_at(value, R, upper, _vanishing(share, value, above=visit.vanishes))
            for R, value in zip(share.relevance, node.inputs, strict=True)
        ]
        del upper
        given = [waiting.total for waiting in below if waiting is not None]
        out = sum_over(given) if given else self._full(0.0, incoming)
        rest = [c if isinstance(c, Tensor) else self._full(c, incoming) for c in (share.bias, share.eps, share.lost)]
        maps = len(incoming) // len(groups)
        for k, group in enumerate(groups):
            at = slice(None) if len(groups) == 1 else slice(k * maps, (k + 1) * maps)
            for value, waiting in zip(node.inputs, below, strict=True):
                if waiting is not None:
                    part = waiting if len(groups) == 1 else waiting.part(at)
                    known = group.waiting.get(value)
                    group.waiting[value] = part if known is None else known + part
            row = Row(node.path, node.op.name, str(rule), *(column[at] for column in (incoming, out, *rest, size)))
            for name in group.methods:
                self.rows[name].append(row)

    def _full(self, number: float, like: Tensor) -> Tensor:
        """The same number for every map and picture, made once."""
        key = (number, len(like))
        if key not in self.filled:
            self.filled[key] = torch.full_like(like, number)
        return self.filled[key]

    def _taken(self, node: Node, groups: list[Group]) -> list[Waiting]:
        """The relevance of each output, of all groups one after the other; the groups hold it no longer."""
        maps = next(len(waiting.R) for group in groups for waiting in group.waiting.values())
        found: list[Waiting] = []
        for value in node.outputs:
            each = [group.waiting.pop(value, None) for group in groups]
            found.append(stacked([self._none(value, maps) if waiting is None else waiting for waiting in each]))
        return found

    def _none(self, value: Value, maps: int) -> Waiting:
        return Waiting.none(value, maps, self.conventions.dtype)

    def _nobody_else_needs(self, upper: list[Waiting]) -> bool:
        """Whether these maps may be overwritten: no other relevance that still waits lies in the same memory."""
        if len(upper) != 1 or not upper[0].R.is_contiguous():
            return False
        first, end = addresses(upper[0].R)
        return not any(
            start < end and first < stop
            for group in self.groups
            for waiting in group.waiting.values()
            for start, stop in (addresses(waiting.R),)
        )


def handed_down(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """What the inputs of a node get, and where the rest went: the rule's own way, or the op's."""
    if node.op.hand_down is None:
        raise RelpropError(f"{node.where} has a place in the table and no way to hand relevance down")
    if type(rule).__module__.partition(".")[0] != "relprop":
        return _by_users_rule(node, rule, R, visit)
    share = rule.through(Call(node, visit), R)
    return node.op.hand_down(node, rule, R, visit) if share is None else share


def _by_users_rule(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """What a rule of the user's own writes into is its own copy; into the layer it must not write."""
    assert node.op.hand_down is not None
    R = R if visit.may_overwrite else [upper.clone() for upper in R]
    held = [*(value.data for value in node.inputs), *(constant.tensor for constant in node.constants)]
    before = [version(t) for t in held]
    share = rule.through(Call(node, visit), R)
    share = node.op.hand_down(node, rule, R, visit) if share is None else share
    if before != [version(t) for t in held]:
        raise RuleError(f"{rule} on {node.where} writes into the layer's own numbers; let it work on clones of them")
    return share


def _stacks(node: Node, groups: list[Group]) -> list[list[Group]]:
    """Groups that go together: those that lie in one place already, or are so small that they are soon copied."""
    waiting = [group.waiting.get(value) for group in groups for value in node.outputs]
    maps = [each.R for each in waiting if each is not None]
    if sum(R.numel() for R in maps) <= parts.AT_ONCE or common_stack(maps) is not None:
        return [groups]
    return [[group] for group in groups]


def _waiting_at(value: Value, R: Tensor, upper: list[Waiting], vanishes: bool) -> Waiting:
    """Relevance with its sums; many ops hand down what they got (who overwrites it gives another view of it)."""
    same = next((waiting for waiting in upper if waiting.R is R), None)
    if same is None:
        return Waiting.at(value, R, vanishes=vanishes)
    return Waiting(R, same.total, same.magnitude, vanishes)


def _vanishing(share: Share, value: Value, *, above: bool) -> bool:
    """Whether what a value got is proved to be 0 wherever the value, as it is held, is not positive."""
    if share.zero is Zero.AS_ABOVE:
        return above
    return share.zero is Zero.WITH_INPUT and (value.nonneg or value.rectified)
