"""LayerNorm, GroupNorm, InstanceNorm, RMSNorm, softmax and products of two values, by their definitions."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import relprop as rp
from steps import EPS, D, by_autograd, near, relevance_of


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


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


def test_normalize_scales_by_a_gate():
    _, (got,), R, *_ = relevance_of(lambda x: F.normalize(x, dim=-1), (4, 6))
    assert torch.equal(got, R)
    torch.manual_seed(0)
    _, (by_norm,), *_ = relevance_of(lambda x: x / x.norm(dim=-1, keepdim=True), (4, 6))
    assert torch.equal(by_norm, R)
