"""LayerNorm, GroupNorm, InstanceNorm, RMSNorm, softmax, products of two values and attention, by their definitions."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import relprop as rp

D = torch.float64
EPS = 1e-6


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def relevance_of(step, *shapes, method=None, batch=2):
    """Relevance of a step's inputs after a layer each and before a sum, with what came from above and its ledger."""
    inputs = [torch.randn(batch, *shape, dtype=D) for shape in shapes]
    layers = [nn.Linear(shape[-1], shape[-1]).to(D) for shape in shapes]
    kept = {}

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(layers)
            self.step = Step(step, kept)

        def forward(self, *x):
            y = self.step(*(layer(t) for layer, t in zip(self.layers, x, strict=True)))
            return y.flatten(1)

    net = Net().eval()
    target = 1
    e = rp.explain(
        net, tuple(inputs), [target], {"it": method or "lrp-epsilon"}, inside=["layers.*", "step"], check=True
    )
    inside = e.inside["it"]
    return kept["inputs"], [inside[f"layers.{k}"][0] for k in range(len(shapes))], inside["step"][0], e, (net, inputs)


class Step(nn.Module):
    def __init__(self, step, kept):
        super().__init__()
        self.step, self.kept = step, kept

    def forward(self, *x):
        self.kept.setdefault("inputs", [t.detach().clone() for t in x])  # a replay runs it again on other numbers
        return self.step(*x)


def by_autograd(function, inputs, R, eps=EPS):
    """X times the slope of the function, of R / (y + eps sign y): what epsilon is for a function that is linear."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    y = function(*leaves)
    s = R / torch.where(y >= 0, y + eps, y - eps)
    slopes = torch.autograd.grad(y, leaves, s.detach())
    return [x * slope for x, slope in zip(inputs, slopes, strict=True)]


def near(got, expected):
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12 * float(expected.abs().max()) + 1e-300)


def group_norm(x):
    groups = x.reshape(len(x), 3, 2, 5)
    deviation = (groups.var((2, 3), unbiased=False, keepdim=True) + 1e-2).sqrt().detach()
    return ((groups - groups.mean((2, 3), keepdim=True)) / deviation).reshape(x.shape) * W[:, None] + B[:, None]


W, B = torch.linspace(0.5, 2, 6, dtype=D), torch.linspace(-1, 1, 6, dtype=D)
NORMS = {
    "LayerNorm": (
        lambda x: F.layer_norm(x, (6,), W, B, 1e-3),
        lambda x: W * (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-3).sqrt().detach()
        + B,
        (4, 6),
    ),
    "LayerNorm over two axes without weights": (
        lambda x: F.layer_norm(x, (4, 6)),
        lambda x: (x - x.mean((-1, -2), keepdim=True))
        / (x.var((-1, -2), unbiased=False, keepdim=True) + 1e-5).sqrt().detach(),
        (4, 6),
    ),
    "GroupNorm": (lambda x: F.group_norm(x, 3, W, B, 1e-2), group_norm, (6, 5)),
    "InstanceNorm": (
        lambda x: F.instance_norm(x, weight=W, bias=B, eps=1e-4),
        lambda x: (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-4).sqrt().detach()
        * W[:, None] + B[:, None],
        (6, 5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("method", ["lrp-epsilon", "lrp-z"])
def test_the_deviation_is_a_constant_and_the_affine_map_is_a_layer(kind, method):
    step, definition, shape = NORMS[kind]
    (x,), (got,), R, e, _ = relevance_of(step, shape, method=method)
    torch.testing.assert_close(step(x), definition(x))
    (expected,) = by_autograd(definition, [x], R, 0.0 if method == "lrp-z" else EPS)
    near(got, expected)
    assert e.ledger["it"].error < 1e-13


@pytest.mark.parametrize("kind", NORMS)
def test_one_of_a_batch_is_as_alone(kind):
    step, _, shape = NORMS[kind]
    _, _, _, e, (net, inputs) = relevance_of(step, shape)
    for k in range(2):
        alone = rp.attribute(net, tuple(x[k : k + 1] for x in inputs), 1, "lrp-epsilon")
        near(e.relevance["it"][0][0][k : k + 1], alone[0])


def by_hand(x):
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + 1e-3) * W + B


BY_HAND = {
    "divided": by_hand,
    "by var": lambda x: (
        (x - x.mean(-1, keepdim=True)) * torch.rsqrt(x.var(-1, unbiased=False, keepdim=True) + 1e-3) * W + B
    ),
    "by pow": lambda x: (
        (x - x.mean(-1, keepdim=True))
        * (x - x.mean(-1, keepdim=True)).pow(2).mean(-1, keepdim=True).add(1e-3).pow(-0.5)
        * W
        + B
    ),
    "a module": lambda x: F.layer_norm(x, (6,), W, B, 1e-3),
}


@pytest.mark.parametrize("spelling", BY_HAND)
def test_a_layer_norm_by_hand_is_one(spelling):
    _, (expected,), *_ = relevance_of(lambda x: F.layer_norm(x, (6,), W, B, 1e-3), (4, 6), method="lrp-z")
    torch.manual_seed(0)
    _, (got,), *_ = relevance_of(BY_HAND[spelling], (4, 6), method="lrp-z")
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)


RMS = {
    "F.rms_norm": lambda x: F.rms_norm(x, (6,), W, 1e-3),
    "by hand": lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-3) * W,
    "divided": lambda x: W * (x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + 1e-3)),
}


@pytest.mark.parametrize("spelling", RMS)
def test_rms_norm_passes(spelling):
    _, (got,), R, e, _ = relevance_of(RMS[spelling], (4, 6))
    assert torch.equal(got, R)
    assert e.ledger["it"].error < 1e-13


def test_softmax_is_taylor_at_x_and_its_remainder_a_share_of_its_own():
    mask = torch.zeros(4, 6, dtype=D)
    mask[1, 2:] = -torch.inf
    (x,), (got,), R, e, _ = relevance_of(lambda x: (x + mask).softmax(-1), (4, 6))
    shifted = x + mask
    A = shifted.softmax(-1)
    x0 = shifted.masked_fill(shifted == -torch.inf, 0.0)
    inner = x0 * (R - A * R.sum(-1, keepdim=True))
    row = next(row for row in e.ledger["it"] if row.op == "softmax")
    remainder = (R * (1 - x0 + (A * x0).sum(-1, keepdim=True))).flatten(1).sum(1)
    near(row.bias[0], remainder)
    near(row.relevance_out[0], inner.flatten(1).sum(1))
    assert (got[:, 1, 2:] == 0).all()
    assert e.ledger["it"].error < 1e-13


@pytest.mark.parametrize("last", [nn.Softmax(1), nn.LogSoftmax(1)])
def test_a_softmax_at_the_end_is_refused(last):
    net = nn.Sequential(nn.Linear(4, 3), last).eval()
    with pytest.raises(rp.UnsupportedOp, match="the model ends in it"):
        rp.attribute(net, torch.randn(2, 4), 0, "lrp-z")


PRODUCTS = {
    "matmul": (lambda a, b: a @ b, (3, 4), (4, 5)),
    "bmm": (torch.bmm, (3, 4), (4, 5)),
    "heads": (lambda a, b: a @ b.mT, (2, 3, 4), (2, 5, 4)),
    "one matrix for all heads": (lambda a, b: torch.matmul(a, b[:, None]), (2, 3, 4), (4, 5)),
}


@pytest.mark.parametrize("kind", PRODUCTS)
def test_two_values_share_a_product_half_and_half(kind):
    step, *shapes = PRODUCTS[kind]
    inputs, got, R, e, _ = relevance_of(step, *shapes)
    for one, expected in zip(got, by_autograd(step, inputs, R), strict=True):
        near(one, expected / 2)
    assert e.ledger["it"].error < 1e-13


def test_a_constant_that_is_added_to_a_product_takes_its_share():
    c = torch.randn(3, 5, dtype=D)
    inputs, got, R, e, _ = relevance_of(lambda a, b: torch.baddbmm(c.expand(len(a), 3, 5), a, b), (3, 4), (4, 5))
    for one, expected in zip(got, by_autograd(lambda a, b: a @ b + c, inputs, R), strict=True):
        near(one, expected / 2)
    (row,) = [row for row in e.ledger["it"] if row.op == "baddbmm"]
    y = inputs[0] @ inputs[1] + c
    s = R / torch.where(y >= 0, y + EPS, y - EPS)
    near(row.bias[0], (s * c).flatten(1).sum(1))
    assert e.ledger["it"].error < 1e-13


def test_weights_that_a_softmax_made_are_a_gate():
    (a, v), (of_a, of_v), R, e, _ = relevance_of(lambda a, v: a.softmax(-1) @ v, (3, 4), (4, 5))
    assert not of_a.any()
    (expected,) = by_autograd(lambda v: a.softmax(-1) @ v, [v], R)
    near(of_v, expected)
    assert e.ledger["it"].error < 1e-13


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


DIVISORS = {
    "of no sign": (lambda y: y / (y + 1), "not proved to have one sign"),
    "of a constant": (lambda y: torch.div(torch.ones(3), y.exp()), "a constant divided"),
    "a softmax by hand": (lambda y: y.exp() / y.exp().sum(1, keepdim=True), "softmax written by hand"),
    "a softmax with a little more": (lambda y: y.exp() / (y.exp().sum(1)[:, None] + 1e-9), "softmax|sign"),
    "a softmax, expanded": (
        lambda y: y.exp() / y.exp().sum(1, keepdim=True).clamp(min=1e-6).expand_as(y),
        "softmax written by hand",
    ),
    "a softmax by normalize": (lambda y: F.normalize(y.exp(), p=1, dim=1), "softmax written by hand"),
    "a value in the place of baddbmm's constant": (
        lambda y: torch.baddbmm(y[:, :, None] * y[:, None], y[:, :, None], y[:, None]).sum(1),
        r"write it as c \+ a @ b",
    ),
}


@pytest.mark.parametrize("case", DIVISORS)
def test_other_divisions_are_refused(case):
    step, message = DIVISORS[case]
    net = nn.Linear(4, 3).eval()
    with pytest.raises(rp.UnsupportedOp, match=message):
        rp.attribute(lambda x: step(net(x)), torch.randn(2, 4), 0, "lrp-z")


def test_weights_over_their_sum_are_a_gate():
    def weighted(a, v):
        weights = a.softmax(-1) * 0.5 + torch.sigmoid(a) * 0.5
        return (weights / weights.sum(-1, keepdim=True)) @ v

    (a, v), (of_a, of_v), R, e, _ = relevance_of(weighted, (3, 4), (4, 5))
    assert not of_a.any()
    (expected,) = by_autograd(lambda v: weighted(a, v), [v], R)
    near(of_v, expected)
    assert e.ledger["it"].error < 1e-13


def test_rectified_numbers_over_their_sum_are_scaled_by_it():
    _, (got,), R, *_ = relevance_of(lambda x: F.relu(x) / (F.relu(x).sum(-1, keepdim=True) + 1), (4, 6))
    assert torch.equal(got, R)


@pytest.mark.parametrize("kind", ["LayerNorm", "GroupNorm", "InstanceNorm"])
def test_a_normalisation_before_the_first_layer_is_what_it_is_by_hand(kind):
    step, _, shape = NORMS[kind]
    hand = {
        "LayerNorm": lambda x: (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-3).sqrt(),
        "GroupNorm": lambda x: group_norm_by_hand(x),
        "InstanceNorm": lambda x: (
            (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-4).sqrt()
        ),
    }[kind]
    w, b = (W, B) if kind == "LayerNorm" else (W[:, None], B[:, None])
    fc = nn.Linear(24 if kind == "LayerNorm" else 30, 2).to(D)
    x = torch.randn(2, *shape, dtype=D)
    module = rp.attribute(lambda x: fc(step(x).flatten(1)), x, 1, "lrp-z")
    by_hand = rp.attribute(lambda x: fc((hand(x) * w + b).flatten(1)), x, 1, "lrp-z")
    torch.testing.assert_close(module, by_hand, rtol=1e-9, atol=1e-12)


def group_norm_by_hand(x):
    parts = x.reshape(len(x), 3, 10)
    scaled = (parts - parts.mean(-1, keepdim=True)) / (parts.var(-1, unbiased=False, keepdim=True) + 1e-2).sqrt()
    return scaled.reshape(x.shape)


def test_a_batchnorm_before_the_first_layer_passes_as_it_does_by_hand():
    bn, fc = nn.BatchNorm2d(3), nn.Linear(3 * 16, 2)
    bn.running_mean.normal_()
    bn.running_var.uniform_(0.5, 2)
    bn, fc = bn.to(D).eval(), fc.to(D).eval()
    x = torch.randn(2, 3, 4, 4, dtype=D)
    scale = (bn.weight / (bn.running_var + bn.eps).sqrt())[:, None, None].detach()
    shift = (bn.bias - bn.running_mean * scale[:, 0, 0])[:, None, None].detach()
    for method in ("lrp-z", "cmp-alpha2-flat", "lrp-alpha1"):
        module = rp.attribute(lambda x: fc(bn(x).flatten(1)), x, 1, method)
        hand = rp.attribute(lambda x: fc((x * scale + shift).flatten(1)), x, 1, method)
        near(module, hand)
        near(module, rp.attribute(fc, bn(x).flatten(1), 1, method).view_as(x))


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


def test_normalize_scales_by_a_gate():
    _, (got,), R, *_ = relevance_of(lambda x: F.normalize(x, dim=-1), (4, 6))
    assert torch.equal(got, R)
    torch.manual_seed(0)
    _, (by_norm,), *_ = relevance_of(lambda x: x / x.norm(dim=-1, keepdim=True), (4, 6))
    assert torch.equal(by_norm, R)
