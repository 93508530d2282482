"""Softmax, where relevance comes to it: weights that it made are a gate, as all that is proved bounded."""

from __future__ import annotations

import torch
from torch import Tensor

from relprop.rules.layer import Rule, Share
from relprop.tape.tape import Node
from relprop.tape.visit import Visit


def softmax(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """R_i = x_i (R_i - A_i sum_j R_j), 0 where A_i is 0; the rest is bias.

    Achtibat et al. (2024), proposition 3.1: Taylor's expansion at x. Its remainder sum_j R_j (1 - x_j + sum_i A_i x_i)
    is summed by that formula, so that the ledger tells a mistake.
    """
    del rule
    (upper,), (out,) = R, node.outputs
    axis = axis_of(node)
    A, x = out.data.to(visit.dtype), node.inputs[0].data
    x = x.masked_fill(masked(x) | (A == 0), 0.0).to(visit.dtype)  # of a mask: no -inf times 0
    below = x * (upper - A * upper.sum(axis, keepdim=True))
    rest = upper * (1.0 - x + (A * x).sum(axis, keepdim=True))
    return Share((below,), out.owners.total(rest.expand(upper.shape)))


def masked(scores: Tensor) -> Tensor:
    """Where a mask's number, the least there is or so, swallowed the scores, so that nothing of them is left."""
    return scores <= max(torch.finfo(scores.dtype).min / 2, FAR_BELOW)


FAR_BELOW = -1e30
"""No score is as small as that."""


def axis_of(node: Node) -> int:
    """The axis of a softmax, counted from the end."""
    dim = node.argument("dim", 1)
    ndim = len(node.inputs[0].shape)
    if dim is None:  # torch's old choice, which nn.functional still has
        dim = 0 if ndim in (0, 1, 3) else 1
    return int(dim) - ndim if dim >= 0 else int(dim)


def over_pictures(node: Node) -> str | None:
    """Why a softmax is none of a picture's own numbers, or None."""
    if node.inputs[0].owners.index.shape[axis_of(node)] > 1:
        return "it mixes the pictures of a batch; explain one picture at a time"
    return None
