"""Attention in one call, o = A v with A = softmax(scale q k^T + m).

By default attention's weights A are a gate, as all that is proved bounded: the values take all relevance, and queries
and keys none (CP-LRP, Ali et al. 2022). `rules.Attend` may open it (AttnLRP, Achtibat et al. 2024).
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from relprop.ops.attention_call import AttentionCall, recorded_in
from relprop.ops.bounds import hull, of_argument
from relprop.ops.divided import divided
from relprop.rules.layer import Rule, Share
from relprop.tape.tape import Bounds, Node
from relprop.tape.visit import Visit

HALF = 0.5
"""Two factors share half and half."""


def attention(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """Through the values alone, or through all: s = R / (o + eps sign(o)) goes on.

    Of constant values A v is linear in A: relevance comes to the weights whatever the rule, as written out.
    """
    (out,) = node.outputs
    s, took = divided(R[0], out.data.to(visit.dtype), out, rule)
    call = AttentionCall.of(node, visit)
    all_of_it = rule.opens or "value" not in call.recorded
    share = through_all(node, call, s) if all_of_it else through_values(node, call, s)
    share.eps = took
    return share


def through_values(node: Node, call: AttentionCall, s: Tensor) -> Share:
    """R_v = v (A^T s)."""
    maps, dims = len(s), s.shape[-1]
    side = _side_by_side(s.movedim(0, -3))
    slope = s.new_zeros(*s.shape[1:-2], call.v.shape[-2], maps * dims)
    for block in call.blocks(s, maps=1):
        slope += call.weights(call.scores(block), block).mT @ side[..., block, :]
    return _of_inputs(node, call, {"value": call.v * slope.unflatten(-1, (maps, dims)).movedim(-2, 0)})


def through_all(node: Node, call: AttentionCall, s: Tensor) -> Share:
    """R_v = 1/2 v (A^T s), R_q = 1/2 scale q (G k), R_k = 1/2 scale k (G^T q), G = A (g - sum_k A g), g = 1/2 s v^T.

    A mask m that is added takes m G, a bias where it is constant. The softmax's remainder is summed by its own formula,
    as in `softmax`. What a mask adds to all of a row alike changes neither sum and is left out, as -1e9 would swallow
    them. Of two factors of which one is constant the other has all. In blocks of queries: memory does not
    grow with heads x tokens^2.
    """
    to_v, to_A = _halves("value" in call.recorded, len(call.recorded.keys() - {"value"}) > 0)
    to_q, to_k = _halves("query" in call.recorded, "key" in call.recorded)
    slope = _slopes(call, s, to_A)
    total = node.outputs[0].owners.total
    below = {
        "query": slope.query * (to_q * call.scale * call.q),
        "key": slope.key * (to_k * call.scale * call.k),
        "value": slope.value * (to_v * call.v),
    }
    share = _of_inputs(node, call, below if slope.mask is None else below | {"attn_mask": slope.mask})
    share.bias, share.within = total(slope.added), total(slope.rest)
    if not (to_q or to_k):  # both are constant, and so are the scores that a mask is added to
        share.bias = share.bias + total((slope.query * call.scale * call.q).sum(-1, keepdim=True))
    return share


class Slopes(NamedTuple):
    """What comes to each factor, (T, ..., its last two axes), and to what is no factor, (T, ..., L, 1).

    Attributes:
        query, key, value: G k, G^T q and A^T s.
        mask: m G where the mask depends on the input, else None.
        added: sum_k m G where it is constant.
        rest: the softmax's remainder.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    added: Tensor
    rest: Tensor


def _slopes(call: AttentionCall, s: Tensor, to_A: float) -> Slopes:
    """Of all queries, block by block; T stands behind the heads, so that a block is few large products."""
    maps, dims = len(s), s.shape[-1]
    s = s.movedim(0, -3)
    side = _side_by_side(s)
    heads = s.shape[:-3]
    keys, queries = call.k.shape[-2], call.q.shape[-2]
    query = s.new_empty(*heads, maps, queries, call.q.shape[-1])
    key = s.new_zeros(*heads, maps, keys, call.k.shape[-1])
    value = s.new_zeros(*heads, keys, maps * dims)
    mask = s.new_empty(*heads, maps, queries, keys) if "attn_mask" in call.recorded else None
    rest, added = s.new_zeros(*heads, maps, queries, 1), s.new_zeros(*heads, maps, queries, 1)
    for block in call.blocks(s.movedim(-3, 0), maps=maps):
        x, m = call.scores(block), call.added(block)  # where a mask hides a key this is no -inf, which times 0 is none
        A = call.weights(x, block)
        value += A.mT @ side[..., block, :]
        R_A = (s[..., block, :].flatten(-3, -2) @ call.v.mT).unflatten(-2, (maps, -1)).mul_(to_A).mul_(A.unsqueeze(-3))
        shift = None if m is None else m - m.amax(-1, keepdim=True)  # what is the same for all keys moves no weight
        x = x if shift is None else x + shift
        nothing = call.hidden(block)  # of a score that a mask swallowed no weight depends
        x = x if nothing is None else x.masked_fill(nothing, 0.0)
        whole = R_A.sum(-1, keepdim=True)
        mean = (A * x).sum(-1, keepdim=True).unsqueeze(-3)
        rest[..., block, :] = whole * (1.0 + mean) - (R_A * x.unsqueeze(-3)).sum(-1, keepdim=True)
        G = R_A.addcmul_(A.unsqueeze(-3), whole, value=-1.0)
        G = G if nothing is None else G.masked_fill_(nothing.unsqueeze(-3), 0.0)
        query[..., block, :] = (G.flatten(-3, -2) @ call.k).unflatten(-2, (maps, -1))
        key += G.mT @ call.q[..., block, :].unsqueeze(-3)
        if m is not None and mask is not None:
            mask[..., block, :] = m.unsqueeze(-3) * G
        elif shift is not None:
            added[..., block, :] = (shift.unsqueeze(-3) * G).sum(-1, keepdim=True)
    value = value.unflatten(-1, (maps, dims)).movedim(-2, 0)
    query, key, added, rest = (t.movedim(-3, 0) for t in (query, key, added, rest))
    return Slopes(query, key, value, None if mask is None else mask.movedim(-3, 0), added, rest)


def _side_by_side(s: Tensor) -> Tensor:
    """All maps (..., T, L, D) as one matrix (..., L, T D)."""
    return s.movedim(-3, -2).flatten(-2)


def _halves(one: bool, other: bool) -> tuple[float, float]:
    """The part that each of two factors takes: a constant takes none."""
    if one and other:
        return HALF, HALF
    return float(one), float(other)


def _of_inputs(node: Node, call: AttentionCall, below: dict[str, Tensor]) -> Share:
    """The relevance of each recorded argument, in the order of the node's inputs."""
    found: list[Tensor | None] = [None] * len(node.inputs)
    for name, value in call.recorded.items():
        if name in below:
            R, place = call.folded(below[name], name), node.inputs.index(value)
            known = found[place]
            found[place] = R if known is None or R is None else known + R
    return Share(tuple(found))


def the_values_alone(node: Node) -> list[bool]:
    """Queries, keys and masks open a gate: the values alone receive relevance, unless they are constant."""
    value = recorded_in(node).get("value")
    return [value is None or each is value for each in node.inputs]


def not_understood(node: Node) -> str | None:
    """Why a call of attention cannot be explained, or None."""
    if node.argument("dropout_p", 4, 0.0) > 0:
        return "it drops weights at random; call it with dropout_p=0.0 in eval mode"
    return None


def bounds_of_mean(node: Node) -> Bounds:
    """A weighted mean of the values, or 0 where all is masked."""
    return hull((of_argument(node, node.argument("value", 2)), (0.0, 0.0)))
