"""Averages, means, sums and interpolation are linear layers with fixed weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from relprop.ops.call import vjp
from relprop.ops.layer import layer_of_call
from relprop.ops.weighted import passed
from relprop.rules.division import divide
from relprop.rules.layer import Rule, Share
from relprop.rules.lrp import Epsilon, Flat, Pass
from relprop.support.errors import RuleError
from relprop.tape.tape import Node
from relprop.tape.visit import Visit


@dataclass(frozen=True)
class Average:
    """A linear op with fixed weights that are alike within a window; `w` scales all of them."""

    node: Node

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        """sum_i x_i w_ij."""
        del b  # there is none
        out: Tensor = self.node.call([x])
        return out * w

    def backward(self, s: Tensor, w: Tensor, shape: torch.Size) -> Tensor:
        """sum_j w_ij s_j; (T, *shape)."""
        below = vjp(lambda x: [self.forward(x, w)], [s.new_zeros(shape)], [s])[0]
        return below.contiguous()  # a sum hands one number to all its inputs, as one place in memory

    # The weights of a window are alike, so 1 / (number of inputs) is w_ij / sum_i w_ij.

    def area(self, w: Tensor) -> int:
        """An average's kernel has no area that its padding counts in."""
        del w
        raise RuleError(f"{self.node.where}: the area of a kernel is not defined for averages; count real inputs")

    def count(self, x: Tensor, w: Tensor, real: Tensor | None = None) -> Tensor:
        """sum_i w_ij: the number of real inputs, up to the factor that `spread` has too."""
        shown = torch.ones_like(x) if real is None else real.to(x.dtype).expand(x.shape).contiguous()
        return self.forward(shown, torch.ones_like(w))

    def spread(self, R: Tensor, d: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """sum_j w_ij R_j / d_j; (T, *x.shape)."""
        return self.backward(divide(R, d), torch.ones_like(w), x.shape)


def average(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """Hand relevance through an average by any rule, as through a layer with those weights."""
    if isinstance(rule, Pass):
        return passed(node, R)
    if isinstance(rule, Flat):
        rule = Flat(eps=rule.eps)  # the window's own weights know its real inputs
    one = torch.ones((), dtype=visit.dtype, device=node.inputs[0].data.device)
    return rule.share(layer_of_call(node, visit, Average(node), one), R[0])


def interpolation(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """Nearest neighbours are copies; the other modes are averages whose weights differ within a window."""
    if "nearest" in str(node.argument("mode", 3, "nearest")):
        return Share(vjp(lambda leaf: [node.call([leaf])], [node.inputs[0].data.to(visit.dtype)], R[:1]))
    if not isinstance(rule, (Epsilon, Pass)):
        raise RuleError(f"{rule} on {node.where}: interpolation takes the epsilon rule alone")
    return average(node, rule, R, visit)
