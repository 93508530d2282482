"""method=None: what is chosen for what a model is made of, and that the plan says so."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import relprop as rp

torch.manual_seed(0)


class Attends(nn.Module):
    def __init__(self, fused):
        super().__init__()
        self.into, self.out, self.fused = nn.Linear(6, 18), nn.Linear(6, 3), fused

    def forward(self, x):
        q, k, v = self.into(x).chunk(3, -1)
        o = F.scaled_dot_product_attention(q, k, v) if self.fused else (q @ k.mT).softmax(-1) @ v
        return self.out(o.mean(1))


class Reads(Attends):
    def __init__(self):
        super().__init__(fused=True)
        self.rows = nn.Embedding(9, 6)

    def forward(self, ids):
        return super().forward(self.rows(ids))


class Weighs(nn.Module):
    """Channels weighed by a softmax, one by one: nothing attends."""

    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        y = self.conv(x).relu()
        return self.out((y * y.mean((2, 3), keepdim=True).softmax(1)).mean((2, 3)))


PICTURE, ROWS, IDS = torch.randn(2, 3, 8, 8), torch.randn(2, 5, 6), torch.randint(0, 9, (2, 5))
NORMED = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)]
nn.init.normal_(NORMED[1].bias)
CASES = [
    (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)), PICTURE, "cmp-alpha2-flat"),
    (Weighs(), PICTURE, "cmp-alpha2-flat"),
    (Attends(fused=True), ROWS, "attnlrp-vit"),
    (Attends(fused=False), ROWS, "attnlrp-vit"),
    (Reads(), IDS, "cp-lrp"),
    (nn.Sequential(*NORMED), PICTURE, "cmp-alpha2-flat-apart"),
    (nn.Sequential(NORMED[0], nn.ReLU(), NORMED[1], *NORMED[2:]), PICTURE, "cmp-alpha2-flat-apart"),
    (nn.Sequential(nn.BatchNorm2d(3), NORMED[0], *NORMED[2:]), PICTURE, "cmp-alpha2-flat"),
]


@pytest.mark.parametrize(("model", "x", "name"), CASES)
def test_what_is_chosen(model, x, name):
    model.eval()
    named = rp.attribute(model, x, 1, name)
    assert torch.equal(rp.attribute(model, x, 1), named)
    e = rp.explain(model, x, [1])
    assert [*e.relevance] == [*e.ledger] == [name]
    assert torch.equal(e.relevance[name][0], named)
    assert str(rp.plan(model, x)).startswith(f"{name}: ")
    assert [step.rule for step in rp.plan(model, x)] == [step.rule for step in rp.plan(model, x, name)]
    assert rp.check(model, x).method == name


def test_beside_others_under_a_name_of_ones_own():
    model, x = CASES[2][0].eval(), ROWS
    e = rp.explain(model, x, [1], {"best": None, "other": "cp-lrp"}, inside="into")
    assert torch.equal(e.relevance["best"], rp.explain(model, x, [1], ["attnlrp-vit"]).relevance["attnlrp-vit"])
    assert [*e.inside] == ["best", "other"]
