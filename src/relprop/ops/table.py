"""The closed table: what each torch function does with relevance, keyed by the function object itself.

A function that is not in here becomes an opaque node, and relevance that would have to pass through it
raises `UnsupportedOp`: never a silent gradient, never a zero. To teach the engine an op, register its
functions in the file of its kind, with one function that hands relevance down.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from relprop.rules.layer import Own, Rule, Share

if TYPE_CHECKING:
    from torch import Tensor

    from relprop.ops.context import Context
    from relprop.tape.tape import Node

Propagate = Callable[["Node", Rule, "list[Tensor]", "Context"], Share]
"""Relevance of each output, (T, *shape), to the relevance of each input and where the rest went."""

MOVE, STOP = Own("moved"), Own("stopped")

UNIT = frozenset({"getter", "constant", "escape"})
"""Kinds that are no nodes: they carry no relevance."""


def never(node: Node) -> bool:
    """The output can be negative, for all that is known."""
    del node
    return False


def always(node: Node) -> bool:
    """The output is never negative."""
    del node
    return True


def kept(node: Node) -> bool:
    """The output is not negative where the inputs are not."""
    return not node.constants and all(value.nonneg for value in node.inputs)


@dataclass(frozen=True)
class Op:
    """What the engine knows of a function.

    Attributes:
        name: as plans, ledgers and errors show it.
        kind: what selectors ask for: conv, linear, avg_pool, max_pool, add, norm, activation, product,
            move, identity, stop; or getter, constant, escape, which are no nodes.
        propagate: hands relevance down; None where there is nothing to hand down.
        default: the rule where the composite gives none; None: the composite must give one.
        samples: how the axis of pictures goes through (see `samples`).
        positive: whether a call's output is proved to hold no negative number.
        refuse: a reason why this very call cannot be explained, or None.
        receivers: which inputs of a call are handed relevance; None: all of them.
        loses: whether outputs can stem from constants or padding.
        form: whether arguments after the first give nothing but a shape or a type, so that a constant
            first argument makes a constant.
        run: makes a recorded call, and may note on the node what relevance will need.
    """

    name: str
    kind: str
    propagate: Propagate | None = None
    default: Rule | None = None
    samples: str = "same"
    positive: Callable[[Node], bool] = never
    refuse: Callable[[Node], str | None] | None = None
    receivers: Callable[[Node], list[bool]] | None = None
    loses: bool = False
    form: bool = False
    run: Callable[[Node, Any, Any], Any] | None = None


TABLE: dict[Any, Op] = {}
NAMESPACES: tuple[Any, ...] = (torch, torch.Tensor, F, torch._C._nn, torch.special)  # noqa: SLF001  (F.linear and F.gelu live there)


def register(op: Op, *functions: Any) -> None:
    """Enter functions into the table; a function that is there already is a mistake of ours."""
    for function in functions:
        if function in TABLE:
            raise ValueError(f"{function} is registered twice: {TABLE[function].name} and {op.name}")
        TABLE[function] = op


def spellings(*names: str) -> list[Any]:
    """Every function of these names in torch's namespaces: torch.relu, Tensor.relu_, F.relu, ..."""
    found: list[Any] = []
    for name in names:
        these = [getattr(space, name) for space in NAMESPACES if callable(getattr(space, name, None))]
        if not these:
            raise ValueError(f"torch has no function named {name}")
        found += [f for i, f in enumerate(these) if f not in these[:i] and f not in found]
    return found


def having(*names: str) -> list[str]:
    """Those of the names that this version of torch has."""
    return [n for n in names if any(callable(getattr(space, n, None)) for space in NAMESPACES)]


def properties(*names: str) -> list[Any]:
    """The getters of these properties of a tensor; they all arrive as `__get__`, each bound to its own."""
    return [getattr(torch.Tensor, name).__get__ for name in names if hasattr(torch.Tensor, name)]
