"""Token ids: they move through the model until an embedding turns each into a row of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from relprop.rules.layer import Kind, Rule, Share
from relprop.tape.tape import Node, Op, Slot, Value
from relprop.tape.trees import tensors_of
from relprop.tape.visit import Visit


def embedding(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """A token gets the sum over its row: R_t = sum_d R_td."""
    del node, rule, visit
    return Share((R[0].sum(-1),))


def rows_depend_on_input(node: Node) -> str | None:
    """Why an embedding is no lookup in constants, or None."""
    if len(node.inputs) > 1 or not isinstance(node.argument("input", 0), Slot):
        return "its rows depend on the input; only constant ones pass relevance"
    if node.argument("max_norm", 3) is not None:
        return "max_norm rewrites its rows while the model runs; renormalise them once, and leave max_norm out"
    return None


def are_ids(value: Value) -> bool:
    """Whether a value is whole numbers that went into the model, and none that the model made of others."""
    return not value.data.is_floating_point() and not value.obscure


def carries_ids(op: Op, func: Any, values: tuple[Value, ...], args: Any, kwargs: Any) -> bool:
    """Whether a call moves token ids or looks them up, so that relevance comes back to them through it."""
    if op.kind in (Kind.GETTER, Kind.CONSTANT, Kind.ESCAPE):
        return True  # gives no value, whatever goes in
    if any(v.data.is_floating_point() for v in values):
        return False
    return op.kind == Kind.EMBEDDING or moves_ids(op, func, values, args, kwargs)


def moves_ids(op: Op, func: Any, ids: Sequence[Any], args: Any, kwargs: Any) -> bool:
    """Whether what a call makes of token ids are those tokens, elsewhere."""
    if op.kind != Kind.MOVE or op.name in BY_THEIR_NUMBERS or _made_floating(op, func, args, kwargs):
        return False
    return len(ids) == 1 or op.name in JOINED


def looked_up(nodes: Sequence[Node]) -> set[Value]:
    """The values that an embedding looks up, and those that they were moved from."""
    found: set[Value] = set()
    for node in reversed(nodes):
        if node.kind == Kind.EMBEDDING or not found.isdisjoint(node.outputs):
            found.update(node.inputs)
    return found


BY_THEIR_NUMBERS = frozenset({"sort", "topk", "where", "masked_fill", "tril", "triu"})
"""Moves after which a number may be none of the tokens."""

JOINED = frozenset({"cat", "concat", "concatenate", "stack", "hstack", "vstack"})

CASTS = frozenset({"float", "double", "half", "bfloat16"})


def _made_floating(op: Op, func: Any, args: Any, kwargs: Any) -> bool:
    """Whether a cast gives floating-point numbers."""
    if op.name != "to":
        return False
    others = [*args[1:], *kwargs.values()]
    types = [a for a in others if isinstance(a, torch.dtype)] + [t.dtype for t in tensors_of((args[1:], kwargs))]
    return getattr(func, "__name__", "") in CASTS or any(dtype.is_floating_point for dtype in types)
