"""Ops that only move numbers: relevance goes back the way the numbers came."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from relprop.ops.table import MOVE, STOP, Op, having, kept, properties, register, spellings
from relprop.ops.vjp import vjp
from relprop.rules import Rule, Share
from relprop.samples import float_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from relprop.ops.context import Context
    from relprop.tape import Node


def move(node: Node, rule: Rule, R: list[Tensor], context: Context) -> Share:
    """The op's own vector-Jacobian product; what would go to constants and padding is lost."""
    del rule
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
