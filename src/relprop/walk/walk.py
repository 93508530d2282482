"""The walk: relevance goes from the logits to the input, op by op, for all methods and targets at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import torch
from torch import Tensor

from relprop.composites.composite import NOTHING, Assigned
from relprop.ops import parts
from relprop.ops.call import Call
from relprop.ops.embedding import looked_up
from relprop.rules.division import at_once
from relprop.rules.layer import Rule, Share, Zero
from relprop.support.errors import RelpropError, RuleError
from relprop.tape.tape import Node, Tape, Value
from relprop.tape.torch_internals import version
from relprop.tape.visit import Conventions, Visit
from relprop.walk.conditions import UNCONDITIONAL, Conditions
from relprop.walk.ledger import Ledger, Row
from relprop.walk.relevance import Waiting, addresses, common_stack, stacked, sum_over


@dataclass
class Group:
    """Methods that gave every op so far the same rule share their relevance."""

    methods: tuple[str, ...]
    waiting: dict[Value, Waiting] = field(default_factory=dict)


@dataclass
class Arrived:
    """Where relevance came to, by one method.

    Attributes:
        inputs: (T, *shape) of each of the tape's inputs; None for whole numbers that no embedding looks up.
        inside: (T, *shape) at the output of every module that was watched, by its path.
        ledger: where all of it went; None for a method that does not conserve relevance.
    """

    inputs: list[Tensor | None]
    inside: dict[str, Tensor]
    ledger: Ledger | None


class Walk:
    """One way down, for all methods and targets at once; it consumes the tape.

    Args:
        tape: a recorded pass that is ready (`record.prepare`).
        plans: per method the rule of each of the tape's nodes.
        conventions: of all rules.
        conditions: what is let through at which values; there are then T K maps, K conditions for each target.
        watched: whether relevance is kept at the tape's places.
    """

    def __init__(
        self,
        tape: Tape,
        plans: Mapping[str, list[Assigned]],
        conventions: Conventions,
        conditions: Conditions = UNCONDITIONAL,
        watched: Mapping[str, Value] = MappingProxyType({}),
    ) -> None:
        self.tape = tape
        self.plans = plans
        self.conventions = conventions
        self.precisions = {value.data.dtype for node in tape.nodes for value in node.outputs}
        self.precisions = {dtype for dtype in self.precisions if dtype.is_floating_point}
        ids = looked_up(tape.nodes)
        self.receiving = [v for v in tape.inputs if v.data.is_floating_point() or v in ids]
        self.conditions = conditions
        self.spread = False
        self.names: dict[Value, list[str]] = {}
        for name, value in watched.items():
            self.names.setdefault(value, []).append(name)
        self.inside: dict[str, dict[str, Tensor]] = {name: {} for name in plans}
        self.groups: list[Group] = []
        self.filled: dict[tuple[float, int], Tensor] = {}
        self.rows: dict[str, list[Row]] = {name: [] for name in plans}
        self.conserving = [name for name, plan in plans.items() if all(step.rule.conserves for step in plan)]

    def down(self, start: Mapping[str, list[Tensor]]) -> dict[str, Arrived]:
        """Where relevance comes to, per method.

        Args:
            start: the relevance of each of the tape's outputs, (T, *shape) per method; it may be overwritten.
        """
        self.groups = self._groups_that_start_alike(start)
        outputs = self.tape.outputs
        first = {
            name: sum_over(value.owners.total(R) for value, R in zip(outputs, each, strict=True))
            for name, each in start.items()
        }
        for node in self.tape.consume():
            self._look_at(node.outputs, node.path)
            self._pass(node, len(self.tape.nodes))
        self._look_at(self.tape.inputs, "")
        self._spread()
        arrived: dict[str, Arrived] = {}
        for group in self.groups:
            maps = len(first[group.methods[0]]) * self.conditions.number
            last = {value: group.waiting.get(value) or self._none(value, maps) for value in self.receiving}
            for name in group.methods:
                # flat repeats a channel in one place of memory
                R = {v: w.R.clone() if len(group.methods) > 1 else w.R.contiguous() for v, w in last.items()}
                ledger = self._ledger(name, first[name], sum_over(w.total for w in last.values()))
                inputs = [R.get(value) for value in self.tape.inputs]
                arrived[name] = Arrived(inputs, self._kept(name, maps), ledger)
        return arrived

    def _ledger(self, name: str, first: Tensor, end: Tensor) -> Ledger | None:
        """The ledger of a method that conserves relevance, a column per map in every row."""
        if name not in self.conserving:
            return None
        maps = len(end)
        rows = [row.repeated(maps // len(row.relevance_in)) for row in self.rows[name]]
        return Ledger(first.repeat_interleave(maps // len(first), 0), end, rows, self._coarsest())

    def _kept(self, name: str, maps: int) -> dict[str, Tensor]:
        """What a method left at the values that were watched, zero where relevance never came."""
        kept = self.inside[name]
        for value, names in self.names.items():
            for place in names:
                R = kept.get(place)
                zeros = (maps, *value.shape)
                R = torch.zeros(zeros, dtype=self.conventions.dtype, device=value.data.device) if R is None else R
                kept[place] = R.repeat_interleave(maps // len(R), 0)
        return {place: kept[place] for names in self.names.values() for place in names}

    # -- conditions, and what is watched ---------------------------------------------------------------

    def _look_at(self, values: Sequence[Value], path: str) -> None:
        """All relevance has come to these values: restrict it, and keep it, where that is asked for."""
        for value in values:
            mask = self.conditions.masks.get(value)
            if mask is not None:
                self._spread()
                for group in self.groups:
                    self._restrict(group, value, mask, path)
            if value in self.names:
                self._keep(value)

    def _spread(self) -> None:
        """From here on there is a map for every target and condition: the same, until the first mask."""
        if self.spread or self.conditions.number == 1:
            return
        self.spread = True
        for group in self.groups:
            group.waiting = {v: waiting.repeated(self.conditions.number) for v, waiting in group.waiting.items()}

    def _restrict(self, group: Group, value: Value, mask: Tensor, path: str) -> None:
        """Take what the conditions do not let through."""
        waiting = group.waiting.get(value)
        if waiting is None:
            return
        number = self.conditions.number
        R = waiting.R.unflatten(0, (-1, number))
        let = mask.to(R.dtype)
        through = Waiting.at(value, (R * let).flatten(0, 1), vanishes=waiting.vanishes)
        lost = value.owners.total((R * (1 - let)).flatten(0, 1))
        group.waiting[value] = through
        none = self._full(0.0, waiting.total)
        size = waiting.magnitude_at(value)
        row = Row(path, "condition", self.conditions.words, waiting.total, through.total, none, none, lost, size)
        for name in group.methods:
            self.rows[name].append(row)

    def _keep(self, value: Value) -> None:
        """Keep the relevance at a value, as it is before it goes on."""
        for group in self.groups:
            if value in group.waiting:
                R = group.waiting[value].R
                for name in group.methods:
                    self.inside[name] |= {place: R.clone() for place in self.names[value]}

    def _coarsest(self) -> float:
        """The machine epsilon of the coarsest precision that model or rules computed in."""
        return max(torch.finfo(dtype).eps for dtype in {*self.precisions, self.conventions.dtype})

    def _groups_that_start_alike(self, start: Mapping[str, list[Tensor]]) -> list[Group]:
        groups: list[Group] = []
        began: list[list[Tensor]] = []
        for name, each in start.items():
            alike = [k for k, other in enumerate(began) if all(map(torch.equal, other, each))]
            if alike:
                groups[alike[0]].methods += (name,)
                continue
            group = Group((name,))
            for value, R in zip(self.tape.outputs, each, strict=True):
                waiting, known = Waiting.at(value, R), group.waiting.get(value)
                group.waiting[value] = waiting if known is None else known + waiting
            groups.append(group)
            began.append(each)
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
        within = share.within
        out = out if within is None else out + within
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
                if within is not None:
                    self.rows[name].append(self._inner_softmax(row, within[at]))

    def _inner_softmax(self, row: Row, took: Tensor) -> Row:
        """The remainder of a softmax inside an op, in a row of its own."""
        none = self._full(0.0, took)
        return replace(row, op="softmax", relevance_in=took, relevance_out=none, bias=took, eps=none, lost=none)

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
    if rule is NOTHING:
        raise RuleError(
            f"relevance came to {node.where}, which only opens a gate or feeds a detached value: a rule of the "
            f"composite handed it there; let that rule's class say so, opens = True"
        )
    if type(rule).__module__.partition(".")[0] != "relprop":
        return _by_users_rule(node, rule, R, visit)
    share = rule.hand_down(Call(node, visit), R)
    return node.op.hand_down(node, rule, R, visit) if share is None else share


def _by_users_rule(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """What a rule of the user's own writes into is its own copy; into the layer it must not write."""
    assert node.op.hand_down is not None
    R = R if visit.may_overwrite else [upper.clone() for upper in R]
    held = [*(value.data for value in node.inputs), *(constant.tensor for constant in node.constants)]
    before = [version(t) for t in held]
    share = rule.hand_down(Call(node, visit), R)
    share = node.op.hand_down(node, rule, R, visit) if share is None else share
    if before != [version(t) for t in held]:
        raise RuleError(f"{rule} on {node.where} writes into the layer's own numbers; let it work on clones of them")
    return share


def _stacks(node: Node, groups: list[Group]) -> list[list[Group]]:
    """Groups that go together: those that lie in one place already, or are so small that they are soon copied."""
    waiting = [group.waiting.get(value) for group in groups for value in node.outputs]
    maps = [each.R for each in waiting if each is not None]
    if sum(R.numel() for R in maps) <= at_once(maps[0], parts.AT_ONCE) or common_stack(maps) is not None:
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
