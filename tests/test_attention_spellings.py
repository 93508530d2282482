"""The same transformer, however its parts are spelled, gets the same map: to 1e-12 in float64."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import relprop as rp
from attending import ATTENTION, GELU, GELU_TANH, NORM, TOKENS, D, tokens, transformer
from tiny_text import ids_of, made

METHODS = ["attnlrp", "cp-lrp", "attnlrp-vit", "lrp-z"]
CAUSAL = torch.zeros(TOKENS, TOKENS, dtype=D).masked_fill(torch.ones(TOKENS, TOKENS).triu(1) > 0, -torch.inf)
DISTANCE = -0.3 * (torch.arange(TOKENS)[:, None] - torch.arange(TOKENS)).abs().to(D)
MASKS = {"no mask": None, "causal": CAUSAL, "a bias of distance": DISTANCE, "both": CAUSAL + DISTANCE}


def off(one, other):
    """How far two maps are apart, of the largest number."""
    return float((one - other).abs().max() / other.abs().max())


def maps_of(net, x):
    """By every method."""
    e = rp.explain(net, x, [0, 2], METHODS)
    assert all(ledger.error < 1e-13 for ledger in e.ledger.values())
    return e.relevance


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("spelled", [name for name in ATTENTION if name != "fused"])
def test_attention(spelled, mask):
    x = tokens()
    expected = maps_of(transformer(mask=MASKS[mask]), x)
    got = maps_of(transformer(attention=ATTENTION[spelled], mask=MASKS[mask]), x)
    assert all(off(got[method], expected[method]) < 1e-12 for method in METHODS)


@pytest.mark.parametrize(("forms", "spelled"), [(f, n) for f in (GELU, GELU_TANH) for n in f if n != "F.gelu"])
def test_gelu_by_hand(forms, spelled):
    x = tokens()
    expected = maps_of(transformer(activation=forms["F.gelu"]), x)
    got = maps_of(transformer(activation=forms[spelled]), x)
    assert all(off(got[method], expected[method]) < 1e-12 for method in METHODS)


@pytest.mark.parametrize("spelled", [name for name in NORM if name not in ("F.layer_norm", "F.rms_norm")])
def test_rms_norm_by_hand(spelled):
    x = tokens()
    expected = maps_of(transformer(norm=NORM["F.rms_norm"]), x)
    got = maps_of(transformer(norm=NORM[spelled]), x)
    assert all(off(got[method], expected[method]) < 1e-12 for method in METHODS)


KEYS = {"add_bias_kv": {"add_bias_kv": True}, "add_zero_attn": {"add_zero_attn": True}, "no bias": {"bias": False}}
KEYS |= {"as it is": {}, "batch first": {"batch_first": True}, "keys of another width": {"kdim": 5, "vdim": 6}}
HIDDEN = torch.tensor([[False] * 4, [False, False, True, True]])


@pytest.mark.parametrize("hides", [None, HIDDEN])
@pytest.mark.parametrize("kind", KEYS)
def test_a_module_of_attention_with_its_weights_and_without(kind, hides):
    """The one makes them by bmm, the other calls attention in one."""
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, **KEYS[kind]).to(D).eval()
    for parameter in attention.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter)
    made_of = nn.ModuleList(nn.Linear(4, n) for n in (8, attention.kdim, attention.vdim)).to(D)
    head = nn.Linear(8, 3).to(D)

    def model(x, *, need_weights):
        qkv = [layer(x) if attention.batch_first else layer(x).transpose(0, 1) for layer in made_of]
        y = attention(*qkv, key_padding_mask=hides, need_weights=need_weights)[0]
        return head(y if attention.batch_first else y.transpose(0, 1))[:, :3].mean(1)

    x = torch.randn(2, 4, 4, dtype=D)
    expected = maps_of(lambda x: model(x, need_weights=False), x)
    got = maps_of(lambda x: model(x, need_weights=True), x)
    for method in METHODS:
        assert off(got[method], expected[method]) < 1e-12
        if hides is not None and method != "lrp-z":
            values_alone = rp.explain(lambda x: model(x, need_weights=False), x, [0], [method]).relevance[method]
            assert off(values_alone[0], expected[method][0]) < 1e-12


@pytest.mark.parametrize("norm_first", [True, False])
def test_an_encoder_of_padded_texts_is_as_for_each_alone(norm_first):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True, norm_first=norm_first)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).to(D).eval()
    embed, head = nn.Linear(4, 8).to(D), nn.Linear(8, 3).to(D)
    lengths = [5, 3, 1]
    padding = torch.arange(5) >= torch.tensor(lengths)[:, None]

    def model(x):
        own = (~padding)[:, :, None]
        return head((encoder(embed(x), src_key_padding_mask=padding) * own).sum(1) / own.sum(1))

    x = torch.randn(3, 5, 4, dtype=D)
    e = rp.explain(model, x, [0, 2], ["attnlrp", "cp-lrp"], check=True)
    for method, (t, target) in itertools.product(("attnlrp", "cp-lrp"), enumerate((0, 2))):
        R = e.relevance[method][t]
        assert e.ledger[method].error < 1e-13
        assert not R[padding].any()
        for k, length in enumerate(lengths):
            one = x[k : k + 1, :length]
            alone = rp.attribute(lambda x: head(encoder(embed(x)).mean(1)), one, target, method)
            assert off(R[k : k + 1, :length], alone) < 1e-12


EAGER_HERE = {"llama": 1e-6, "qwen3": 1e-6, "gemma3": 1e-6, "gpt2": 1e-12, "bert": 1e-12, "t5": 1e-6}
"""transformers' own eager attention casts its softmax to float32 in most of its models: 1e-7, and none of ours."""


@pytest.mark.parametrize("name", EAGER_HERE)
def test_transformers_eager_and_in_one_call(name):
    (ids,) = ids_of(7)
    x = {"input_ids": ids} | ({"decoder_input_ids": torch.tensor([[0, 5, 7]])} if name == "t5" else {})
    target = 1 if name == "bert" else rp.at(-1, 5)
    for method in ("attnlrp", "cp-lrp"):
        maps = [
            rp.attribute(made(name, attn_implementation=how), x, target, method, of="input_ids")
            for how in ("eager", "sdpa")
        ]
        assert 0 < off(*maps) < EAGER_HERE[name]


def test_a_softmax_by_hand_stays_refused():
    def model(x):
        powers = (x @ x.mT).exp()
        return ((powers / powers.sum(-1, keepdim=True)) @ x).flatten(1)

    for method in ("attnlrp", "cp-lrp"):
        with pytest.raises(rp.UnsupportedOp, match=r"softmax written by hand; use torch\.softmax"):
            rp.attribute(model, torch.randn(2, 3, 4, dtype=D), 1, method)


def test_logarithms_of_a_softmax_stay_refused():
    fc = nn.Linear(4, 3).to(D)
    with pytest.raises(rp.UnsupportedOp, match="log_softmax"):
        rp.attribute(lambda x: F.log_softmax(fc(x), 1), torch.randn(2, 4, dtype=D), 1, "attnlrp")


def test_matrices_of_their_own_for_each_head_are_layers_of_their_own():
    """Also beside a value with an axis of heads and one of tokens, on either side, by every rule of layers."""
    w = torch.randn(2, 4, 3, dtype=D)
    head = nn.Linear(6, 3).to(D)
    forms = {
        "@": lambda x: x @ w,
        "einsum": lambda x: torch.einsum("bhld,hde->bhle", x, w),
        "on the left": lambda x: (w.mT @ x.mT).mT,
        "for each picture": lambda x: x @ w.expand(len(x), -1, -1, -1),
    }

    def apart(x):
        return torch.stack([F.linear(x[:, h], w[h].T) for h in range(2)], 1)

    x = torch.randn(2, 2, 5, 4, dtype=D)
    methods = {
        "cmp-alpha1": "cmp-alpha1",
        "alpha2": rp.Composite([(rp.on.any, rp.rules.AlphaBeta(2))]),
        "gamma": rp.Composite([(rp.on.any, rp.rules.Gamma(0.25))]),
        "w-square": rp.Composite([(rp.on.first(), rp.rules.WSquare()), (rp.on.any, rp.rules.Epsilon())]),
        "box": rp.Composite([(rp.on.first(), rp.rules.ZBox(-4, 4)), (rp.on.any, rp.rules.Epsilon())]),
    }

    def whole(step):
        return lambda x: head(step(x).transpose(1, 2).flatten(2).mean(1))

    expected = rp.explain(whole(apart), x, [1], methods)
    for form in forms.values():
        got = rp.explain(whole(form), x, [1], methods, check=True)
        for name in methods:
            assert off(got.relevance[name], expected.relevance[name]) < 1e-12
            assert got.ledger[name].error < 1e-13


def test_a_matrix_that_repeats_the_value_says_what_to_do():
    w = torch.randn(2, 4, 3, dtype=D)
    x = torch.randn(1, 5, 4, dtype=D)
    with pytest.raises(rp.UnsupportedOp, match="repeat the value first"):
        rp.attribute(lambda x: (x @ w).sum(0, keepdim=True).mean(1), x, 1, "attnlrp")
    rp.attribute(lambda x: (x.expand(2, -1, -1) @ w).sum(0, keepdim=True).mean(1), x, 1, "attnlrp")


def test_learned_queries_are_the_same_in_one_call_and_by_hand():
    """As a pooling head has them: a module makes its weights by bmm, of which one side is constant."""
    torch.manual_seed(0)
    attention, head = nn.MultiheadAttention(8, 2, batch_first=True).to(D).eval(), nn.Linear(8, 3).to(D)
    embed, probe = nn.Linear(4, 8).to(D), torch.randn(1, 1, 8, dtype=D)

    def model(x, *, need_weights):
        h = embed(x)
        return head(attention(probe.expand(len(x), -1, -1), h, h, need_weights=need_weights)[0][:, 0])

    x = tokens()
    expected = maps_of(lambda x: model(x, need_weights=False), x)
    got = maps_of(lambda x: model(x, need_weights=True), x)
    assert all(off(got[method], expected[method]) < 1e-12 for method in METHODS)


def test_mixed_experts_are_explained_one_after_the_other():
    """The router's weights are a gate. Of the three ways in which transformers multiply, one has no rule."""
    (ids,) = ids_of(6)
    x = {"input_ids": ids}
    maps = []
    for how in ("eager", "batched_mm"):
        model = made("mixtral")
        model.set_experts_implementation(how)
        e = rp.explain(model, x, [rp.at(-1, 5)], ["attnlrp", "cp-lrp"], check=True)
        assert all(ledger.error < 1e-13 for ledger in e.ledger.values())
        maps.append(e.relevance["attnlrp"])
    assert off(*maps) < 1e-12
    single = made("mixtral", torch.float32)
    single.set_experts_implementation("grouped_mm")
    with pytest.raises(rp.UnsupportedOp, match=r"set_experts_implementation\('eager'\)"):
        rp.attribute(single, x, rp.at(-1, 5), "attnlrp")


def test_a_scan_of_mamba_closes_its_ledger():
    """Written out step by step, of products of two values that share half and half; it casts to float32 itself."""
    (ids,) = ids_of(6)
    e = rp.explain(made("mamba"), {"input_ids": ids}, [rp.at(-1, 5), rp.at(2, 7)], ["attnlrp", "cp-lrp"], check=True)
    assert all(ledger.error < 1e-6 for ledger in e.ledger.values())
    assert e.relevance["attnlrp"][0].abs().min() > 0
    assert not e.relevance["attnlrp"][1, :, 3:].any()
