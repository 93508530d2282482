"""A program, read by the reference: gates, layers with their BatchNorm, fully connected ops, which op a selector means.

Everything is found out from the steps alone (`random_program.Step`): what depends on what, and what is proved of whom.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch

from intervals import finite
from random_program import Network, Step
from reference import Dense
from reference_composites import ASKED, FITS, STACK, Composite, RefusedError, Rule, Selector, asked_for

WEIGHTED = ("conv", "linear")


@dataclass(eq=False)
class Op:
    """A step of the program, and what is found out about it.

    Attributes:
        step: what it is.
        order: its place in the program.
        sources: the op that made each value that it reads; None for the input.
        reached: whether relevance can come to it.
        seen: whether a weighted op lies before its result.
        merged: the BatchNorm that belongs to this layer.
        layer: the layer that this BatchNorm belongs to.
        head: whether it is fully connected.
        number: the same for values that identical calls made of the same values.
        dense: its explicit matrix, once somebody asked for it.
        row: of a function without a value at 0, all functions of each number that it is taken with, itself the last.
    """

    step: Step
    order: int
    sources: tuple["Op | None", ...]
    reached: bool = False
    seen: bool = False
    merged: "Op | None" = None
    layer: "Op | None" = None
    head: bool = False
    number: Any = None
    dense: Dense | None = None
    row: tuple["Op", ...] = ()

    @property
    def kind(self) -> str:
        """What the step is."""
        return self.step.kind

    @property
    def about(self) -> dict[str, Any]:
        """What the step says beside."""
        return self.step.about


def read(net: Network) -> list[Op]:
    """The ops that the output depends on, in order."""
    made: dict[str, Op | None] = {"v0": None}
    ops: list[Op] = []
    for order, step in enumerate(net.steps):
        op = Op(step, order, tuple(made[r] for r in step.reads))
        op.seen = op.kind in WEIGHTED or any(source is not None and source.seen for source in op.sources)
        if op.kind == "opaque":
            _take_row(op)
        op.number = (step.call or order, tuple(map(number, op.sources)))
        if op.about.get("same"):  # it gives the very tensor that it reads, whichever names that has
            made |= {name: op for name, holder in made.items() if holder is op.sources[0]}
        made[step.gives] = op
        ops.append(op)
    last = made[net.output]
    needed, reached = {last}, {last}
    for op in reversed(ops):
        if op in needed:
            needed.update(op.sources)
    for op in reversed(ops):
        if op in reached and op in needed:
            op.reached = True
            reached.update(source for source, part in zip(op.sources, parts(op), strict=True) if part)
    ops = [op for op in ops if op in needed]
    if any(op.reached and op.kind == "opaque" and not op.row for op in ops):
        raise OpaqueError
    _merge(ops)
    _find_heads(ops)
    return ops


def _take_row(op: Op) -> None:
    """The longest row of functions of each number before one without a value at 0 that makes it finite there."""
    row, found = [op], []
    while True:
        if bool(torch.isfinite(through(row, torch.zeros(row[0].step.shapes[0], dtype=torch.float64))).all()):
            found = list(row)
        before = row[0].sources[0]
        alone = before is not None and len(before.sources) == 1 and before.step.call != ""
        one_by_one = alone and (before.kind in EACH_NUMBER or before.about.get("identity"))
        if not one_by_one or before.step.shapes[0] != before.step.shapes[-1]:
            break
        row.insert(0, before)
    if found:
        op.row, op.sources = tuple(found), found[0].sources


EACH_NUMBER = ("activation", "scale", "add", "opaque")


def through(row: Sequence[Op], x: torch.Tensor) -> torch.Tensor:
    """Functions in turn."""
    for op in row:
        x = op.step.value(x)
    return x


class OpaqueError(Exception):
    """Relevance would come to a function without a value at 0: the engine must refuse the network."""


def number(op: Op | None) -> Any:
    """Of a value; None is the input's."""
    return None if op is None else op.number


def assigned(ops: list[Op], composite: Composite) -> dict[Op, Rule | None]:
    """The rule of every op that relevance comes to; None is what the op does by itself."""
    reached = [op for op in ops if op.reached]
    meant = [(selector, rule, select(selector, reached)) for selector, rule in composite]
    return {op: _rule_of(op, meant) for op in reached}


# -- gates and multiples -------------------------------------------------------------------------------


def parts(op: Op) -> tuple[float, ...]:
    """The part of relevance that each value read may receive (1: some)."""
    if op.kind == "stop":
        return (0.0,)
    return factor_parts(op) if op.kind == "product" else (1.0,) * len(op.sources)


def factor_parts(op: Op) -> tuple[float, float]:
    """Of two factors the gate gets nothing, and two of a kind half each: what is proved of their numbers tells.

    Two finite bounds make a gate of a factor beside one without; never being negative makes one of two such; a smaller
    upper bound makes one of two that never are.
    """
    a, b = (bounds_of(source) for source in op.sources)
    for proved in (finite, lambda bounds: bounds[0] >= 0):
        if proved(a) != proved(b):
            return (0.0, 1.0) if proved(a) else (1.0, 0.0)
        if not proved(a):
            return 0.5, 0.5
    if a[1] == b[1]:
        return 0.5, 0.5
    return (0.0, 1.0) if a[1] < b[1] else (1.0, 0.0)


def bounds_of(op: Op | None) -> tuple[float, float]:
    """Proved of a value; nothing is of the input."""
    return (-float("inf"), float("inf")) if op is None else op.step.bounds


def basis(op: Op | None) -> Op | None:
    """The value that this one is a multiple of, number by number: by gates, constant factors and sums of such."""
    while op is not None:
        if op.kind == "scale" or op.about.get("identity") or (op.kind == "add" and of_one(op)):
            op = op.sources[0]
        elif op.kind == "product" and 1.0 in factor_parts(op):
            op = op.sources[factor_parts(op).index(1.0)]
        else:
            break
    return op


def of_one(op: Op) -> bool:
    """Whether all terms of a sum are multiples of one value: then all goes on to that."""
    bases = {number(basis(source)) for source in op.sources}
    return len(op.sources) > 1 and len(bases) == 1


# -- layers --------------------------------------------------------------------------------------------


def _merge(ops: list[Op]) -> None:
    """A BatchNorm that alone reads a layer's output belongs to the layer, also past what leaves numbers as they are."""
    readers: dict[Op | None, int] = {}
    for op in ops:
        for source in op.sources:
            readers[source] = readers.get(source, 0) + 1
    for op in ops:
        source = op.sources[0]
        if op.kind != "norm":
            continue
        while source is not None and source.about.get("identity") and readers[source] == 1:
            source = source.sources[0]
        if source is None or source.kind not in WEIGHTED or not source.about["merges"] or readers[source] != 1:
            continue
        op.layer, source.merged = source, op


def _find_heads(ops: list[Op]) -> None:
    """Linear ops; convolutions that cover their input; those of 1x1 that no other layer follows."""
    weighted = {op for op in ops if op.kind in WEIGHTED and op.reached}
    left = above([op for op in ops if op.reached], weighted)
    for op in weighted:
        last = left[op] == 0 and op.about.get("pointwise", False)
        op.head = op.kind == "linear" or op.about["covers"] or last


# -- what a selector means -----------------------------------------------------------------------------


def below(ops: list[Op], chosen: set[Op]) -> dict[Op, int]:
    """How many of the chosen lie on the longest way from the input to each op."""
    depth: dict[Op, int] = {}
    for op in ops:
        ways = [depth[source] + (source in chosen) for source in op.sources if source in depth]
        depth[op] = max(ways, default=0)
    return depth


def above(ops: list[Op], chosen: set[Op]) -> dict[Op, int]:
    """How many of the chosen lie on the longest way from each op to the output."""
    left = dict.fromkeys(ops, 0)
    for op in reversed(ops):
        for source in op.sources:
            if source in left:
                left[source] = max(left[source], left[op] + (op in chosen))
    return left


def select(selector: Selector, ops: list[Op]) -> set[Op]:
    """The ops that a selector means, of those that relevance can come to."""
    name, *rest = selector
    if name in ("and", "or"):
        a, b = (select(each, ops) for each in rest)
        return a & b if name == "and" else a | b
    if name == "not":
        return {*ops} - select(rest[0], ops)
    if name in ("first", "last"):
        chosen = select(rest[1], ops)
        depth = (below if name == "first" else above)(ops, chosen)
        return {op for op in chosen if depth[op] < rest[0]}
    if name == "path":
        found = {op for op in ops if fnmatchcase(op.step.path, rest[0])}
        if not found:
            raise RefusedError(f"no op is at {rest[0]}")
        return found
    if name == "before head":
        heads = {op for op in ops if op.head}
        kinds, depth = ("conv", "norm", "add", "average", "interpolate", "max"), below(ops, heads)
        return {op for op in ops if op.kind in kinds and depth[op] == 0 and not op.head}
    kinds = {"any": None, "weighted": WEIGHTED, "head": WEIGHTED}.get(name, ASKED.get(name))
    return {op for op in ops if (kinds is None or op.kind in kinds) and (name != "head" or op.head)}


def _rule_of(op: Op, meant: list[tuple[Selector, Rule, set[Op]]]) -> Rule | None:
    if op.layer is not None:
        return None
    for selector, rule, found in meant:
        if op not in found:
            continue
        asked = asked_for(selector) if selector != STACK else {"conv", "norm", "add", "average", "max"}
        fits = op.kind in FITS.get(rule[0], WEIGHTED)
        if fits or (op.kind in ("average", "interpolate", "norm") and op.kind in asked):
            if rule[0] == "Flat" and op.kind in WEIGHTED and op.head:
                raise RefusedError("flat on a fully connected op")
            if rule[0] == "Pass" and op.step.shapes[-1] != op.step.shapes[0]:
                raise RefusedError("shapes differ")
            if op.kind == "interpolate" and rule[0] not in ("Epsilon", "Z", "Pass"):
                raise RefusedError("interpolation takes epsilon alone")
            return rule
        return None
    if op.kind in WEIGHTED:
        raise RefusedError("a layer without a rule")
    return None
