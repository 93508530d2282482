"""Ops that only move numbers: relevance goes back the way the numbers came."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from relprop.ops.table import MOVE, STOP, Op, having, kept, properties, register, spellings
from relprop.ops.vjp import vjp
from relprop.rules.layer import Rule, Share
from relprop.tape.tape import Slot
from relprop.tape.trees import float_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from relprop.ops.context import Context
    from relprop.tape.tape import Node


def move(node: Node, rule: Rule, R: list[Tensor], context: Context) -> Share:
    """The op's own vector-Jacobian product; what would go to constants and padding is lost."""
    del rule
    simple = _moved_back(node, R[0]) if len(R) == 1 else None
    if simple is not None:
        return Share(simple, proportional=None)
    inputs = [context.data(v) for v in node.inputs]
    below = vjp(lambda *leaves: float_tensors(node.call(leaves, context.dtype)), inputs, R)
    lost: Tensor | float = 0.0
    if node.op.loses or node.constants:
        # 1 where a number comes from the input, 0 where it is a constant or padding
        reach = float_tensors(node.call([torch.ones_like(x) for x in inputs], context.dtype))
        blank = float_tensors(node.call([torch.zeros_like(x) for x in inputs], context.dtype))
        for upper, one, zero, value in zip(R, reach, blank, node.outputs, strict=True):
            lost = lost + context.total(upper * (one == zero), value)
    return Share(below, lost=lost, proportional=None)


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


def passing(node: Node, rule: Rule, R: list[Tensor], context: Context) -> Share:
    """The number stays where it was: so does relevance."""
    del node, rule, context
    return Share((R[0],), proportional=None)


def cast(node: Node, rule: Rule, R: list[Tensor], context: Context) -> Share:
    """The same numbers in another type or on another device: relevance stays in its own precision."""
    del rule, context
    return Share((R[0].to(node.inputs[0].data.device), *[None] * (len(node.inputs) - 1)))


def stop(node: Node, rule: Rule, R: list[Tensor], context: Context) -> Share:
    """A detach: the model says that nothing flows here, so all is lost, and the ledger says so."""
    del rule
    return Share((None,), lost=context.total(R[0], node.outputs[0]))


def _dropout_is_off(node: Node) -> str | None:
    on = node.argument("train" if "train" in node.kwargs else "training", 2, True)
    if on and node.argument("p", 1, 0.5) > 0:
        return "dropout is switched on, so the output is random; pass training=self.training and use eval()"
    return None


MOVES = (
    "reshape unflatten squeeze unsqueeze permute transpose swapaxes swapdims movedim moveaxis t adjoint "
    "split chunk unbind tensor_split narrow select index_select gather take_along_dim expand "
    "repeat tile repeat_interleave roll flip fliplr flipud rot90 cat concat concatenate stack hstack "
    "vstack diagonal broadcast_to pixel_shuffle pixel_unshuffle channel_shuffle topk "
    "sort ravel unfold hsplit vsplit dsplit split_with_sizes squeeze_ unsqueeze_ transpose_ t_ "
    "masked_select atleast_1d atleast_2d atleast_3d"
).split()
LOSING = ("pad where masked_fill masked_fill_ tril triu __setitem__ copy_ index_copy fill_diagonal_").split()

AS_ANOTHER = ("expand_as", "view_as", "reshape_as")

# `unfold` is two functions: Tensor.unfold takes windows along an axis, F.unfold pads as well.
for _name in having(*MOVES):
    register(
        Op(_name.strip("_"), "move", move, MOVE, samples="moved", positive=kept, loses=_name == "unfold"),
        *spellings(_name),
    )
for _name in AS_ANOTHER:
    register(Op(_name, "move", move, MOVE, samples="moved", positive=kept, form=True), *spellings(_name))
for _name in ("flatten", "view"):
    register(Op(_name, "move", move, MOVE, samples="moved", positive=kept), *spellings(_name))
register(Op("getitem", "move", move, MOVE, samples="moved", positive=kept), torch.Tensor.__getitem__)
register(Op("transpose", "move", move, MOVE, samples="moved", positive=kept), *properties("T", "mT", "H", "mH"))
for _name in LOSING:
    register(
        Op(_name.strip("_"), "move", move, MOVE, samples="moved", loses=True),
        *spellings(_name),
    )
register(
    Op("to", "move", cast, MOVE, positive=kept, form=True),
    *spellings("to", "float", "double", "half", "bfloat16", "type", "type_as", "cpu", "cuda"),
)
register(
    Op("contiguous", "move", passing, MOVE, positive=kept),
    *spellings("contiguous", "clone", "requires_grad_", "alias_copy", "positive"),
)
for _name in ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"):
    register(
        Op("dropout", "move", passing, MOVE, positive=kept, refuse=_dropout_is_off),
        *spellings(*having(_name)),
    )


def _nobody(node: Node) -> list[bool]:
    return [False] * len(node.inputs)


register(
    Op("detach", "stop", stop, STOP, positive=kept, receivers=_nobody),
    *spellings("detach", "detach_"),
    *properties("data"),
)
