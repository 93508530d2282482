"""Normalisation by a picture's own statistics: the deviation is taken as a constant, and an affine map is left.

Reference: Achtibat et al., "AttnLRP: Attention-Aware Layer-Wise Relevance Propagation for Transformers" (2024),
proposition 3.4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from relprop.ops.layer import layer_of_call
from relprop.ops.linear_map import Elementwise
from relprop.rules.layer import Rule, Share
from relprop.rules.lrp import Pass
from relprop.tape.tape import Node, Slot
from relprop.tape.visit import Visit


@dataclass(frozen=True)
class Centred(Elementwise):
    """z_i = w_i (x_i - mean_k x_k) + b_i, the mean over the group that i belongs to; flat passes relevance.

    Attributes:
        means: the means of groups, of x's shape or broadcastable to it, for x with any axes in front.
    """

    means: Callable[[Tensor], Tensor]

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        """w_i (x_i - mean_k x_k) + b_i."""
        z = (x - self.means(x)).mul_(w)
        return z if b is None else z.add_(b)

    def backward(self, s: Tensor, w: Tensor, shape: torch.Size) -> Tensor:
        """w_i s_i - mean_k w_k s_k."""
        t = s * w
        return (t - self.means(t)).view(s.shape[0], *shape)


def layer_norm(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """R_i = x_i (t_i - mean_k t_k) for t_j = w_j / sigma R_j / (y_j + eps sign(y_j)); the shift is bias.

    Before the first weighted op the shift passes, as a constant does that is added there: y is then without it.
    """
    if isinstance(rule, Pass):
        return Share((R[0],))
    means, weight, bias = groups_of(node)
    x = node.inputs[0].data.to(visit.dtype)
    centred = x - means(x)
    scale = torch.rsqrt(means(centred * centred) + float(_eps(node)))
    w = scale if weight is None else scale * weight.to(visit.dtype)
    b = None if bias is None else bias.to(visit.dtype).expand(x.shape)
    layer = layer_of_call(node, visit, Centred(means), w, b)
    if b is not None and not node.inputs[0].after_weighted:
        layer = replace(layer, b=None, held=layer.held - b)
    return rule.share(layer, R[0])


Means = Callable[[Tensor], Tensor]


def groups_of(node: Node) -> tuple[Means, Tensor | None, Tensor | None]:
    """What a call takes means over, and its weight and bias, broadcastable to its input."""
    ndim = len(node.inputs[0].shape)
    per_channel = (-1, *[1] * (ndim - 2))
    if node.op.name == "layer_norm":
        axes = [-1 - k for k in range(len(node.argument("normalized_shape", 1)))]
        return (lambda t: t.mean(axes, keepdim=True)), node.argument("weight", 2), node.argument("bias", 3)
    if node.op.name == "group_norm":
        groups, weight, bias = node.argument("num_groups", 1), node.argument("weight", 2), node.argument("bias", 3)
        means = _of_channels(ndim, groups)
    else:
        weight, bias = node.argument("weight", 3), node.argument("bias", 4)
        space = [-1 - k for k in range(ndim - 2)]
        means = lambda t: t.mean(space, keepdim=True)  # noqa: E731 - as short as what stands above
    return means, _viewed(weight, per_channel), _viewed(bias, per_channel)


def _of_channels(ndim: int, groups: int) -> Means:
    """Means over groups of channels (axis 1 of x, which may have an axis of maps in front) and all of space."""

    def means(t: Tensor) -> Tensor:
        channels = t.ndim - ndim + 1
        parted = t.unflatten(channels, (groups, -1))
        mean: Tensor = parted.mean([*range(channels + 1, parted.ndim)], keepdim=True)
        return mean.expand_as(parted).flatten(channels, channels + 1)

    return means


def _viewed(t: Tensor | None, shape: tuple[int, ...]) -> Tensor | None:
    return None if t is None else t.detach().view(shape)


EPS = {"layer_norm": 4, "group_norm": 4, "instance_norm": 7}
"""Where eps stands among the arguments."""


def _eps(node: Node) -> float:
    eps: float = node.argument("eps", EPS[node.op.name], 1e-5)
    return eps


def depends_on_more(node: Node) -> str | None:
    """Why a normalisation is no affine map of what it normalises, or None."""
    if len(node.inputs) > 1 or not isinstance(node.argument("input", 0), Slot):
        return "its weight or its statistics depend on the input; only constant ones have a rule"
    if node.op.name == "instance_norm" and not node.argument("use_input_stats", 5, True):
        return "with running statistics it is a BatchNorm: use F.batch_norm(x, running_mean, running_var, ...)"
    return None


def scaled(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """RMSNorm has neither centre nor shift: y_i is x_i times what is taken as a constant, so relevance passes."""
    del rule, visit
    return Share((R[0], *[None] * (len(node.inputs) - 1)))
