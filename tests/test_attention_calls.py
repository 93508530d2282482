"""Attention in one call, and modules that are recorded through, by their definitions."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import relprop as rp
from steps import D, by_autograd, near, relevance_of


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def attention_by_hand(q, k, v, mask=None, scale=None, groups=1):
    if groups > 1:
        k, v = (t.repeat_interleave(groups, -3) for t in (k, v))
    scores = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1) @ v


CAUSAL = torch.ones(5, 5, dtype=torch.bool).tril()
FLOAT = torch.randn(5, 5, dtype=D, generator=torch.Generator().manual_seed(1))
CALLS = {
    "plain": ({}, {}),
    "a scale": ({"scale": 0.3}, {"scale": 0.3}),
    "causal": ({"is_causal": True}, {"mask": CAUSAL}),
    "a boolean mask": ({"attn_mask": CAUSAL}, {"mask": CAUSAL}),
    "a mask added": ({"attn_mask": FLOAT}, {"mask": FLOAT}),
    "grouped queries": ({"enable_gqa": True}, {"groups": 2}),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("blocks", [2**22, 7])
def test_attention_in_one_call_is_attention_by_hand(call, blocks, monkeypatch):
    monkeypatch.setattr("relprop.ops.attention_call.AT_ONCE", blocks)
    keywords, words = CALLS[call]
    queries = 4 if "groups" in words else 2
    shapes = (queries, 5, 4), (2, 5, 4), (2, 5, 3)

    def fused(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, **keywords)

    (q, k, v), (of_q, of_k, of_v), R, e, _ = relevance_of(fused, *shapes)
    (expected,) = by_autograd(lambda v: attention_by_hand(q, k, v, **words), [v], R)
    near(of_v, expected)
    assert not of_q.any()
    assert not of_k.any()
    assert e.ledger["it"].error < 1e-13
    torch.manual_seed(0)
    _, eager, *_ = relevance_of(lambda q, k, v: attention_by_hand(q, k, v, **words), *shapes)
    near(of_v, eager[2])


def test_one_value_as_query_key_and_value_takes_its_share_once():
    (t,), (got,), R, e, _ = relevance_of(lambda t: F.scaled_dot_product_attention(t, t, t), (5, 4))
    (expected,) = by_autograd(lambda v: attention_by_hand(t, t, v), [t], R)
    near(got, expected)
    assert e.ledger["it"].error < 1e-13


def test_attention_of_each_picture_is_as_alone():
    def fused(q, k, v):
        return F.scaled_dot_product_attention(q, k, v)

    _, _, _, e, (net, inputs) = relevance_of(fused, (2, 5, 4), (2, 5, 4), (2, 5, 3))
    for k in range(2):
        alone = rp.attribute(net, tuple(x[k : k + 1] for x in inputs), 1, "lrp-epsilon")
        for whole, one in zip(e.relevance["it"], alone, strict=True):
            near(whole[0][k : k + 1], one)


def test_pictures_that_attend_to_each_other_are_refused():
    def mixing(x):
        return F.scaled_dot_product_attention(x.transpose(0, 1), x.transpose(0, 1), x.transpose(0, 1)).sum(0)

    with pytest.raises(rp.UnsupportedOp, match="mixes the pictures"):
        rp.attribute(mixing, torch.randn(2, 3, 4), 0, "lrp-z")
    with pytest.raises(rp.UnsupportedOp, match="mixes the pictures"):
        rp.attribute(lambda x: x.flatten(1) @ x.flatten(1).T, torch.randn(2, 3, 4), 0, "lrp-z")
    with pytest.raises(rp.UnsupportedOp, match="mixes the pictures"):
        rp.attribute(lambda x: x.softmax(0) * x, torch.randn(2, 4), 0, "lrp-z")


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("masked", [False, True])
def test_multi_head_attention_is_recorded_through(need_weights, masked):
    attention, fc = nn.MultiheadAttention(8, 2, batch_first=True).to(D).eval(), nn.Linear(8, 3).to(D).eval()
    mask = CAUSAL.logical_not() if masked else None
    x = torch.randn(2, 5, 8, dtype=D)

    def model(x):
        return fc(attention(x, x, x, need_weights=need_weights, attn_mask=mask)[0].mean(1))

    def by_hand(x):
        q, k, v = F.linear(x, attention.in_proj_weight, attention.in_proj_bias).unflatten(-1, (3, 2, 4)).unbind(2)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        o = attention_by_hand(q, k, v, None if mask is None else ~mask)
        return fc(attention.out_proj(o.transpose(1, 2).flatten(2)).mean(1))

    e = rp.explain(model, x, [0, 1], ["lrp-z", "lrp-epsilon"], check=True)
    assert torch.equal(e.outputs, model(x))
    assert e.ledger["lrp-z"].error < 1e-13
    near(e.relevance["lrp-z"], rp.explain(by_hand, x, [0, 1], ["lrp-z"]).relevance["lrp-z"])


def test_a_transformer_encoder_with_padding():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
    encoder, fc = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).to(D).eval(), nn.Linear(8, 3).to(D).eval()
    x = torch.randn(2, 5, 8, dtype=D)
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])

    def model(x):
        h = encoder(x, src_key_padding_mask=padding)
        keep = ~padding[:, :, None]
        return fc((h * keep).sum(1) / keep.sum(1))

    e = rp.explain(model, x, [0], ["lrp-z"], check=True)
    assert e.ledger["lrp-z"].error < 1e-13
    assert not e.relevance["lrp-z"][0, 1, 3:].any()
    alone = rp.attribute(lambda x: fc(encoder(x).mean(1)), x[1:, :3], 0, "lrp-z")
    near(e.relevance["lrp-z"][0, 1:, :3], alone)
