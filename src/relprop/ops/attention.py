"""Attention in one call, o = A v with A = softmax(scale q k^T + m).

By default attention's weights A are a gate, as all that is proved bounded: the values take all relevance, and queries
and keys none (CP-LRP, Ali et al. 2022). `rules.Attend` may open it (AttnLRP, Achtibat et al. 2024).
"""

from __future__ import annotations

from torch import Tensor

from relprop.ops.attention_call import AttentionCall, recorded_in
from relprop.ops.bounds import hull, of_argument
from relprop.rules.attend import Attend
from relprop.rules.division import quotient
from relprop.rules.layer import Rule, Share
from relprop.rules.lrp import Epsilon
from relprop.tape.tape import Bounds, Node
from relprop.tape.visit import Visit

HALF = 0.5
"""Two factors share half and half."""


def attention(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """Through the values alone, or through all: s = R / (o + eps sign(o)) goes on.

    Of constant values A v is linear in A: relevance comes to the weights whatever the rule, as written out.
    """
    (out,) = node.outputs
    eps = rule.eps if isinstance(rule, (Epsilon, Attend)) else Epsilon().eps
    s, took = quotient(
        R[0], out.data.to(visit.dtype), eps, 1.0, rows=out.owners.rows(out.shape), total=out.owners.total
    )
    call = AttentionCall.of(node, visit)
    all_of_it = rule.opens or "value" not in call.recorded
    share = through_all(node, call, s) if all_of_it else through_values(node, call, s)
    share.eps = took
    return share


def through_values(node: Node, call: AttentionCall, s: Tensor) -> Share:
    """R_v = v (A^T s)."""
    slope = s.new_zeros(len(s), *s.shape[1:-2], *call.v.shape[-2:])
    for block in call.blocks(s, maps=1):
        slope += call.weights(call.scores(block), block).mT @ s[..., block, :]
    return _of_inputs(node, call, {"value": call.v * slope})


def through_all(node: Node, call: AttentionCall, s: Tensor) -> Share:
    """R_v = 1/2 v (A^T s), R_q = 1/2 scale q (G k), R_k = 1/2 scale k (G^T q), G = A (g - sum_k A g), g = 1/2 s v^T.

    A mask m that is added takes m G, a bias where it is constant. The softmax's remainder is summed by its own formula,
    as in `softmax`. What a mask adds to all of a row alike changes neither sum and is left out, as -1e9 would swallow
    them. Of two factors of which one is constant the other has all. In blocks of queries: memory does not
    grow with heads x tokens^2.
    """
    to_v, to_A = _halves("value" in call.recorded, len(call.recorded.keys() - {"value"}) > 0)
    to_q, to_k = _halves("query" in call.recorded, "key" in call.recorded)
    heads = s.shape[1:-2]
    slope = {
        "query": s.new_zeros(len(s), *heads, *call.q.shape[-2:]),
        "key": s.new_zeros(len(s), *heads, *call.k.shape[-2:]),
        "value": s.new_zeros(len(s), *heads, *call.v.shape[-2:]),
    }
    to_mask = s.new_zeros(len(s), *s.shape[1:-1], call.k.shape[-2]) if "attn_mask" in call.recorded else None
    rest, bias = s.new_zeros(*s.shape[:-1], 1), s.new_zeros(*s.shape[:-1], 1)
    for block in call.blocks(s, maps=len(s)):
        q, s_b, m = call.q[..., block, :], s[..., block, :], call.added(block)
        x = call.scores(block)  # where a mask hides a key this is no -inf, which times A = 0 would be none
        A = call.weights(x, block)
        shift = None if m is None else m - m.amax(-1, keepdim=True)  # what is the same for all keys moves no weight
        x = x if shift is None else x + shift
        slope["value"] += A.mT @ s_b
        R_A = (s_b @ call.v.mT).mul_(to_A).mul_(A)
        whole = R_A.sum(-1, keepdim=True)
        nothing = call.hidden(block)  # of a score that a mask swallowed no weight depends
        x = x if nothing is None else x.masked_fill(nothing, 0.0)
        rest[..., block, :] = whole * (1.0 + (A * x).sum(-1, keepdim=True)) - (R_A * x).sum(-1, keepdim=True)
        G = R_A.addcmul_(A, whole, value=-1.0)
        G = G if nothing is None else G.masked_fill_(nothing, 0.0)
        slope["query"][..., block, :] = G @ call.k
        slope["key"] += G.mT @ q
        if m is not None and to_mask is not None:
            to_mask[..., block, :] = m * G
        elif shift is not None:
            bias[..., block, :] = (shift * G).sum(-1, keepdim=True)
    below = {
        "query": slope["query"] * (to_q * call.scale * call.q),
        "key": slope["key"] * (to_k * call.scale * call.k),
        "value": slope["value"] * (to_v * call.v),
    }
    total = node.outputs[0].owners.total
    share = _of_inputs(node, call, below if to_mask is None else below | {"attn_mask": to_mask})
    share.bias, share.within = total(bias), total(rest)
    if not (to_q or to_k):  # both are constant, and so are the scores that a mask is added to
        share.bias = share.bias + total((slope["query"] * call.scale * call.q).sum(-1, keepdim=True))
    return share


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
