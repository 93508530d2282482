"""Token flipping, against a loop that takes away one token at a time."""

import numpy as np
import pytest
import torch
from torch import nn

import relprop as rp
from relprop.support.errors import InputError
from small_networks import D, pictures, plain


class Reader(nn.Module):
    """A mean of embeddings over what is attended to, then a nonlinear head."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 6, dtype=D)
        self.head = nn.Sequential(nn.Linear(6, 8, dtype=D), nn.Tanh(), nn.Linear(8, 3, dtype=D))

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, use_cache=True):
        rows = self.embed(input_ids)
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        if token_type_ids is not None:
            rows = rows + token_type_ids[..., None]
        mask = mask[..., None].to(rows.dtype)
        return {"logits": self.head((rows * mask).sum(1) / mask.sum(1))}


def texts():
    ids = torch.randint(1, 20, (3, 9))
    mask = torch.ones_like(ids)
    mask[0, 6:], mask[2, :4] = 0, 0  # padded at the right, and at the left
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.randint(0, 2, (3, 9))}


def token_by_token(model, x, relevance, flippable, take, target):
    """Curves of one text, a point for every token, by hand."""
    curves = []
    for most_first in (True, False):
        order = sorted(flippable, key=lambda t: (-relevance[t] if most_first else relevance[t], t))
        now = {k: v.clone() for k, v in x.items()}
        curve = [float(model(**now)["logits"][0, target])]
        for t in order:
            take(now, t)
            curve.append(float(model(**now)["logits"][0, target]))
        curves.append(curve)
    return curves


@pytest.mark.parametrize("replace", ["absent", 0])
def test_tokens_equal_a_loop_that_takes_one_away_at_a_time(replace):
    model, x = Reader().eval(), texts()
    R = torch.randn(3, 9, dtype=D)
    found = rp.metrics.flip(model, x, R, 1, steps=40, replace=replace, keep=(0,))

    def take(now, t):
        name, new = ("attention_mask", 0) if replace == "absent" else ("input_ids", replace)
        now[name][0, t] = new

    for b, real in enumerate([range(6), range(9), range(4, 9)]):
        one = {k: v[b : b + 1] for k, v in x.items()}
        with torch.no_grad():
            hand = token_by_token(model, one, R[b].tolist(), list(real)[1:], take, 1)
        number = len(real) - 1
        at = (found.fractions[b] * number).round().long()
        assert sorted(set(at.tolist())) == list(range(number + 1))
        for curve, by_hand in zip((found.morf[b], found.lerf[b]), hand, strict=True):
            assert curve.tolist() == pytest.approx([by_hand[k] for k in at], abs=1e-12)
        areas = [np.trapezoid(c, dx=1 / number) for c in hand]
        assert float(found.morf_area[b]) == pytest.approx(areas[0], abs=1e-12)
        assert float(found.srg[b]) == pytest.approx(areas[1] - areas[0], abs=1e-12)


def test_padding_and_what_is_kept_are_never_flipped():
    seen = []

    def model(input_ids, attention_mask):
        seen.extend((input_ids, attention_mask))
        return input_ids.double()

    x = {k: v for k, v in texts().items() if k != "token_type_ids"}
    R = torch.randn(3, 9)
    R[x["attention_mask"] == 0] = 100.0  # what a map says of padding does not matter
    rp.metrics.flip(model, x, R, 1, replace=0, keep=(-1,), batch=1000)
    ids = seen[0]
    whole = [(ids == x["input_ids"][b]) | (ids == 0) for b in range(3)]
    rows = [w.all(1) for w in whole]
    assert all(r.any() for r in rows)
    for b, last in enumerate([5, 8, 8]):
        kept = x["attention_mask"][b] == 0
        kept[last] = True
        assert torch.equal(ids[rows[b]][:, kept], x["input_ids"][b][kept].expand(int(rows[b].sum()), -1))
        gone = ids[rows[b]][:, ~kept]
        assert (gone == 0).all(1).any()
    for mask in seen[1::2]:
        assert {tuple(m) for m in mask.tolist()} == {tuple(m) for m in x["attention_mask"].tolist()}


def test_ids_alone_and_mappings_without_a_mask():
    model = Reader().eval()
    ids, R = torch.randint(1, 20, (2, 7)), torch.randn(2, 7)
    alone = rp.metrics.flip(model, ids, R, 0, replace=3)
    mapped = rp.metrics.flip(model, {"input_ids": ids}, R, 0, replace=3)
    assert torch.equal(alone.morf, mapped.morf)
    absent = rp.metrics.flip(model, {"input_ids": ids}, R, 0, keep=(0, -1))
    masked = rp.metrics.flip(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, R, 0, keep=(0, -1))
    assert torch.equal(absent.lerf, masked.lerf)
    kept = torch.zeros(2, 7, dtype=torch.bool)
    kept[:, 0] = kept[:, -1] = True
    assert torch.equal(rp.metrics.flip(model, {"input_ids": ids}, R, 0, keep=kept).lerf, absent.lerf)


class Speaker(Reader):
    """Logits (B, L, 3) of every place, of all that is attended to."""

    def forward(self, input_ids, attention_mask):
        rows, mask = self.embed(input_ids), attention_mask[..., None].double()
        return {"logits": self.head(rows + (rows * mask).sum(1, keepdim=True))}


def test_a_token_at_a_place_of_each_text():
    model, x = Speaker().eval(), {k: v for k, v in texts().items() if k != "token_type_ids"}
    R = torch.randn(3, 9)
    given = {"keep": (-1,), "steps": 5, "batch": 7}
    for place, at in ((-1, [5, 8, 8]), (1, [1, 1, 5])):
        found = rp.metrics.flip(model, x, R, rp.at(place, 2, against=torch.tensor([0, 1, 0])), **given)
        predicted = rp.metrics.flip(model, x, R, rp.at(place), **given)
        for b, other in enumerate([0, 1, 0]):
            one = {k: v[b : b + 1] for k, v in x.items()}

            def value(y, p=at[b], o=other):
                return y["logits"][:, p, 2] - y["logits"][:, p, o]

            alone = rp.metrics.flip(model, one, R[b : b + 1], value, **given)
            assert torch.allclose(found.morf[b], alone.morf[0], atol=1e-12)
            best = int(model(**one)["logits"][0, at[b]].argmax())
            alone = rp.metrics.flip(model, one, R[b : b + 1], rp.at(place, best), **given)
            assert torch.allclose(predicted.lerf[b], alone.lerf[0], atol=1e-12)
    with pytest.raises(InputError, match="out of range"):
        rp.metrics.flip(model, x, R, rp.at(6, 2), keep=(0,))
    with pytest.raises(InputError, match="x is pictures"):
        rp.metrics.flip(plain(), pictures(), pictures(), rp.at(-1, 2))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "nothing left to attend to"),
        ({"x": torch.ones(3, 9, dtype=torch.long)}, "needs a model that takes an attention_mask"),
        ({"replace": "mean"}, "id of the token"),
        ({"R": torch.randn(3, 9, 6)}, "relevance per token"),
        ({"keep": torch.ones(3, 9)}, "keep takes positions"),
    ],
)
def test_tokens_refused(changed, said):
    given = {"model": Reader().eval(), "x": texts(), "R": torch.randn(3, 9), "target": 0} | changed
    with pytest.raises(InputError, match=said):
        rp.metrics.flip(**given)
