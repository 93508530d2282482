"""BatchNorm with running statistics is an affine layer; local response normalisation passes relevance."""

from __future__ import annotations

import torch
from torch import Tensor

from relprop.ops.layer import layer_of_call
from relprop.ops.linear_map import Elementwise, Linear
from relprop.ops.weighted import map_and_weights, unbatched
from relprop.rules.layer import WEIGHTED, Kind, Rule, Share, Zero
from relprop.rules.lrp import Pass
from relprop.tape.tape import Node, Slot, Value
from relprop.tape.visit import Visit


def batch_norm(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """A layer of its own, y = scale x + shift, by the epsilon rule with the shift as its bias.

    Where it was merged into the layer before it, relevance passes here and is handed down there. Before the first
    weighted op it is part of the input's normalisation, as factors and constants are that are written out: it passes.
    """
    if node.into is not None or isinstance(rule, Pass) or not node.inputs[0].after_weighted:
        return Share((R[0],), zero=Zero.UNPROVED if node.into is None else Zero.AS_ABOVE)
    per_channel = (-1, *[1] * (len(node.inputs[0].shape) - 2))
    scale, shift = (t.to(visit.dtype).view(per_channel) for t in scale_and_shift(node))
    return rule.share(layer_of_call(node, visit, Elementwise(), scale, shift), R[0])


def output_read(node: Node) -> list[Value]:
    """What a BatchNorm reads, and what that was before dropouts, clones and the like, which change no number."""
    values = [node.inputs[0]]
    while (source := values[-1].source) is not None and source.op.name in UNCHANGED:
        values.append(source.inputs[0])
    return values


UNCHANGED = frozenset({"contiguous", "dropout"})
"""What leaves every number in its place: `contiguous` is the name of clones, too."""


def merges(node: Node) -> bool:
    """Whether the rules can see this BatchNorm as part of the weighted op that it reads.

    A linear layer's outputs are the last axis, BatchNorm's channels axis 1.
    """
    layer = output_read(node)[-1].source
    if layer is None or layer.kind not in WEIGHTED or unbatched(layer):
        return False
    return layer.kind == Kind.CONV or (isinstance(map_and_weights(layer)[0], Linear) and len(node.inputs[0].shape) == 2)


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


def statistics_of_batch(node: Node) -> str | None:
    """Why a BatchNorm is no affine layer, or None."""
    if node.argument("training", 5, False) or node.argument("running_mean", 1) is None:
        return (
            "BatchNorm normalises by the statistics of this very batch, so each picture depends on the others; "
            "use running statistics (track_running_stats=True and eval())"
        )
    if len(node.inputs) > 1 or not isinstance(node.argument("input", 0), Slot):
        return "its statistics or its scale depend on the input"
    return None
