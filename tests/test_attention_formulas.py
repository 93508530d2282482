"""Every formula of attention against its definition, number by number in float64 (`attention_reference`)."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import relprop as rp
from attention_reference import (
    D,
    attention_share,
    layer_norm_share,
    of_heads,
    product_share,
    softmax_share,
    values_share,
)

ATTN, CP = "attnlrp", "cp-lrp"
NEAR = 1e-12


def near(got, expected):
    """Equal to 1e-12 of the largest number."""
    size = max(float(expected.abs().max()), 1e-300)
    assert got.shape == expected.shape
    assert float((got - expected).abs().max()) <= NEAR * size


class Step(nn.Module):
    """A function as a module, so that relevance can be read at its output; it remembers what went in first."""

    def __init__(self, function):
        super().__init__()
        self.function, self.inputs = function, None

    def forward(self, *x):
        self.inputs = self.inputs or [t.detach().clone() for t in x]
        return self.function(*x)


class Net(nn.Module):
    """A layer for each input, the step, and numbers of either sign for every output, so that all of them count."""

    def __init__(self, function, shapes):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(shape[-1], shape[-1]) for shape in shapes)
        self.step = Step(function)

    def forward(self, *x):
        return self.step(*(layer(t) for layer, t in zip(self.layers, x, strict=True)))


def weighed(y):
    """One number of all outputs."""
    y = y.flatten(1)
    return (y * torch.linspace(-1, 1.5, y.shape[1], dtype=y.dtype)).sum(1)


class Found:
    """What a step handed down: its inputs, the relevance of its output and of each input (B, ...), and the ledger."""

    def __init__(self, function, *shapes, method=ATTN, batch=2, targets=(weighed,)):
        torch.manual_seed(0)
        self.net = Net(function, shapes).to(D).eval()
        self.x = tuple(torch.randn(batch, *shape, dtype=D) for shape in shapes)
        e = rp.explain(self.net, self.x, list(targets), {"it": method}, inside=["layers.*", "step"], check=True)
        self.inputs, self.ledger, self.relevance = self.net.step.inputs, e.ledger["it"], e.relevance["it"]
        self.all_above = e.inside["it"]["step"]
        self.all_below = [e.inside["it"][f"layers.{k}"] for k in range(len(shapes))]
        self.above, self.below = self.all_above[0], [R[0] for R in self.all_below]
        assert self.ledger.error < 1e-13

    def row(self, op):
        """The only row of this name."""
        (row,) = [row for row in self.ledger if row.op == op]
        return row


# -- softmax ---------------------------------------------------------------------------------------------------


def masks_of(value):
    """A mask (4, 3) of which the second row is masked but for one place, and the third entirely."""
    mask = torch.zeros(4, 3, dtype=D)
    mask[1, 1:], mask[2] = value, value
    return mask


LEAST, LEAST_32 = torch.finfo(D).min, torch.finfo(torch.float32).min
HIDING = masks_of(-torch.inf)
HIDING[2] = torch.tensor([0.5, -torch.inf, -1.0])  # torch's softmax of a row that is all -inf is no number
SOFTMAXES = {  # the call, its axis, and what is added to x
    "last axis": (lambda x: x.softmax(-1), -1, 0.0),
    "first axis behind the batch": (lambda x: torch.softmax(x, 1), 1, 0.0),
    "by name": (lambda x: F.softmax(input=x, dim=2), 2, 0.0),
    "of double precision by its argument": (lambda x: F.softmax(x, -1, dtype=D), -1, 0.0),
    "a module": (nn.Softmax(dim=-2), -2, 0.0),
    "batch in the middle": (lambda x: x.transpose(0, 1).softmax(0).transpose(0, 1), 1, 0.0),
    "batch at the end": (lambda x: x.permute(1, 2, 0).softmax(1).permute(2, 0, 1), 2, 0.0),
    "far below zero": (lambda x: (x - 50).softmax(-1), -1, -50.0),
    "a mask of -inf": (lambda x: (x + HIDING).softmax(-1), -1, HIDING),
    "the least number as a mask": (lambda x: (x + masks_of(LEAST)).softmax(-1), -1, masks_of(LEAST)),
    "the least of float32 as a mask": (lambda x: (x + masks_of(LEAST_32)).softmax(-1), -1, masks_of(LEAST_32)),
}


@pytest.mark.parametrize("large", [1.0, 30.0])
@pytest.mark.parametrize("kind", SOFTMAXES)
def test_softmax(kind, large):
    function, axis, added = SOFTMAXES[kind]
    found = Found(lambda x: function(x * large), (4, 3))
    scores = large * found.inputs[0]
    x = scores + added
    of_x, rest = softmax_share(x, found.above, axis)
    near(found.below[0], torch.where(of_x == 0, 0.0, of_x / x * scores))  # what was added takes its part as bias
    near(found.row("softmax").bias[0], rest.flatten(1).sum(1))


def test_a_softmax_in_single_precision_of_doubles():
    found = Found(lambda x: F.softmax(x, -1, dtype=torch.float32).to(D), (4, 3))
    expected, _ = softmax_share(found.inputs[0], found.above, -1)
    assert float((found.below[0] - expected).abs().max()) < 1e-6 * float(expected.abs().max())


def test_what_a_mask_hides_gets_exactly_nothing():
    hidden = masks_of(1.0) > 0
    found = Found(lambda x: x.masked_fill(hidden, LEAST).softmax(-1), (4, 3))
    assert not found.below[0][:, hidden].any()
    assert found.below[0][:, ~hidden].all(0).any()


# -- products of two values --------------------------------------------------------------------------------------


CONSTANT = torch.linspace(-1, 1, 12, dtype=D).view(1, 3, 4)
PRODUCTS = {
    "@": (lambda a, b: a @ b, (3, 2), (2, 4)),
    "bmm": (torch.bmm, (3, 2), (2, 4)),
    "matmul by name": (lambda a, b: torch.matmul(input=a, other=b), (3, 2), (2, 4)),
    "einsum": (lambda a, b: torch.einsum("bij,bjk->bik", a, b), (3, 2), (2, 4)),
    "einsum of a transposed one": (lambda a, b: torch.einsum("bij,bkj->bik", a, b.mT), (3, 2), (2, 4)),
    "heads": (torch.matmul, (2, 3, 2), (2, 2, 4)),
    "einsum over heads": (lambda a, b: torch.einsum("bhij,bhjk->bhik", a, b), (2, 3, 2), (2, 2, 4)),
    "one matrix for all heads": (torch.matmul, (2, 3, 2), (1, 2, 4)),
    "all heads of one": (torch.matmul, (1, 3, 2), (2, 2, 4)),
    "baddbmm": (lambda a, b: torch.baddbmm(CONSTANT.expand(len(a), 3, 4), a, b), (3, 2), (2, 4)),
    "batch in the middle": (
        lambda a, b: torch.einsum("ibj,jbk->ibk", a.transpose(0, 1), b.transpose(0, 1)).transpose(0, 1),
        (3, 2),
        (2, 4),
    ),
}


def attend(eps=0.0, through="all"):
    """Attention by `rules.Attend`, all else by epsilon 0."""
    return rp.Composite([(rp.on.attention, rp.rules.Attend(eps, through)), (rp.on.any, rp.rules.Epsilon(0.0))])


@pytest.mark.parametrize("eps", [0.0, 0.3])
@pytest.mark.parametrize("kind", PRODUCTS)
def test_products_of_two_values(kind, eps):
    function, *shapes = PRODUCTS[kind]
    found = Found(function, *shapes, method=attend(eps))
    a, b = found.inputs
    added = CONSTANT[0] if kind == "baddbmm" else None
    expected = of_heads(product_share, {"a": a, "b": b}, found.above, eps=eps, added=added)
    near(found.below[0], expected["a"])
    near(found.below[1], expected["b"])
    row = found.row("baddbmm" if kind == "baddbmm" else "matmul")
    y = function(a, b)
    s = found.above / torch.where(y >= 0, y + eps, y - eps)
    near(row.eps[0], (s * eps * torch.where(y >= 0, 1.0, -1.0)).flatten(1).sum(1))
    near(row.bias[0], (s * (0.0 if added is None else added)).flatten(1).sum(1))


def test_one_value_on_both_sides_takes_both_halves():
    found = Found(lambda a: a @ a, (3, 3))
    (a,) = found.inputs
    expected = of_heads(product_share, {"a": a, "b": a}, found.above)
    near(found.below[0], expected["a"] + expected["b"])


def test_two_factors_share_evenly_and_a_gate_takes_none():
    """SwiGLU: neither of its factors is bounded, so each takes half; a sigmoid is a gate."""
    found = Found(lambda a, b: F.silu(a) * b, (3, 4), (3, 4))
    near(found.below[0], found.above / 2)
    near(found.below[1], found.above / 2)
    found = Found(lambda a, b: torch.sigmoid(a) * b, (3, 4), (3, 4))
    assert not found.below[0].any()
    near(found.below[1], found.above)


# -- attention in one call ----------------------------------------------------------------------------------------


Q, K, V = (2, 3, 2), (2, 4, 2), (2, 4, 3)  # heads, tokens, numbers
ADDED = torch.randn(3, 4, dtype=D, generator=torch.Generator().manual_seed(1))
SEEN = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)


def added_with(value):
    """A mask that is added, with some places and a whole row of it hidden."""
    mask = ADDED.clone()
    mask[0, 2:], mask[1] = value, value
    return mask


sdpa = F.scaled_dot_product_attention
CALLS = {
    "plain": ({}, Q, K, V),
    "without heads": ({}, (3, 2), (4, 2), (4, 3)),
    "two axes of heads": ({}, (2, 2, 3, 2), (2, 2, 4, 2), (2, 2, 4, 3)),
    "a scale": ({"scale": -0.7}, Q, K, V),
    "causal": ({"is_causal": True}, Q, K, V),
    "a boolean mask with a row that sees nothing": ({"attn_mask": SEEN}, Q, K, V),
    "a mask added": ({"attn_mask": ADDED}, Q, K, V),
    "a mask added to all queries": ({"attn_mask": ADDED[:1]}, Q, K, V),
    "-inf, also in a whole row": ({"attn_mask": added_with(-torch.inf)}, Q, K, V),
    "the least number": ({"attn_mask": added_with(LEAST)}, Q, K, V),
    "the least of float32": ({"attn_mask": added_with(LEAST_32)}, Q, K, V),
    "grouped queries": ({"enable_gqa": True}, (4, 3, 2), (2, 4, 2), (2, 4, 3)),
    "groups of keys and of values that differ": ({"enable_gqa": True}, (4, 3, 2), (2, 4, 2), (1, 4, 3)),
    "one head of keys and values for all": ({}, (2, 3, 2), (1, 4, 2), (1, 4, 3)),
    "one head of queries for all": ({}, (1, 3, 2), (2, 4, 2), (2, 4, 3)),
}


def by_definition(share, found, words, eps, given=None, **more):
    """What the definition hands down for a call of attention with these words."""
    q, k, v = given or found.inputs
    mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril() if "is_causal" in words else None
    mask = words.get("attn_mask", mask)
    mask = torch.zeros(q.shape[-2], k.shape[-2], dtype=D) if mask is None else mask
    mask = mask.expand(*found.above.shape[:-2], q.shape[-2], k.shape[-2])
    tensors = {"q": q, "k": k, "v": v, "m": mask}
    return of_heads(share, tensors, found.above, scale=words.get("scale"), eps=eps, **more)


@pytest.mark.parametrize("eps", [0.0, 0.2])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("at_once", [2**22, 5])
def test_attention_in_one_call(call, eps, at_once, monkeypatch):
    monkeypatch.setattr("relprop.ops.attention_call.AT_ONCE", at_once)
    words, *shapes = CALLS[call]
    found = Found(lambda q, k, v: sdpa(q, k, v, **words), *shapes, method=attend(eps))
    expected = by_definition(attention_share, found, words, eps)
    for got, name in zip(found.below, "qkv", strict=True):
        near(got, expected[name])
    near(found.row("attention").bias[0], expected["m"].flatten(1).sum(1))
    inner = found.row("softmax")
    near(inner.bias[0], expected["rest"])
    assert not inner.relevance_out.any()
    assert torch.equal(inner.relevance_in, inner.bias)


@pytest.mark.parametrize("eps", [0.0, 0.2])
@pytest.mark.parametrize("call", CALLS)
def test_through_its_values_alone(call, eps, monkeypatch):
    monkeypatch.setattr("relprop.ops.attention_call.AT_ONCE", 5)
    words, *shapes = CALLS[call]
    found = Found(lambda q, k, v: sdpa(q, k, v, **words), *shapes, method=attend(eps, "values"))
    assert not found.below[0].any()
    assert not found.below[1].any()
    near(found.below[2], by_definition(values_share, found, words, eps)["v"])
    row = found.row("attention")
    unseen = found.above[..., 1, :].flatten(1).sum(1) if "whole row" in call or "sees nothing" in call else 0.0
    if eps == 0:  # all of it comes to the values, but for what a row that sees nothing cannot hand on
        near(row.relevance_out[0], row.relevance_in[0] - unseen)
    assert not row.bias.any()


FIXED = torch.linspace(-1, 1, 16, dtype=D).view(2, 8).sin()
FIXED_Q, FIXED_K, FIXED_V = FIXED[:, :6].view(1, 2, 3, 2), FIXED.view(1, 2, 4, 2), FIXED.view(1, 2, 4, 2)
SOME_CONSTANT = {
    "queries, as in T5's decoder": (lambda k, v: (FIXED_Q.expand(len(k), -1, -1, -1), k, v), "q", (K, V)),
    "keys": (lambda q, v: (q, FIXED_K.expand(len(q), -1, -1, -1), v), "k", (Q, V)),
    "queries and keys": (lambda v: (FIXED_Q.expand(len(v), -1, -1, -1), FIXED_K.expand(len(v), -1, -1, -1), v),
                         "qk", (V,)),
    "values": (lambda q, k: (q, k, FIXED_V.expand(len(q), -1, -1, -1)), "v", (Q, K)),
    "queries and values": (lambda k: (FIXED_Q.expand(len(k), -1, -1, -1), k, FIXED_V.expand(len(k), -1, -1, -1)),
                           "qv", (K,)),
}  # fmt: skip


@pytest.mark.parametrize("which", SOME_CONSTANT)
@pytest.mark.parametrize("words", [{}, {"attn_mask": added_with(-torch.inf)}])
def test_of_a_constant_and_a_value_the_value_takes_all(which, words):
    of, constant, shapes = SOME_CONSTANT[which]
    found = Found(lambda *x: sdpa(*of(*x), **words), *shapes)
    expected = by_definition(attention_share, found, words, 0.0, of(*found.inputs), constant=constant)
    for got, name in zip(found.below, [name for name in "qkv" if name not in constant], strict=True):
        near(got, expected[name])
    of_mask = expected["m"].flatten(1).sum(1)
    near(found.row("attention").bias[0], of_mask)


def test_a_mask_that_depends_on_the_input_takes_its_share():
    found = Found(lambda q, k, v, m: sdpa(q, k, v, attn_mask=m), Q, K, V, (2, 3, 4))
    *qkv, m = found.inputs
    expected = by_definition(attention_share, found, {"attn_mask": m}, 0.0, qkv)
    for got, name in zip(found.below, "qkvm", strict=True):
        near(got, expected[name])
    assert not found.row("attention").bias.any()


def test_a_mask_alone_depends_on_the_input():
    q, k = FIXED_Q.expand(2, -1, -1, -1), FIXED_K.expand(2, -1, -1, -1)
    found = Found(lambda v, m: sdpa(q[: len(v)], k[: len(v)], v, attn_mask=m), V, (2, 3, 4))
    v, m = found.inputs
    expected = by_definition(attention_share, found, {"attn_mask": m}, 0.0, (q, k, v), constant=("q", "k", "m"))
    near(found.below[0], expected["v"])
    near(found.below[1], expected["m"])
    heads = list(itertools.product(range(2), range(2)))
    each = {at: attention_share(q[at], k[at], v[at], found.above[at], m[at]) for at in heads}
    of_scores = torch.stack([sum(each[b, h]["s"].sum() for h in range(2)) for b in range(2)])
    near(found.row("attention").bias[0], of_scores)


def test_one_tensor_as_query_key_and_value():
    found = Found(lambda t: sdpa(t, t, t), (2, 4, 3))
    (t,) = found.inputs
    expected = by_definition(attention_share, found, {}, 0.0, (t, t, t))
    near(found.below[0], expected["q"] + expected["k"] + expected["v"])


def test_one_tensor_as_mask_and_value():
    found = Found(lambda q, v: sdpa(q, q, v, attn_mask=v), (4, 3), (4, 4))
    q, v = found.inputs
    expected = by_definition(attention_share, found, {"attn_mask": v}, 0.0, (q, q, v))
    near(found.below[0], expected["q"] + expected["k"])
    near(found.below[1], expected["v"] + expected["m"])


@pytest.mark.parametrize("number", [-1e4, -1e9])
def test_a_large_number_in_a_whole_row_closes_the_ledger(number):
    """It hides nothing there, and must not swallow the shares of a row that sees all alike."""
    mask = added_with(number)
    found = Found(lambda q, k, v: sdpa(q, k, v, attn_mask=mask.to(q.dtype)), Q, K, V)
    zero = ADDED.clone()
    zero[0, 2:], zero[1] = -torch.inf, 0.0
    expected = by_definition(attention_share, found, {"attn_mask": zero}, 0.0)
    for got, name in zip(found.below, "qkv", strict=True):
        assert float((got - expected[name]).abs().max()) < 1e-6 * float(expected[name].abs().max())
    single = rp.explain(found.net.float(), tuple(x.float() for x in found.x), [weighed], {"it": ATTN}).ledger["it"]
    assert single.error < 1e-6


def test_the_least_number_of_doubles_as_a_mask_in_a_walk_of_singles():
    found = Found(lambda q, k, v: sdpa(q, k, v, attn_mask=added_with(LEAST)), Q, K, V)
    e = rp.explain(found.net, found.x, [weighed], {"it": ATTN}, dtype=torch.float32)
    assert e.ledger["it"].error < 1e-6
    for single, double in zip(e.relevance["it"], found.relevance, strict=True):
        assert float((single - double).abs().max()) < 1e-6 * float(double.abs().max())


def test_attention_on_the_input_itself_is_the_same_in_one_call_and_by_hand():
    """A mask that is added to scores is bias, whether or not a layer lies before: it is no shift of the input."""
    x = torch.randn(2, 3, 4, dtype=D)
    mask = torch.randn(3, 3, dtype=D)
    fused = rp.explain(lambda x: sdpa(x, x, x, attn_mask=mask), x, [weighed], [ATTN])
    eager = rp.explain(lambda x: (x @ x.mT / 2 + mask).softmax(-1) @ x, x, [weighed], [ATTN])
    near(fused.relevance[ATTN], eager.relevance[ATTN])
    near(fused.ledger[ATTN].sum("bias"), eager.ledger[ATTN].sum("bias"))


# -- normalisation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("eps", [0.0, 0.2])
def test_layer_norm(eps):
    weight, bias = torch.tensor([1.5, -0.5, 1.0, 2.0], dtype=D), torch.tensor([0.3, -0.2, 0.0, 1.0], dtype=D)
    method = rp.Composite([(rp.on.layer_norm, rp.rules.Epsilon(eps)), (rp.on.any, rp.rules.Epsilon(0.0))])
    found = Found(lambda x: F.layer_norm(x, (4,), weight, bias, 1e-3), (3, 4), method=method)
    below, shift = layer_norm_share(found.inputs[0], found.above, weight, bias, 1e-3, eps)
    near(found.below[0], below)
    near(found.row("layer_norm").bias[0], shift.sum(1))


@pytest.mark.parametrize("method", [ATTN, CP])
def test_rms_norm_hands_down_what_it_gets(method):
    found = Found(lambda x: F.rms_norm(x, (4,), torch.linspace(-1, 1, 4, dtype=D)), (3, 4), method=method)
    assert torch.equal(found.below[0], found.above)
