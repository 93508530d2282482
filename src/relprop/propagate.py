"""The walk: relevance goes from the output to the input, node by node; `attribute` and `explain`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from relprop.backprop import DERIVED, Backprop, derived
from relprop.composites import Assigned, Composite, assign
from relprop.errors import InputError, RelpropError
from relprop.ledger import Ledger, Row
from relprop.naming import BEST, Function, Method, resolve
from relprop.ops.context import Context
from relprop.prepare import Model, outputs_of, recorded
from relprop.profiles import profile_named
from relprop.rules import Rule, Share
from relprop.tape import Node, Tape, Value

Target = int | Tensor | None
Targets = Sequence[Target] | Target | Callable[[Tensor], Sequence[Target] | Tensor]


@dataclass(frozen=True)
class Explanation:
    """What `explain` returns; T targets, B pictures.

    Attributes:
        outputs: (B, C) logits, from the one forward pass that all methods share.
        targets: (T, B) class indices that were explained.
        relevance: per method (T, B, *x.shape[1:]).
        ledger: per method a row per op; a function of the user's own has none.
    """

    outputs: Tensor
    targets: Tensor
    relevance: dict[str, Tensor]
    ledger: dict[str, Ledger]


def attribute(
    model: Model,
    x: Tensor,
    target: Target = None,
    method: Method | Function = BEST,
    *,
    profile: str = "paper",
    start: str = "logit",
) -> Tensor:
    """Explain one decision per picture.

    Args:
        model: any PyTorch model (or function) in eval mode that maps x to logits (B, C). It is not changed.
        x: pictures, (B, ...), floating point and finite.
        target: the class to explain: an index for all, a (B,) integer tensor, or None for the predicted one.
        method: a name (`relprop.methods()`), with options after a colon; a `Composite`; or a function
            (model, x, target (B,)) -> relevance of x's shape.
        profile: numeric conventions: paper, innvestigate, toolbox or zennit.
        start: relevance starts as the target's "logit" (the paper), or as "one".

    Returns:
        Relevance of x's shape; float32, or float64 where x is. Positive numbers speak for the target.

    Raises:
        UnsupportedOp: if relevance cannot pass some op of the model; all of them are named.
        RuleError: if a rule does not fit an op.
        InputError: if model, x, target or method are not what they must be.

    Reference: Kohlbrenner et al. (2020), section II.
    """
    explanation = explain(model, x, [target], {"it": method}, profile=profile, start=start)
    return explanation.relevance["it"][0]


def explain(
    model: Model,
    x: Tensor,
    targets: Targets = None,
    methods: Sequence[str] | Mapping[str, Method | Function] | str = (BEST,),
    *,
    profile: str = "paper",
    start: str = "logit",
) -> Explanation:
    """Explain several classes by several methods with one forward pass and one walk.

    Args:
        model: as for `attribute`.
        x: pictures, (B, ...).
        targets: the classes, each as for `attribute`; None for the predicted one; or a function from the
            logits (B, C) to such a list, where the choice depends on them.
        methods: names, or a mapping from names of your own to composites, names or functions.
        profile: as for `attribute`.
        start: as for `attribute`.

    Returns:
        Logits, relevance (T, B, *x.shape[1:]) and ledger of every method.

    Raises:
        UnsupportedOp, RuleError, InputError: as `attribute` does.
    """
    if start not in ("logit", "one"):
        raise InputError(f"start is {start!r}, and must be 'logit' or 'one'")
    conventions = profile_named(profile)
    resolved = {name: resolve(method, model, conventions) for name, method in _named(methods).items()}
    composites = {name: method for name, method in resolved.items() if isinstance(method, Composite)}
    if not composites:  # no rule has to follow what the model does
        outputs = outputs_of(model, x)
        wanted = targets_of(targets, outputs)
        return Explanation(outputs, wanted, by_functions(resolved, model, x, wanted), {})
    tape, nodes = recorded(model, x)
    outputs = tape.output.data
    wanted = targets_of(targets, outputs)
    context = Context(tape.batch, torch.promote_types(x.dtype, torch.float32), conventions.ties)
    plans = {name: assign(composite, nodes, conventions) for name, composite in composites.items()}
    with torch.inference_mode(mode=False), torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        first = {
            name: starting_relevance(outputs, wanted, composite.start or start, context.dtype)
            for name, composite in composites.items()
        }
        relevance, ledger = Walk(tape, nodes, plans, context).down(first)
    relevance |= by_functions(resolved, model, x, wanted)
    return Explanation(outputs, wanted, {name: relevance[name] for name in resolved}, ledger)


def _named(methods: Any) -> dict[str, Any]:
    """Methods by the names that their results get."""
    methods = [methods] if isinstance(methods, str) else methods
    if not isinstance(methods, (Mapping, Sequence)):
        raise InputError(f"methods takes names, or a mapping from names of your own to methods; not {methods!r}")
    if not isinstance(methods, Mapping):
        for method in methods:
            if not isinstance(method, str):
                raise InputError(
                    f"methods takes names, or a mapping from names of your own to composites and functions; "
                    f"not {method!r}"
                )
        methods = {name: name for name in methods}
    if not methods:
        raise InputError("no method was named; see relprop.methods()")
    return dict(methods)


def by_functions(
    methods: Mapping[str, Composite | Function], model: Model, x: Tensor, targets: Tensor
) -> dict[str, Tensor]:
    """Relevance (T, B, ...) by those of the methods that are functions, for targets (T, B)."""
    with torch.inference_mode(mode=False):  # tensors of that mode cannot be differentiated by or with
        x, targets = x.clone() if x.is_inference() else x, targets.clone()
    return {
        name: torch.stack([_by_function(name, method, model, x, target) for target in targets])
        for name, method in methods.items()
        if not isinstance(method, Composite)
    }


def _by_function(name: str, function: Function, model: Model, x: Tensor, target: Tensor) -> Tensor:
    """Relevance by a function."""
    R = function(model, x, target)
    if not isinstance(R, Tensor) or R.shape != x.shape:
        got = tuple(R.shape) if isinstance(R, Tensor) else type(R).__name__
        raise InputError(f"method {name!r} returned {got}, and must return a tensor of x's shape {tuple(x.shape)}")
    return R.detach().to(x.device, torch.promote_types(x.dtype, torch.float32))


def targets_of(targets: Targets, outputs: Tensor) -> Tensor:
    """Class indices, (T, B).

    Raises:
        InputError: if a target is no class of the model's.
    """
    if callable(targets) and not isinstance(targets, Tensor):
        targets = list(targets(outputs))
    several = list(targets) if isinstance(targets, (list, tuple, range)) else [targets]
    if not several:
        raise InputError("no target was named; None means the predicted class")
    return torch.stack([_target(t, outputs) for t in several])


def _target(target: Any, outputs: Tensor) -> Tensor:
    batch, classes = outputs.shape
    if target is None:
        return outputs.argmax(1)
    if isinstance(target, Tensor) and target.ndim == 1:
        if target.shape[0] != batch:
            raise InputError(f"target has {target.shape[0]} classes for {batch} pictures")
        indices = target
    elif isinstance(target, bool) or (isinstance(target, Tensor) and target.dtype == torch.bool):
        raise InputError("target is a bool; an index, a (B,) integer tensor or None is needed")
    else:
        try:
            indices = torch.tensor([int(operator.index(target))] * batch)
        except TypeError:
            raise InputError(
                f"target is {target!r}; an index, a (B,) integer tensor or None (the predicted class) is needed"
            ) from None
    if indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool:
        raise InputError(f"target is {indices.dtype}; whole numbers are needed")
    if int(indices.min()) < 0 or int(indices.max()) >= classes:
        raise InputError(f"target {indices.tolist()} is out of range: the model has classes 0 to {classes - 1}")
    return indices.to(outputs.device, torch.long)


def starting_relevance(outputs: Tensor, targets: Tensor, start: str, dtype: torch.dtype) -> Tensor:
    """Relevance of the output, (T, B, C): the target's logit or one, zero elsewhere."""
    R = torch.zeros(len(targets), *outputs.shape, dtype=dtype, device=outputs.device)
    index = targets.unsqueeze(2)
    if start == "one":
        return R.scatter_(2, index, 1.0)
    logits = outputs.to(dtype).expand(len(targets), -1, -1)
    return R.scatter_(2, index, logits.gather(2, index))


@dataclass
class Group:
    """Methods that gave every op so far the same rule share their relevance."""

    methods: tuple[str, ...]
    relevance: dict[Value, Tensor] = field(default_factory=dict)


Sums = tuple[Tensor, Tensor]


class Walk:
    """One way down, for all methods and targets at once."""

    def __init__(self, tape: Tape, nodes: list[Node], plans: Mapping[str, list[Assigned]], context: Context) -> None:
        self.tape = tape
        self.nodes = nodes
        self.plans = plans
        self.context = context
        self.derived = {
            name for name, plan in plans.items() if any(isinstance(step.rule, Backprop) for step in plan)
        }  # gradients are not conserved: no ledger

    def down(self, first: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Ledger]]:
        """Relevance of the input and ledger per method, from the relevance of the output, (T, B, C) per method."""
        groups = [Group((name,), {self.tape.output: R}) for name, R in first.items()]
        groups = self._joined(groups)
        rows: dict[str, list[Row]] = {name: [] for name in self.plans}
        while self.nodes:
            node = self.nodes.pop()
            groups = self._pass(node, len(self.nodes), groups, rows)
            release(node)
        relevance: dict[str, Tensor] = {}
        ledger: dict[str, Ledger] = {}
        for group in groups:
            for name in group.methods:
                start, R = first[name], group.relevance.get(self.tape.input)
                R = start.new_zeros(len(start), *self.tape.input.shape) if R is None else R
                relevance[name] = R.clone() if len(group.methods) > 1 else R
                came, left = self.context.total(start, self.tape.output), self.context.total(R, self.tape.input)
                ledger[name] = Ledger(came, left, rows[name])
        return relevance, {name: ledger[name] for name in self.plans if name not in self.derived}

    def _joined(self, groups: list[Group]) -> list[Group]:
        """Methods that start alike begin as one group."""
        joined: list[Group] = []
        for group in groups:
            (R,) = group.relevance.values()
            for other in joined:
                (theirs,) = other.relevance.values()
                if torch.equal(R, theirs):
                    other.methods += group.methods
                    break
            else:
                joined.append(group)
        return joined

    def _pass(self, node: Node, place: int, groups: list[Group], rows: dict[str, list[Row]]) -> list[Group]:
        """Hand the relevance of one node down in every group; a group splits where its rules differ."""
        after: list[Group] = []
        by_rule: dict[Rule, list[Group]] = {}
        for group in groups:
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
        for rule, parts_of_rule in by_rule.items():
            self._propagate(node, rule, parts_of_rule, rows)
        return after

    def _propagate(self, node: Node, rule: Rule, groups: list[Group], rows: dict[str, list[Row]]) -> None:
        """Hand down the relevance of all groups that follow the same rule here, as one stack of maps."""
        upper = [self._stacked(value, groups) for value in node.outputs]
        if node.op.propagate is None:
            raise RelpropError(f"{node.where} has a place in the table and no way to hand relevance down")
        if isinstance(rule, Backprop) and node.kind in DERIVED:
            share = derived(node, rule, upper, self.context)
        else:
            share = node.op.propagate(node, rule, upper, self.context)
        above = [self._sums(R, value) for R, value in zip(upper, node.outputs, strict=True)]
        below = [
            self._same(R, upper, above) or self._sums(R, value)
            for R, value in zip(share.relevance, node.inputs, strict=True)
        ]
        maps = len(upper[0]) // len(groups)
        for k, group in enumerate(groups):
            mine = slice(k * maps, (k + 1) * maps)
            for value in node.outputs:
                group.relevance.pop(value, None)
            for value, R in zip(node.inputs, share.relevance, strict=True):
                if R is not None:
                    known = group.relevance.get(value)
                    group.relevance[value] = R[mine] if known is None else known + R[mine]
            row = self._row(node, rule, above, below, share, mine)
            for name in group.methods:
                rows[name].append(row)

    def _stacked(self, value: Value, groups: list[Group]) -> Tensor:
        """The relevance of a value in all groups, one after the other."""
        held = [group.relevance.get(value) for group in groups]
        like = next((R for R in held if R is not None), None)
        if like is None:  # no group holds relevance of this one of several outputs
            maps = next(len(R) for group in groups for R in group.relevance.values())
            return torch.zeros(maps * len(groups), *value.shape, dtype=self.context.dtype, device=value.data.device)
        if len(held) == 1:
            return like
        stack = together(held)
        return stack if stack is not None else torch.cat([torch.zeros_like(like) if R is None else R for R in held])

    def _sums(self, R: Tensor | None, value: Value) -> Sums | None:
        """The sum of relevance and of its absolute values, (T, B) each."""
        return None if R is None else (self.context.total(R, value), self.context.magnitude(R, value))

    def _same(self, R: Tensor | None, upper: list[Tensor], above: list[Sums | None]) -> Sums | None:
        """What was summed already: many ops hand down what they got."""
        return next((sums for U, sums in zip(upper, above, strict=True) if U is R), None)

    def _row(
        self, node: Node, rule: Rule, above: list[Sums | None], below: list[Sums | None], share: Share, mine: slice
    ) -> Row:
        """The row of the ledger for one op and one group."""
        came, size = (sum_over(s[k][mine] for s in above if s is not None) for k in (0, 1))
        handed = [s[0][mine] for s in below if s is not None]
        bias, eps, lost = (
            c[mine] if isinstance(c, Tensor) else torch.full_like(came, c) for c in (share.bias, share.eps, share.lost)
        )
        out = sum_over(handed) if handed else torch.zeros_like(came)
        return Row(node.path, node.op.name, str(rule), came, out, bias, eps, lost, size)


def together(held: Sequence[Tensor | None]) -> Tensor | None:
    """The stack that these maps are consecutive slices of, if they are all of one; nothing needs to be copied then."""
    first = held[0]
    base = None if first is None else first._base  # noqa: SLF001  (public in all but name)
    if first is None or base is None or base.shape[1:] != first.shape[1:] or not base.is_contiguous():
        return None
    place = base.data_ptr()
    for R in held:
        if R is None or R._base is not base or R.data_ptr() != place or not R.is_contiguous():  # noqa: SLF001
            return None
        place += R.numel() * R.element_size()
    return base if place == base.data_ptr() + base.numel() * base.element_size() else None


def sum_over(terms: Any) -> Tensor:
    """The sum of tensors of one shape."""
    terms = list(terms)
    return terms[0] if len(terms) == 1 else torch.stack(terms).sum(0)


def release(node: Node) -> None:
    """Forget what no node below needs: memory falls as the walk goes down."""
    done = [value for value in node.outputs if node.into is None]
    if node.merged is not None:
        done.append(node.merged[2])
    for value in done:
        value.data = torch.empty(0)
    node.args, node.kwargs, node.constants, node.merged = (), {}, (), None
