"""Ops that only move numbers: relevance goes back the way the numbers came."""

from __future__ import annotations

import torch
from torch import Tensor

from relprop.ops.call import Call
from relprop.rules.layer import Rule, Share, Zero
from relprop.tape.tape import Node, Slot
from relprop.tape.trees import float_tensors
from relprop.tape.visit import Visit


def move(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """The op's own vector-Jacobian product; what would go to constants and padding is lost."""
    del rule
    simple = _moved_back(node, R[0]) if len(R) == 1 else None
    if simple is not None:
        return Share(simple, zero=Zero.AS_ABOVE)
    inputs = [v.data.to(visit.dtype) for v in node.inputs]
    below = Call(node, visit).gradient(R)
    lost: Tensor | float = 0.0
    if node.op.loses or node.constants:
        # 1 where a number comes from the input, 0 where it is a constant or padding
        reach = float_tensors(node.call([torch.ones_like(x) for x in inputs], visit.dtype))
        blank = float_tensors(node.call([torch.zeros_like(x) for x in inputs], visit.dtype))
        for upper, one, zero, value in zip(R, reach, blank, node.outputs, strict=True):
            lost = lost + value.owners.total(upper * (one == zero))
    return Share(below, lost=lost, zero=Zero.AS_ABOVE)


def _moved_back(node: Node, R: Tensor) -> tuple[Tensor, ...] | None:
    """The same for the two moves that nearly every network has, without making the call again; else None."""
    if node.op.name in IN_ORDER and node.outputs[0].shape.numel() == node.inputs[0].shape.numel():
        return (R.reshape(len(R), *node.inputs[0].shape),)
    parts = node.argument("tensors", 0)
    slots = [part.k for part in parts if isinstance(part, Slot)] if isinstance(parts, (tuple, list)) else []
    if node.op.name not in JOINED or slots != [*range(len(node.inputs))] or len(slots) < len(parts):
        return None
    axis = node.argument("dim", 1, 0) % len(node.outputs[0].shape) + 1
    if any(len(value.shape) != R.ndim - 1 for value in node.inputs):  # torch joins (0,) to anything
        return None
    below: tuple[Tensor, ...] = R.split([value.shape[axis - 1] for value in node.inputs], axis)
    return below


IN_ORDER = frozenset({"flatten", "view", "reshape", "unflatten", "squeeze", "unsqueeze", "ravel"})
"""Moves of one value that keep the order of its numbers."""

JOINED = frozenset({"cat", "concat", "concatenate"})


def passing(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """The number stays where it was: so does relevance."""
    del node, rule, visit
    return Share((R[0],), zero=Zero.AS_ABOVE)


def cast(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """The same numbers in another type or on another device: relevance stays in its own precision."""
    del rule, visit
    return Share((R[0].to(node.inputs[0].data.device), *[None] * (len(node.inputs) - 1)))


def stop(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """A detach: the model says that nothing flows here, so all is lost, and the ledger says so."""
    del rule, visit
    return Share((None,), lost=node.outputs[0].owners.total(R[0]))


def blank(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """What is overwritten by a constant gets nothing: all is lost."""
    del rule, visit
    return Share((None,) * len(node.inputs), lost=node.outputs[0].owners.total(R[0]))


def by_a_value(node: Node) -> str | None:
    """Why filling is no constant, or None."""
    return "it fills with a value; write it as y * 0 + value" if len(node.inputs) > 1 else None


def of_finite_numbers(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """Numbers stay where they were; what constants stand for that are no numbers is lost."""
    del rule, visit
    finite = node.inputs[0].data.isfinite()
    if bool(finite.all()):
        return Share((R[0],), zero=Zero.AS_ABOVE)
    return Share((R[0] * finite,), lost=node.outputs[0].owners.total(R[0] * ~finite))


def put_once(node: Node) -> str | None:
    """Why what a call puts has no one place each, or None."""
    if node.argument("accumulate", 3, False):
        return "it does more than to write; use scatter_add or index_add for sums"
    index = node.argument("index", 1)
    return None if index.unique().numel() == index.numel() else TWICE


def written_once(node: Node) -> str | None:
    """Why what a call writes has no one place each, or None."""
    scatters = node.op.name == "scatter"
    if node.argument("reduce", 4) is not None or (not scatters and node.argument("accumulate", 3, False)):
        return "it does more than to write; use scatter_add or index_add for sums"
    shape = _shape(node, node.argument("input", 0))
    if scatters:
        if not isinstance(node.argument("src", 3, node.argument("value", 3)), Tensor | Slot):
            return None
        index = node.argument("index", 2)
        ones = torch.ones(index.shape, device=index.device)
        count = torch.zeros(shape, device=index.device).scatter_add_(node.argument("dim", 1), index, ones)
    else:
        count = torch.zeros(shape, device=node.inputs[0].data.device)
        count.index_put_(tuple(node.argument("indices", 1)), count.new_ones(()), accumulate=True)
    return TWICE if bool((count > 1).any()) else terms_of_another_shape(node)


def terms_of_another_shape(node: Node) -> str | None:
    """Why torch has no way back through a scatter, or None."""
    source = node.argument("src", 3)
    if "scatter" not in node.op.name or not isinstance(source, Slot):
        return None
    same = _shape(node, source) == node.argument("index", 2).shape
    return None if same else "its src is larger than its index; cut it to the shape of the index"


def _shape(node: Node, argument: Slot | Tensor) -> torch.Size:
    return node.inputs[argument.k].shape if isinstance(argument, Slot) else argument.shape


TWICE = "two numbers are written to one place, and which stays is not told; use scatter_add or index_add, or write once"


def drops_at_random(node: Node) -> str | None:
    """Why a dropout is random, or None."""
    on = node.argument("train" if "train" in node.kwargs else "training", 2, True)
    if on and node.argument("p", 1, 0.5) > 0:
        return "dropout is switched on, so the output is random; pass training=self.training and use eval()"
    return None


def nobody(node: Node) -> list[bool]:
    """No input receives anything."""
    return [False] * len(node.inputs)
