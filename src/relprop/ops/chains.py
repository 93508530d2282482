"""Functions that give nothing finite for 0, such as a logarithm, as part of the chain of functions before them.

An activation hands on (f(x) - f(0)) / f(x) of its relevance. log(x) has no f(0), but log(1 + x^2) and log(sigmoid(x))
have: a function of each number alone, of such a function, is one as well. So relevance goes from the end of the chain
to its beginning at once, and log(sigmoid(x)) gets what logsigmoid(x) gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from relprop.ops.normalization import UNCHANGED
from relprop.ops.remedies import NOTHING_FINITE
from relprop.rules.layer import Kind
from relprop.tape.tape import Node, Slot, Value
from relprop.tape.trees import mapped

LONGEST = 32
"""So many functions are put together at the most."""


@dataclass(frozen=True)
class Before:
    """Stands in a step's arguments for what the step before it gave."""


Step = tuple[Any, Sequence[Any], dict[str, Any]]
"""A function, its arguments and keywords."""


def in_turn(x: Tensor, steps: Sequence[Step]) -> Tensor:
    """One function after the other."""
    for function, args, kwargs in steps:
        given, named = mapped(Before, lambda _, x=x: x, (args, kwargs))  # type: ignore[misc]
        x = function(*given, **named)
    return x


def nothing_finite(node: Node) -> str | None:
    """Why relevance has no way through a function by itself."""
    return NOTHING_FINITE if len(node.inputs) == 1 else "only constant numbers beside the value have a rule"


def begun_earlier(node: Node) -> None:
    """Let a call that has no rule by itself be the whole chain, from the first value for whose 0 it is finite."""
    chain = [node]
    found: list[Node] = []
    while len(chain) < LONGEST:
        value = chain[0].inputs[0]
        if finite_for_nothing(chain, value):
            found = list(chain)
        before = value.source
        if before is None or not _of_each_number(before, value):
            break
        chain.insert(0, before)
    if not found:
        return
    value = found[0].inputs[0]
    steps = tuple(step for each in found for step in _steps(each))
    node.constants = tuple(constant for each in found for constant in each.constants)
    node.func, node.args, node.kwargs, node.inputs, node.problem = in_turn, (Slot(0), steps), {}, (value,), ""


def _steps(node: Node) -> Sequence[Step]:
    """A call as steps of a chain."""
    if node.func is in_turn:
        steps: Sequence[Step] = node.args[1]
        return steps
    return [(node.func, *mapped(Slot, lambda _: Before(), (node.args, node.kwargs)))]


def finite_for_nothing(chain: Sequence[Node], value: Value) -> bool:
    """Whether functions in turn give finite numbers for 0."""
    x = torch.zeros((), dtype=value.data.dtype, device=value.data.device)
    for node in chain:
        x = node.call([x])
    return bool(x.isfinite().all())


def _of_each_number(node: Node, value: Value) -> bool:
    """Whether a call is a function of each number alone, beside constants, and its input still stands."""
    usual = node.kind in (Kind.ACTIVATION, Kind.ADD, Kind.PRODUCT) or node.op.name in UNCHANGED
    if not usual or node.inplace or len(node.inputs) != 1 or len(node.outputs) != 1:
        return False
    if node.problem not in ("", NOTHING_FINITE) or node.op.name == "local_response_norm":
        return False
    return node.inputs[0].shape == value.shape and not node.inputs[0].rectified
