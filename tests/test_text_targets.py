"""Text: padded batches, token ids and embedded rows, `rp.at`, and logits of which relevance needs a few."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import relprop as rp
from tiny_text import WORDS, D, ids_of, made, padded

METHODS = ["attnlrp", "cp-lrp"]


def off(one, other):
    """How far two maps are apart, of the largest number."""
    return float((one - other).abs().max() / other.abs().max())


def target_of(name):
    """A class of BERT's, the next token of the others."""
    return 1 if name == "bert" else rp.at(-1, 5)


# -- padding ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma3", "gpt2", "bert", "t5 encoder"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_padded_batch_is_as_its_texts_alone(name, side):
    """With padding in front positions are given, as the models count them otherwise; T5 has none but distances."""
    if side == "left" and name == "bert":
        pytest.skip("BERT is padded behind the text")
    net, texts = made(name), ids_of(8, 5, 3)
    batch = padded(texts, side)
    if name == "t5 encoder":
        batch.pop("position_ids", None)

    def pooled(output):
        own = batch["attention_mask"][: len(output.last_hidden_state), :, None].to(D)
        return (output.last_hidden_state * own).sum((1, 2)) / own.sum((1, 2))

    def pooled_alone(output):
        return output.last_hidden_state.mean(1).sum(1)

    target, alone_target = (pooled, pooled_alone) if name == "t5 encoder" else [target_of(name)] * 2
    e = rp.explain(net, batch, [target], METHODS, of="input_ids", check=True)
    own = batch["attention_mask"].bool()
    for method in METHODS:
        R = e.relevance[method][0]
        assert R.shape == own.shape
        assert e.ledger[method].error < 1e-12
        assert not R[~own].any()
        for k, text in enumerate(texts):
            alone = rp.attribute(net, {"input_ids": text}, alone_target, method)
            assert off(R[k][own[k]], alone[0]) < 1e-12


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_what_stands_in_padding_does_not_matter(name):
    net, texts = made(name), ids_of(6, 3)
    batch = padded(texts)
    other = batch | {"input_ids": batch["input_ids"] + 50 * (1 - batch["attention_mask"])}
    one, two = (rp.attribute(net, x, rp.at(-1, 5), "attnlrp", of="input_ids") for x in (batch, other))
    assert torch.equal(one, two)


# -- ids and the rows that are looked up for them -----------------------------------------------------------------


def embedded(net, ids):
    """The rows that the model looks up."""
    return net.get_input_embeddings()(ids).detach()


@pytest.mark.parametrize("name", ["llama", "qwen3", "gpt2", "bert", "t5 encoder"])
@pytest.mark.parametrize("masked", [False, True])
def test_ids_are_explained_as_the_rows_that_are_looked_up(name, masked):
    net = made(name)
    batch = padded(ids_of(7, 4)) if masked else {"input_ids": ids_of(7)[0]}
    rows = {"inputs_embeds": embedded(net, batch["input_ids"])} | {k: v for k, v in batch.items() if k != "input_ids"}
    target = (lambda output: output.last_hidden_state[:, 0].sum(1)) if name == "t5 encoder" else target_of(name)
    for method in METHODS:
        by_id = rp.attribute(net, batch, target, method, of="input_ids")
        by_row = rp.attribute(net, rows, target, method, of="inputs_embeds")
        assert torch.equal(by_id, by_row.sum(-1))


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_beside_rows_a_mask_is_no_input(name):
    net, batch = made(name), padded(ids_of(7, 4))
    rows = {"inputs_embeds": embedded(net, batch["input_ids"]), "attention_mask": batch["attention_mask"]}
    asked = rp.attribute(net, rows, rp.at(-1, 5), "attnlrp", of="inputs_embeds")
    assert torch.equal(rp.attribute(net, rows, rp.at(-1, 5), "attnlrp"), asked)
    floating = rows | {"attention_mask": rows["attention_mask"].to(D)}
    assert torch.equal(rp.attribute(net, floating, rp.at(-1, 5), "attnlrp"), asked)
    by_id = batch | {"attention_mask": batch["attention_mask"].to(D)}
    assert torch.equal(rp.attribute(net, by_id, rp.at(-1, 5), "attnlrp"), asked.sum(-1))


# -- rp.at ----------------------------------------------------------------------------------------------------------


def logit(position, token, against=None):
    """The same target as a function of the output."""

    def value(output):
        y = output.logits if hasattr(output, "logits") else output
        return y[:, position, token] - (0.0 if against is None else y[:, position, against])

    return value


NARROWED = ["llama", "qwen3", "gemma2", "gemma3", "gpt2", "bert, masked words", "t5"]
"""Gemma 2 caps its logits by a tanh, BERT's head has a bias, GPT-2's weights are the embedding's."""


def text_for(name, length=7):
    """What goes into a model."""
    (ids,) = ids_of(length)
    return {"input_ids": ids} | ({"decoder_input_ids": torch.tensor([[0, 5, 7]])} if name == "t5" else {})


@pytest.mark.parametrize("method", [*METHODS, "lrp-epsilon"])
@pytest.mark.parametrize("name", NARROWED)
def test_a_token_at_a_place_is_the_function_that_takes_it(name, method):
    net, x = made(name), text_for(name)
    places = [(-1, 5, None), (1, 7, None), (-1, 5, 9), (2, 11, 3)]
    targets = [rp.at(*place) for place in places] + [logit(*place) for place in places]
    e = rp.explain(net, x, targets[:4], [method], of="input_ids", check=True)
    functions = rp.explain(net, x, targets[4:], [method], of="input_ids")
    together = rp.explain(net, x, targets, [method], of="input_ids")
    assert e.ledger[method].error < 1e-12
    # epsilon on the way from one logit to a difference is one more op
    bound = 1e-12 if method in METHODS else 1e-3
    for t in range(4):
        assert off(e.relevance[method][t], functions.relevance[method][t]) < bound
        assert off(together.relevance[method][t], e.relevance[method][t]) < 1e-12
        assert off(together.relevance[method][t + 4], functions.relevance[method][t]) < 1e-12
        assert off(rp.attribute(net, x, targets[t], method, of="input_ids"), e.relevance[method][t]) < 1e-12
    torch.testing.assert_close(e.values, functions.values)


class Head(nn.Module):
    """Embedded rows, one mixing of tokens, and a head of some spelling."""

    def __init__(self, head):
        super().__init__()
        self.table, self.mix = nn.Embedding(WORDS, 8), nn.Linear(8, 8)
        self.weight, self.bias = nn.Parameter(torch.randn(WORDS, 8)), nn.Parameter(torch.randn(WORDS))
        self.head = head

    def forward(self, input_ids):
        h = self.table(input_ids)
        h = torch.nn.functional.scaled_dot_product_attention(h, self.mix(h), h, is_causal=True)
        return self.head(self, h)


def less_mean(y):
    return y - y.mean(-1, keepdim=True)


HEADS = {
    "a bias": lambda net, h: nn.functional.linear(h, net.weight, net.bias),
    "scaled": lambda net, h: 0.5 * nn.functional.linear(h, net.weight) / 3.0,
    "capped": lambda net, h: 3.0 * torch.tanh(nn.functional.linear(h, net.weight, net.bias) / 3.0),
    "cast": lambda net, h: nn.functional.linear(h, net.weight, net.bias).to(torch.float32).to(D),
    "tied": lambda net, h: nn.functional.linear(h, net.table.weight),
    "a product": lambda net, h: h @ net.weight.T,
    "shifted after": lambda net, h: nn.functional.linear(h, net.weight) + net.bias,
    "the last places": lambda net, h: nn.functional.linear(h[:, -3:], net.weight, net.bias),
    "the last places afterwards": lambda net, h: nn.functional.linear(h, net.weight, net.bias)[:, -3:],
    "less their mean": lambda net, h: less_mean(nn.functional.linear(h, net.weight)),
    "in place": lambda net, h: nn.functional.linear(h, net.weight, net.bias).mul_(0.5),
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("method", METHODS)
def test_heads_that_are_narrowed_and_heads_that_cannot_be(head, method):
    net = Head(HEADS[head]).to(D).eval()
    (ids,) = ids_of(6)
    for place in ((-1, 5), (-2, 7, 9)):
        got = rp.explain(net, {"input_ids": ids}, [rp.at(*place)], [method], check=True)
        expected = rp.explain(net, {"input_ids": ids}, [logit(*place)], [method])
        assert got.ledger[method].error < 1e-12
        assert off(got.relevance[method], expected.relevance[method]) < 1e-12
        whole = got.ledger[method].sum("bias"), expected.ledger[method].sum("bias")
        assert float((whole[0] - whole[1]).abs().max()) < 1e-11 * max(1.0, float(whole[1].abs().max()))


class Largest(TorchDispatchMode):
    """The most numbers that any kernel gave."""

    def __init__(self):
        super().__init__()
        self.most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **kwargs or {})
        for t in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(t, torch.Tensor):
                self.most = max(self.most, t.numel())
        return result


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
@pytest.mark.parametrize("inside", [None, "model.layers.*|transformer.h.*"])
def test_ten_targets_never_hold_all_logits(name, inside):
    """(T, B, L, V) numbers are in no tensor of the walk, nor twice the model's own (B, L, V)."""
    vocabulary, batch, length = 2000, 2, 9
    net = made(name, vocab_size=vocabulary)
    ids = torch.cat(ids_of(length, length))
    targets = [rp.at(k % length, 3 + k) for k in range(10)]
    given = {"inside": inside.split("|")[name == "gpt2"]} if inside else {}
    with Largest() as seen:
        rp.explain(net, {"input_ids": ids}, targets, METHODS, **given)
    own = batch * length * vocabulary
    assert own <= seen.most < 2 * own
    with Largest() as seen:  # the same by functions: so a larger tensor would be seen
        rp.explain(net, {"input_ids": ids}, [logit(0, 3), logit(1, 4)], METHODS)
    assert seen.most >= 2 * own


def test_a_head_that_is_watched_keeps_all_its_logits():
    net, x = made("llama"), text_for("llama")
    e = rp.explain(net, x, [rp.at(-1, 5), rp.at(2, 7)], METHODS, inside=["lm_head", "model.norm"])
    apart = rp.explain(net, x, [rp.at(-1, 5), rp.at(2, 7)], METHODS, inside=["model.norm"])
    for method in METHODS:
        at_head = e.inside[method]["lm_head"]
        assert at_head.shape == (2, 1, 7, WORDS)
        assert (at_head != 0).nonzero().tolist() == [[0, 0, 6, 5], [1, 0, 2, 7]]
        assert off(apart.inside[method]["model.norm"], e.inside[method]["model.norm"]) < 1e-12
        assert off(apart.relevance[method], e.relevance[method]) < 1e-12


def test_conditions_above_and_below_a_narrowed_head():
    net, x = made("llama"), text_for("llama")
    parts = [{"model.layers.1": [*range(16)]}, {"model.layers.1": [*range(16, 32)]}]
    e = rp.explain(net, x, [rp.at(-1, 5)], METHODS, conditions=parts)
    whole = rp.explain(net, x, [rp.at(-1, 5)], METHODS)
    for method in METHODS:
        assert off(e.relevance[method].sum(0), whole.relevance[method][0]) < 1e-12


def test_places_and_tokens_of_each_text():
    net, batch = made("llama"), padded(ids_of(7, 4))
    positions, tokens, others = torch.tensor([2, 1]), torch.tensor([5, 9]), torch.tensor([8, 3])
    R = rp.attribute(net, batch, rp.at(positions, tokens, against=others), "attnlrp", of="input_ids")
    for k in range(2):
        one = {"input_ids": batch["input_ids"][k : k + 1, : (7, 4)[k]]}
        target = rp.at(int(positions[k]), int(tokens[k]), against=int(others[k]))
        assert off(R[k, : (7, 4)[k]], rp.attribute(net, one, target, "attnlrp")[0]) < 1e-12


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_predicted_token_behind_each_text(side):
    net, batch = made("gpt2"), padded(ids_of(7, 4), side)
    with torch.no_grad():
        y = net(**batch).logits
    last = [6, 3] if side == "right" else [6, 6]
    predicted = torch.stack([y[k, place].argmax() for k, place in enumerate(last)])
    e = rp.explain(net, batch, None, ["attnlrp"], of="input_ids")
    asked = rp.explain(net, batch, [rp.at(-1, predicted)], ["attnlrp"], of="input_ids")
    assert torch.equal(e.relevance["attnlrp"], asked.relevance["attnlrp"])
    assert torch.equal(e.targets[0], predicted)
    at_none = rp.explain(net, batch, [rp.at(-1)], ["attnlrp"], of="input_ids")
    assert torch.equal(at_none.relevance["attnlrp"], e.relevance["attnlrp"])


@pytest.mark.parametrize("keep", [1, 3])
def test_a_model_that_keeps_the_last_logits_alone(keep):
    net, x = made("llama"), text_for("llama")
    for place in range(-keep, 0):
        got = rp.attribute(net, x | {"logits_to_keep": keep}, rp.at(place, 5), "attnlrp")
        assert off(got, rp.attribute(net, x, rp.at(place, 5), "attnlrp")) < 1e-12
    with pytest.raises(rp.InputError, match="logits_to_keep"):
        rp.attribute(net, x | {"logits_to_keep": keep}, rp.at(-keep - 1, 5), "attnlrp")
    with pytest.raises(rp.InputError, match="logits_to_keep"):  # the first of the text, not of what is kept
        rp.attribute(net, x | {"logits_to_keep": keep}, rp.at(0, 5), "attnlrp")
    with pytest.raises(rp.InputError, match="the text has 7 tokens"):
        rp.attribute(net, x | {"logits_to_keep": keep}, rp.at(7, 5), "attnlrp")
    alone = rp.attribute(lambda ids: net(ids, logits_to_keep=keep), x["input_ids"], rp.at(6, 5), "attnlrp")
    assert off(alone, rp.attribute(net, x, rp.at(6, 5), "attnlrp")) < 1e-12


def test_places_of_a_decoder_are_its_own_text():
    net, batch = made("t5"), padded(ids_of(7, 4))
    labels = torch.randint(3, WORDS, (2, 3))
    by_labels = rp.attribute(net, batch | {"labels": labels}, rp.at(-1, 5), "attnlrp", of="input_ids")
    decoder = torch.cat([torch.zeros(2, 1, dtype=torch.long), labels[:, :-1]], 1)
    by_ids = rp.attribute(net, batch | {"decoder_input_ids": decoder}, rp.at(-1, 5), "attnlrp", of="input_ids")
    assert torch.equal(by_labels, by_ids)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    masked = batch | {"decoder_input_ids": decoder, "decoder_attention_mask": mask}
    shorter = rp.attribute(net, masked, rp.at(-1, 5), "attnlrp", of="input_ids")
    other = rp.attribute(net, masked, rp.at(torch.tensor([2, 1]), 5), "attnlrp", of="input_ids")
    assert torch.equal(shorter, other)


def test_words():
    net, x = made("llama"), text_for("llama")
    words = {" Paris": 5, " Rome": 9}

    class Tokenizer:
        def encode(self, word, *, add_special_tokens):
            assert not add_special_tokens
            return [words[word]] if word in words else [3, 4]

        def convert_ids_to_tokens(self, ids):
            return [f"<{i}>" for i in ids]

    net.tokenizer = Tokenizer()
    got = rp.explain(net, x, [rp.at(-1, " Paris", against=" Rome")], ["attnlrp"])
    assert torch.equal(got.relevance["attnlrp"][0], rp.attribute(net, x, rp.at(-1, 5, against=9), "attnlrp"))
    assert got.labels == (" Paris at -1 against  Rome",)
    with pytest.raises(rp.InputError, match=r"is 2 tokens of this model.*'<3>', or its id 3"):
        rp.attribute(net, x, rp.at(-1, "Parisian"), "attnlrp")
    del net.tokenizer
    with pytest.raises(rp.InputError, match="give the id"):
        rp.attribute(net, x, rp.at(-1, " Paris"), "attnlrp")


REFUSED = {
    "a place behind the text": (rp.at(7, 5), "position 7 is out of range: the text has 7 tokens"),
    "a place before it": (rp.at(-8, 5), "position -8 is out of range"),
    "a token that is none": (rp.at(-1, WORDS), f"token {WORDS} is out of range: the model has tokens 0 to {WORDS - 1}"),
    "a negative one": (rp.at(-1, -1), "token -1 is out of range"),
    "another that is none": (rp.at(-1, 5, against=WORDS), "out of range"),
    "half a place": (rp.at(0.5, 5), "position is 0.5; a whole number is needed"),
    "places of more texts": (rp.at(torch.tensor([1, 2]), 5), "a whole number is needed"),
    "a class without a place": (5, r"rp\.at\(-1, 5\)"),
    "a word without a place": ("Paris", r"rp\.at\(-1, 'Paris'\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_targets_that_are_refused(case):
    target, told = REFUSED[case]
    with pytest.raises(rp.InputError, match=told):
        rp.attribute(made("llama"), text_for("llama"), target, "attnlrp")


def test_padding_counts_as_no_place():
    net, batch = made("gpt2"), padded(ids_of(7, 4))
    with pytest.raises(rp.InputError, match="position 5 is out of range: text 1 has 4 tokens"):
        rp.attribute(net, batch, rp.at(5, 5), "attnlrp", of="input_ids")


def test_pictures_have_no_places():
    with pytest.raises(rp.InputError, match="names a place and a token"):
        rp.attribute(nn.Linear(4, 3).eval(), torch.randn(2, 4), rp.at(-1, 0), "lrp-z")


def test_tokens_and_functions_in_one_walk_with_what_they_start_from():
    net, x = made("llama"), text_for("llama")
    targets = [rp.at(-1, 5), logit(2, 7), rp.at(2, 7), lambda output: output.logits[:, -1].mean(1)]
    e = rp.explain(net, x, targets, METHODS, check=True)
    with torch.no_grad():
        y = net(**x).logits
    expected = torch.stack([y[:, -1, 5], y[:, 2, 7], y[:, 2, 7], y[:, -1].mean(1)])
    for method, t in itertools.product(METHODS, range(4)):
        assert off(e.relevance[method][t], rp.attribute(net, x, targets[t], method)) < 1e-12
    torch.testing.assert_close(e.ledger["attnlrp"].start, expected)
    one = rp.explain(net, x, targets, METHODS, start="one")
    scaled = e.relevance["attnlrp"] / expected[..., None]
    assert off(one.relevance["attnlrp"], scaled) < 1e-11


@pytest.mark.parametrize("method", ["gradient", "gradient-x-input", "integrated-gradients"])
def test_methods_without_rules_know_tokens_too(method):
    net, x = made("llama"), text_for("llama")
    rows = {"inputs_embeds": embedded(net, x["input_ids"])}
    got = rp.attribute(net, rows, rp.at(-1, 5), method)
    assert off(got, rp.attribute(net, rows, logit(-1, 5), method)) < 1e-12


def test_an_output_that_only_holds_logits():
    net = made("llama")
    got = rp.attribute(lambda **x: SimpleNamespace(logits=net(**x).logits), text_for("llama"), rp.at(-1, 5), "attnlrp")
    assert off(got, rp.attribute(net, text_for("llama"), rp.at(-1, 5), "attnlrp")) < 1e-12
