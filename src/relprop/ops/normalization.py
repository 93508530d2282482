"""BatchNorm with running statistics is an affine layer; local response normalisation passes relevance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from relprop.ops.activation import activation
from relprop.ops.layer import LinearOp
from relprop.ops.linear import Linear, layer_of, unbatched
from relprop.ops.table import Op, kept, register, spellings
from relprop.rules.division import divide
from relprop.rules.layer import WEIGHTED, Rule, Share
from relprop.rules.lrp import Epsilon, Pass
from relprop.tape.tape import Slot

if TYPE_CHECKING:
    from relprop.ops.context import Context
    from relprop.tape.tape import Node


class Elementwise:
    """z_i = w_i x_i: each output has one input, so the flat rule passes relevance."""

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        """x_i w_i + b_i."""
        return x * w if b is None else torch.addcmul(b, x, w)

    def backward(self, s: Tensor, w: Tensor, shape: torch.Size) -> Tensor:
        """w_i s_i; (T, *shape)."""
        return (s * w).view(s.shape[0], *shape)

    def count(self, x: Tensor, w: Tensor) -> Tensor:
        """One."""
        del w
        return torch.ones_like(x)

    def area(self, w: Tensor) -> int:
        """One."""
        del w
        return 1

    def spread(self, R: Tensor, d: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """R_i / d_i."""
        del x, w
        return divide(R, d)


def batch_norm(node: Node, rule: Rule, R: list[Tensor], context: Context) -> Share:
    """A layer of its own, y = scale x + shift, by the epsilon rule with the shift as its bias.

    Where it was merged into the layer before it, relevance passes here and is handed down there.
    """
    if node.into is not None or isinstance(rule, Pass):
        return Share((R[0],), proportional=None if node.into is not None else False)
    scale, shift = scale_and_shift(node)
    (value,), (out,) = node.inputs, node.outputs
    x = context.data(value)
    per_channel = (-1, *[1] * (x.ndim - 2))
    layer = LinearOp(
        x=x,
        held=context.data(out),
        w=scale.to(context.dtype).view(per_channel),
        b=shift.to(context.dtype).view(per_channel),
        kind=Elementwise(),
        nonneg=value.nonneg,
        context=context,
        rows=context.rows(out),
        total=lambda R: context.total(R, out),
        rectified=out.rectified,
    )
    return rule.share(layer, R[0])


def merges(node: Node) -> bool:
    """Whether a node is a BatchNorm that the rules can see as part of the weighted op that it reads.

    A linear layer's outputs are the last axis, BatchNorm's channels axis 1.
    """
    layer = node.inputs[0].source if node.op.name == "batch_norm" else None
    if layer is None or layer.kind not in WEIGHTED or unbatched(layer):
        return False
    return layer.kind == "conv" or (isinstance(layer_of(layer)[0], Linear) and len(node.inputs[0].shape) == 2)


def scale_and_shift(node: Node) -> tuple[Tensor, Tensor]:
    """BatchNorm as y = scale x + shift, a number per channel each."""
    mean, variance = (_precise(node.argument(name, k)) for k, name in ((1, "running_mean"), (2, "running_var")))
    weight, bias = node.argument("weight", 3), node.argument("bias", 4)
    scale = torch.rsqrt(variance + float(node.argument("eps", 7, 1e-5)))
    scale = scale if weight is None else scale * _precise(weight)
    shift = -mean * scale
    return scale, shift if bias is None else shift + _precise(bias)


def _precise(t: Tensor) -> Tensor:
    """In at least float32."""
    return t.detach().to(torch.promote_types(t.dtype, torch.float32))


def _running_statistics(node: Node) -> str | None:
    if node.argument("training", 5, False) or node.argument("running_mean", 1) is None:
        return (
            "BatchNorm normalises by the statistics of this very batch, so each picture depends on the others; "
            "use running statistics (track_running_stats=True and eval())"
        )
    if len(node.inputs) > 1 or not isinstance(node.argument("input", 0), Slot):
        return "its statistics or its scale depend on the input"
    return None


register(
    Op("batch_norm", "norm", batch_norm, Epsilon(), refuse=_running_statistics),
    torch.nn.functional.batch_norm,
)
register(
    Op("local_response_norm", "activation", activation, Pass(), samples="image", positive=kept),
    *spellings("local_response_norm"),
)
