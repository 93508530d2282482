"""Several inputs, by position or by keyword, and token ids."""

from collections import UserDict

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import relprop as rp

D = torch.float64


class Towers(nn.Module):
    """Two inputs, put side by side."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.left, self.right = nn.Linear(4, 6), nn.Linear(3, 6)
        self.head = nn.Linear(12, 2)

    def forward(self, a, b, scale=1.0):
        return self.head(torch.cat([self.left(a).relu(), scale * self.right(b).relu()], 1))


class Text(nn.Module):
    """Tokens with a mask and learned positions, averaged where the mask is set."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.embed, self.place = nn.Embedding(20, 6), nn.Embedding(8, 6)
        self.body = nn.Linear(6, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None):
        h = self.embed(input_ids) if inputs_embeds is None else inputs_embeds
        h = h + self.place(torch.arange(h.shape[1], device=h.device))
        h = self.body(h).relu()
        mask = torch.ones(h.shape[:2], device=h.device) if attention_mask is None else attention_mask
        mask = mask[:, :, None].to(h.dtype)
        return self.head((h * mask).sum(1) / mask.sum(1))


@pytest.fixture
def pair():
    torch.manual_seed(2)
    return torch.randn(2, 4, dtype=D), torch.randn(2, 3, dtype=D)


@pytest.fixture
def towers():
    return Towers().to(D).eval()


@pytest.fixture
def text():
    return Text().to(D).eval()


METHODS = ["lrp-z", "lrp-alpha1", "cmp-alpha2", "gradient-x-input", "integrated-gradients", "uniform"]


@pytest.mark.parametrize("method", METHODS)
def test_a_tuple_is_a_mapping(towers, pair, method):
    a, b = pair
    by_place = rp.attribute(towers, (a, b), 1, method)
    by_name = rp.attribute(towers, {"b": b, "a": a}, 1, method)
    assert isinstance(by_place, tuple)
    assert set(by_name) == {"a", "b"}
    for got, expected in zip(by_place, (by_name["a"], by_name["b"]), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-14)
    assert [R.shape for R in by_place] == [a.shape, b.shape]
    as_list = rp.attribute(towers, [a, b], 1, method)
    assert isinstance(as_list, list)
    assert torch.equal(as_list[0], by_place[0])


def test_relevance_of_all_inputs_adds_up(towers, pair):
    e = rp.explain(towers, pair, [0, 1], ["lrp-z"])
    ledger = e.ledger["lrp-z"]
    together = sum(R.sum(-1) for R in e.relevance["lrp-z"])
    torch.testing.assert_close(together + ledger.sum("bias"), e.outputs.T)
    assert ledger.error < 1e-14
    a, b = (t.clone().requires_grad_() for t in pair)
    slopes = torch.autograd.grad(towers(a, b)[:, 1].sum(), (a, b))
    for R, slope, x in zip(e.relevance["lrp-z"], slopes, pair, strict=True):
        torch.testing.assert_close(R[1], slope * x, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("method", ["lrp-epsilon", "gradient-x-input", "integrated-gradients"])
def test_what_is_not_explained_is_a_constant(towers, pair, method):
    a, b = pair
    alone = rp.attribute(lambda a: towers(a, b), a, 1, method) if method != "integrated-gradients" else None
    of_one, nothing = rp.attribute(towers, (a[:1], b[:1]), 1, method, of=(0,))
    assert nothing is None
    by_name = rp.attribute(towers, {"a": a[:1], "b": b[:1]}, 1, method, of="a")
    torch.testing.assert_close(of_one, by_name, rtol=0, atol=0)
    if alone is not None:
        torch.testing.assert_close(of_one, alone[:1], rtol=1e-12, atol=1e-14)


def test_the_share_of_constants_stands_in_the_ledger(towers, pair):
    e = rp.explain(towers, pair, [1], ["lrp-z"], of=0)
    ledger = e.ledger["lrp-z"]
    both = rp.explain(towers, pair, [1], ["lrp-z"])
    joined = next(row for row in ledger if row.op == "cat")
    of_b = both.relevance["lrp-z"][1].sum(-1) + next(r.bias for r in both.ledger["lrp-z"] if r.path == "right")
    torch.testing.assert_close(joined.lost, of_b)
    assert ledger.error < 1e-14


def test_what_is_no_tensor_is_passed_as_it_is(towers, pair):
    a, b = pair
    R = rp.attribute(towers, (a, b, 2.0), 0, "lrp-z")
    assert R[2] == 2.0
    assert R[0].shape == a.shape


def test_nested_arguments_come_back_nested(pair):
    a, b = pair
    model = nn.Linear(7, 2).to(D).eval()
    R = rp.attribute(lambda both: model(torch.cat(both, 1)), ([a, b],), 0, "lrp-z")
    assert isinstance(R[0], list)
    assert [r.shape for r in R[0]] == [a.shape, b.shape]


def test_paths_of_modules_are_the_models_own_for_functions_too():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
    x = torch.randn(1, 3, 6, 6)
    alone = rp.attribute(net, x, 0, "grad-cam:layer=0")
    assert torch.equal(rp.attribute(net, {"input": x}, 0, "grad-cam:layer=0"), alone)


def test_the_same_tensor_twice_is_two_inputs(pair):
    a, _ = pair
    model = nn.Linear(8, 2).to(D).eval()
    one, two = rp.attribute(lambda a, b: model(torch.cat([a, b], 1)), (a, a), 0, "lrp-z")
    whole = rp.attribute(model, torch.cat([a, a], 1), 0, "lrp-z")
    torch.testing.assert_close(torch.cat([one, two], 1), whole)


def test_the_inputs_of_the_caller_are_left_alone(pair):
    def model(a, b):
        return F.pad(a.mul_(2), (0, 1)).add_(F.pad(b.relu_(), (0, 2)))

    a, b = (t.clone() for t in pair)
    rp.attribute(model, (a, b), 0, "lrp-z", of=0)
    assert torch.equal(a, pair[0])
    assert torch.equal(b, pair[1])


# -- token ids ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["lrp-z", "lrp-epsilon", "lrp-alpha2"])
def test_relevance_per_token_is_that_of_its_embedding(text, method):
    ids = torch.randint(0, 20, (2, 5), generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    R = rp.attribute(text, {"input_ids": ids, "attention_mask": mask}, 2, method)
    assert R.shape == ids.shape
    assert R.dtype == D
    embedded = text.embed(ids).detach()
    of_rows = rp.attribute(text, {"inputs_embeds": embedded, "attention_mask": mask}, 2, method)
    assert torch.equal(R, of_rows.sum(-1))
    assert (R[1, 3:] == 0).all()


def test_a_tokenizers_mapping_and_a_tensor_of_ids(text):
    ids = torch.randint(0, 20, (2, 5), generator=torch.Generator().manual_seed(0))
    by_mapping = rp.attribute(text, UserDict(input_ids=ids, attention_mask=torch.ones_like(ids)), 0, "lrp-z")
    by_tensor = rp.attribute(text, ids, 0, "lrp-z")
    torch.testing.assert_close(by_mapping, by_tensor, rtol=1e-12, atol=1e-15)
    of = rp.explain(text, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, [0], ["lrp-z"], of=["input_ids"])
    assert torch.equal(of.relevance["lrp-z"][0], by_mapping)


def test_segments_beside_tokens_are_none(text):
    ids = torch.randint(0, 20, (2, 5), generator=torch.Generator().manual_seed(0))
    kinds = torch.tensor([[0, 0, 1, 1, 1], [0, 1, 1, 1, 1]])
    segment = nn.Embedding(2, 6, dtype=D)

    def model(input_ids, token_type_ids):
        return text(inputs_embeds=text.embed(input_ids) + segment(token_type_ids))

    x = {"input_ids": ids, "token_type_ids": kinds}
    both = rp.attribute(model, x, 0, "lrp-z", of=["input_ids", "token_type_ids"])
    assert both["token_type_ids"].abs().max() > 0
    fixed = rp.attribute(lambda ids: model(ids, kinds), ids, 0, "lrp-z")
    torch.testing.assert_close(rp.attribute(model, x, 0, "lrp-z"), fixed)


def test_ids_may_move_before_they_are_looked_up(text):
    ids = torch.randint(0, 20, (2, 6), generator=torch.Generator().manual_seed(0))

    def moved(ids):
        return text(ids.view(2, 3, 2).transpose(1, 2).reshape(2, 6).long().clone()[:, 1:])

    R = rp.attribute(moved, ids, 1, "lrp-z")
    order = torch.arange(6).view(3, 2).T.reshape(6)[1:]
    expected = rp.attribute(text, ids[:, order], 1, "lrp-z")
    torch.testing.assert_close(R[:, order], expected)
    assert (R[:, 0] == 0).all()


def test_decisions_by_ids_are_replayed(text):
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.text, self.end = text, 7

        def forward(self, ids):
            h = self.text.body(self.text.embed(ids)).relu()
            keep = (ids != self.end).to(h.dtype)[..., None]
            at = ids.argmax(1)
            return self.text.head(h[torch.arange(len(ids)), at] + (h * keep).mean(1))

    ids = torch.randint(0, 20, (2, 5), generator=torch.Generator().manual_seed(3))
    found = rp.check(Pooled().eval(), ids, "lrp-z")
    assert found.ok
    assert found.replay.on_noise == 0
    assert rp.attribute(Pooled().eval(), ids, 0, "lrp-z").shape == (2, 5)


def test_each_picture_of_a_batch_is_as_alone(towers, text, pair):
    a, b = pair
    whole = rp.attribute(towers, (a, b), 0, "cmp-alpha1")
    for k in range(2):
        single = rp.attribute(towers, (a[k : k + 1], b[k : k + 1]), 0, "cmp-alpha1")
        for R, one in zip(whole, single, strict=True):
            torch.testing.assert_close(R[k : k + 1], one, rtol=1e-12, atol=1e-14)
    ids = torch.randint(0, 20, (3, 5), generator=torch.Generator().manual_seed(0))
    together = rp.attribute(text, ids, 0, "lrp-z")
    for k in range(3):
        torch.testing.assert_close(together[k : k + 1], rp.attribute(text, ids[k : k + 1], 0, "lrp-z"))


@pytest.mark.parametrize("method", ["smoothgrad:samples=16", "smoothgrad:samples=20", "integrated-gradients:steps=4"])
@pytest.mark.parametrize("batch", [2, 4, 16])
def test_methods_that_run_versions_of_a_picture_keep_each_with_its_other_inputs(towers, method, batch):
    a, b = torch.randn(batch, 4, dtype=D), torch.randn(batch, 3, dtype=D)
    R = rp.attribute(towers, (a, b), 1, method, of=0)[0]
    for k in range(batch):
        alone = rp.attribute(towers, (a[k : k + 1], b[k : k + 1]), 1, method, of=0)[0]
        torch.testing.assert_close(R[k : k + 1], alone, rtol=1e-12, atol=1e-14)


def test_inputs_that_are_not_the_pictures_own_are_not_taken_apart(towers):
    a, scales = torch.randn(2, 4, dtype=D), torch.tensor([1.0, 5.0], dtype=D)  # of two pictures, and two of both

    def model(a, scales):
        return towers(a, a[:, :3]) * scales.prod()

    with pytest.raises(rp.InputError, match="explain one picture at a time"):
        rp.attribute(model, (a, scales), 0, "integrated-gradients:steps=4", of=0)
    assert rp.attribute(model, (a, scales), 0, "gradient", of=0)[0].shape == a.shape


# -- errors ------------------------------------------------------------------------------------------


def test_wrong_inputs_are_told_in_one_line(towers, text, pair):
    a, b = pair
    ids = torch.zeros(2, 5, dtype=torch.long)
    cases = [
        (towers, (a, b), {"of": (3,)}, "of names 3, which is none of the inputs"),
        (towers, {"a": a, "b": b}, {"of": "c"}, "choose from a, b"),
        (towers, (a, b), {"of": ()}, "of names no input"),
        (towers, a, {}, "give them all, as in x=\\(x, other\\)"),
        (towers, {"a": a, "c": b}, {}, "a mapping by keyword"),
        (towers, (a, b[:1]), {}, "differ in how many pictures"),
        (towers, (a, b * float("nan")), {}, r"x\[1\] holds NaN"),
        (towers, (1, 2), {}, "x holds no floating-point tensor"),
        (towers, "ab", {}, "x must be a tensor"),
        (
            text,
            {"input_ids": ids, "attention_mask": ids + 1},
            {"of": "attention_mask"},
            "F.embedding does not look it up",
        ),
        (
            lambda input_ids, decoder_input_ids: text(input_ids) + text(decoder_input_ids),
            {"input_ids": ids, "decoder_input_ids": ids},
            {"method": "gradient"},
            "have no gradient, beside other inputs",
        ),
    ]
    for model, x, keywords, message in cases:
        with pytest.raises(rp.InputError, match=message):
            rp.attribute(model, x, 0, **{"method": "lrp-z"} | keywords)
