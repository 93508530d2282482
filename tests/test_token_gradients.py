"""Methods that are functions, on token ids: what they give is that of the rows which embeddings look up."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import relprop as rp
from test_inputs import D, Text

transformers = pytest.importorskip("transformers")

METHODS = ["gradient", "gradient-x-input", "smoothgrad:samples=3", "integrated-gradients:steps=4", "uniform"]


@pytest.fixture
def text():
    return Text().to(D).eval()


@pytest.fixture
def ids():
    return torch.randint(0, 20, (2, 5), generator=torch.Generator().manual_seed(0))


MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


@pytest.mark.parametrize("method", METHODS)
def test_ids_equal_the_path_by_embeddings_exactly(text, ids, method):
    R = rp.attribute(text, {"input_ids": ids, "attention_mask": MASK}, 2, method)
    assert R.shape == ids.shape
    for b in range(2):  # a method that runs several versions of a text takes one at a time
        rows = {"inputs_embeds": text.embed(ids[b : b + 1]).detach(), "attention_mask": MASK[b : b + 1]}
        assert torch.equal(R[b : b + 1], rp.attribute(text, rows, 2, method, of="inputs_embeds").sum(-1))


@pytest.mark.parametrize("target", [None, torch.tensor([2, 0]), lambda y: y[:, 1] - y[:, 0]])
@pytest.mark.parametrize("method", METHODS)
def test_targets_of_every_form_text_by_text(text, ids, method, target):
    x = {"input_ids": ids, "attention_mask": MASK}
    R = rp.attribute(text, x, target, method)
    for b in range(2):
        own = target[b : b + 1] if isinstance(target, torch.Tensor) else target
        one = {key: item[b : b + 1] for key, item in x.items()}
        torch.testing.assert_close(R[b : b + 1], rp.attribute(text, one, own, method), rtol=1e-12, atol=1e-15)


def test_gradient_x_input_is_lrp_z_of_a_network_of_linear_layers_and_relus(text, ids):
    def model(input_ids, attention_mask):  # a constant added to the rows would pass to them: positions are left out
        rows = text.body(text.embed(input_ids)).relu() * attention_mask[..., None]
        return text.head(rows.sum(1) / attention_mask.sum(1, keepdim=True))

    e = rp.explain(model, {"input_ids": ids, "attention_mask": MASK}, [0, 1, 2], ["lrp-z", "gradient-x-input"])
    torch.testing.assert_close(e.relevance["gradient-x-input"], e.relevance["lrp-z"], rtol=1e-10, atol=1e-14)
    assert (e.relevance["gradient-x-input"][:, 1, 3:] == 0).all()


def test_integrated_gradients_add_up_to_what_zero_rows_would_lose(text, ids):
    x = {"input_ids": ids, "attention_mask": MASK}
    R = rp.attribute(text, x, 1, "integrated-gradients:steps=400")
    nothing = text(inputs_embeds=torch.zeros(2, 5, 6, dtype=D), attention_mask=MASK)
    torch.testing.assert_close(R.sum(1), (text(ids, MASK) - nothing)[:, 1].detach(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_of_as_many_texts_as_versions_is_not_mistaken(text, method):
    many = torch.randint(0, 20, (16, 5), generator=torch.Generator().manual_seed(0))  # gradients.AT_ONCE is 16
    method = method.replace("samples=3", "samples=16").replace("steps=4", "steps=16")
    mask = (torch.arange(5) < torch.arange(16)[:, None] % 5 + 1).long()
    R = rp.attribute(text, {"input_ids": many, "attention_mask": mask}, 0, method)
    for b in (0, 7, 15):
        one = {"input_ids": many[b : b + 1], "attention_mask": mask[b : b + 1]}
        torch.testing.assert_close(R[b : b + 1], rp.attribute(text, one, 0, method), rtol=1e-12, atol=1e-15)


# How ids come to their embedding


def shifted(ids):
    made = ids.new_zeros(ids.shape)
    made[:, 1:] = ids[:, :-1]
    made[:, 0] = 3
    return made


WAYS = {
    "moves": lambda ids: ids.view(-1, 5)[:, 1:].to(torch.int32).clone().unsqueeze(0).flatten(0, 1),
    "a transpose": lambda ids: ids.T.contiguous().T,
    "padding with the number of a token": lambda ids: F.pad(ids, (1, 1), value=1),
    "joined with others": lambda ids: torch.cat([torch.full((len(ids), 2), 7), ids], 1),
    "a shift in place": shifted,
    "a copy in place": lambda ids: torch.empty_like(ids).copy_(ids),
    "split and put together": lambda ids: torch.cat(ids.split(2, 1)[::-1], 1),
    "repeated": lambda ids: ids.repeat_interleave(2, 1)[:, :8],
}


@pytest.mark.parametrize("way", WAYS)
def test_ids_may_move_before_they_are_looked_up(text, ids, way):
    moved = WAYS[way]
    R = rp.attribute(lambda ids: text(moved(ids)), ids, 0, "gradient-x-input")
    expected = torch.zeros(2, 5, dtype=D)
    rows = text.embed(ids).detach().requires_grad_()
    for b in range(2):  # by hand: which token stands where is found with ids that are all different
        names = torch.arange(100, 105)[None]
        at = moved(names)[0].long()
        own = moved(ids[b : b + 1])[0].long()
        tokens = (at >= 100).nonzero()[:, 0]
        given = text.embed(own).detach()[None].requires_grad_()
        slope = torch.autograd.grad(text(inputs_embeds=given)[0, 0], given)[0]
        for t in tokens.tolist():
            expected[b, at[t] - 100] += (slope[0, t] * rows[b, at[t] - 100]).sum().detach()
    torch.testing.assert_close(R, expected, rtol=1e-12, atol=1e-15)


def test_a_model_that_has_its_tokens_last(text, ids):
    R = rp.attribute(lambda ids: text(inputs_embeds=text.embed(ids.T).transpose(0, 1)), ids, 0, "gradient-x-input")
    torch.testing.assert_close(R, rp.attribute(text, ids, 0, "gradient-x-input"))


@pytest.mark.parametrize("method", METHODS)
def test_two_tables_of_rows_for_the_same_ids(text, ids, method):
    other = nn.Embedding(20, 6, dtype=D)

    def model(ids):
        return text(inputs_embeds=text.embed(ids) + 2 * other(ids))

    R = rp.attribute(model, ids, 1, method)
    one, two = (table(ids).detach() for table in (text.embed, other))
    both = rp.attribute(lambda a, b: text(inputs_embeds=a + 2 * b), (one, two), 1, method)
    if method.startswith("smoothgrad"):  # the range of both tables together says how much noise there is
        both = tuple(torch.cat(maps) for maps in zip(*(
            rp.attribute(lambda a, b: text(inputs_embeds=a + 2 * b), (one[k : k + 1], two[k : k + 1]), 1, method)
            for k in range(2)
        ), strict=True))  # fmt: skip
    torch.testing.assert_close(R, both[0].sum(-1) + both[1].sum(-1), rtol=1e-12, atol=1e-15)


# Models as published


def bert():
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, num_labels=3
    )
    return transformers.BertForSequenceClassification(config).to(D).eval()


def llama():
    config = transformers.LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=24,
    )
    return transformers.LlamaForCausalLM(config).to(D).eval()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("network", [bert, llama])
def test_published_models_by_ids_and_by_embeddings(network, method):
    model = network()
    ids = torch.randint(0, 40, (1, 6))
    target = 1 if network is bert else (lambda y: y.logits[:, -1, 5])
    mask = torch.ones_like(ids)
    R = rp.attribute(model, {"input_ids": ids, "attention_mask": mask}, target, method)
    rows = model.get_input_embeddings()(ids).detach()
    expected = rp.attribute(model, {"inputs_embeds": rows, "attention_mask": mask}, target, method, of="inputs_embeds")
    assert torch.equal(R, expected.sum(-1))
    assert all(p.grad is None for p in model.parameters())


def test_a_padded_batch_of_bert_is_as_its_texts_alone():
    model, ids = bert(), torch.randint(0, 40, (2, 7))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    for method in ("gradient-x-input", "integrated-gradients:steps=4"):
        R = rp.attribute(model, {"input_ids": ids, "attention_mask": mask}, 0, method)
        alone = rp.attribute(model, {"input_ids": ids[1:, :4], "attention_mask": mask[1:, :4]}, 0, method)
        torch.testing.assert_close(R[1:, :4], alone, rtol=1e-9, atol=1e-14)
        assert (R[1, 4:] == 0).all()


# A function of the user's own, and what is refused


def test_a_function_of_the_users_own_gets_rows(text, ids):
    def mine(model, x, target):
        assert x.shape == (2, 5, 6)
        return x * model(x).gather(1, target[:, None])[..., None].detach()

    R = rp.attribute(text, ids, 1, mine)
    torch.testing.assert_close(R, text.embed(ids).sum(-1).detach() * text(ids)[:, 1:2].detach())


def test_a_view_that_ids_are_written_into_is_refused(text, ids):
    def model(ids):
        made = torch.zeros_like(ids)
        part = made[:, 1:]
        part.copy_(ids[:, 1:])
        return text(made)

    with pytest.raises(rp.InputError, match="a part of a tensor that has a name of its own"):
        rp.attribute(model, ids, 0, "gradient")


def test_numbers_that_are_no_ids_are_refused(text, ids):
    with pytest.raises(rp.InputError, match=r"F\.embedding does not look it up"):
        rp.attribute(lambda ids: text(inputs_embeds=ids.to(D)[..., None].expand(-1, -1, 6)), ids, 0, "gradient")


@pytest.mark.parametrize("method", METHODS)
def test_a_token_at_a_place_of_each_text(method):
    model, ids = llama(), torch.randint(0, 40, (2, 6))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    x = {"input_ids": ids, "attention_mask": mask}
    R = rp.attribute(model, x, rp.at(-1, torch.tensor([5, 7]), against=torch.tensor([1, 2])), method)
    for b, (place, token, other) in enumerate([(5, 5, 1), (3, 7, 2)]):
        one = {key: item[b : b + 1] for key, item in x.items()}

        def target(y, p=place, t=token, o=other):
            return y.logits[:, p, t] - y.logits[:, p, o]

        torch.testing.assert_close(R[b : b + 1], rp.attribute(model, one, target, method), rtol=1e-10, atol=1e-14)
