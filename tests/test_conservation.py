"""Nothing is lost unaccounted: start = input relevance + bias + eps + lost, on every architecture, for every op."""

import pytest
import torch
import torchvision
from torch import nn

import relprop as rp
from conftest import randomised
from narrow import classifier, vgg, with_weights
from relprop.walk.ledger import Ledger, Row

PAPER = [
    "lrp-z",
    "lrp-epsilon",
    "lrp-alpha1",
    "lrp-alpha2",
    "cmp-alpha1",
    "cmp-alpha2",
    "cmp-alpha1-flat",
    "cmp-alpha2-flat",
    "cmp-alpha2-flat:layers=3",
    "cmp-alpha1-flat:layers=stack",
    "cmp-alpha1-zbox:low=-4,high=4",
    "cmp-alpha2-zbox:low=-4,high=4",
    "epsilon-gamma-box:low=-4,high=4",
]
SIZES = {
    "alexnet": 64,
    "vgg11": 32,
    "vgg11_bn": 32,
    "squeezenet1_0": 64,
    "squeezenet1_1": 64,
    "resnet18": 48,
    "resnet50": 48,
    "densenet121": 64,
    "googlenet": 48,
    "inception_v3": 75,
    "mobilenet_v2": 48,
    "mobilenet_v3_small": 48,
    "mobilenet_v3_large": 48,
    "efficientnet_b0": 48,
}


class CaffeNetLike(nn.Sequential):
    """The ops of CaffeNet: grouped convolutions, overlapping pools with ceil mode, LRN after the pool."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 8, 11, stride=4),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0),
            nn.Conv2d(8, 16, 5, padding=2, groups=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0),
            nn.Conv2d(16, 16, 3, padding=1, groups=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.Flatten(),
            nn.Linear(16 * 2 * 2, 12),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(12, 5),
        )


def build(name):
    if name == "caffenet":
        return CaffeNetLike(), 80
    if name.startswith("vgg"):
        return with_weights(vgg(name)), SIZES[name]
    if name == "alexnet":
        with torch.device("meta"):
            model = torchvision.models.alexnet()
            model.classifier = classifier(256 * 6 * 6, 10)
        return with_weights(model.to_empty(device="cpu")), SIZES[name]
    extra = {"init_weights": False, "transform_input": True} if name in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(name, weights=None, **extra), SIZES[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["caffenet", *SIZES])
def test_relevance_is_conserved_in_every_op_of(name):
    model, size = build(name)
    x = torch.randn(1, 3, size, size, dtype=torch.float64)
    for dtype, bound in ((torch.float64, 1e-10), (torch.float32, 1e-4)):
        ledgers = rp.explain(randomised(model, dtype), x.to(dtype), [3], PAPER).ledger
        errors = {method: ledgers[method].error for method in PAPER}
        assert max(errors.values()) < bound, errors
        assert all(len(ledger) > 10 and ledger[0].magnitude.max() > 0 for ledger in ledgers.values())


def test_the_ledger_would_notice_what_is_missing():
    class Forgetful(rp.rules.Epsilon):
        def share(self, layer, R):
            result = super().share(layer, R)
            result.bias = 0.0
            return result

    model, x = nn.Sequential(nn.Flatten(), nn.Linear(12, 5)).eval(), torch.randn(2, 3, 2, 2)
    for rule, leaks in ((rp.rules.Epsilon(), False), (Forgetful(), True)):
        error = rp.explain(model, x, [1], {"it": rp.Composite([(rp.on.any, rule)])}).ledger["it"].error
        assert (error > 1e-3) == leaks
        assert leaks or error < 1e-6


def test_what_the_bias_took_is_what_gradient_x_input_leaves_of_the_logit():
    model = randomised(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(72, 5)))
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    e = rp.explain(model, x, [2], ["lrp-z"])
    (gradient,) = torch.autograd.grad(model(x)[:, 2].sum(), x)
    torch.testing.assert_close(e.relevance["lrp-z"][0], gradient * x.detach(), rtol=1e-8, atol=1e-12)
    missing = e.outputs[:, 2] - (gradient * x.detach()).sum((1, 2, 3))
    torch.testing.assert_close(e.ledger["lrp-z"].sum("bias")[0], missing, rtol=1e-8, atol=1e-12)


def test_relevance_of_padding_is_lost_and_the_ledger_says_so():
    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(5, 3)

        def forward(self, x):
            return self.fc(torch.cat([x, torch.ones(len(x), 1)], 1))

    ledger = rp.explain(Padded().eval(), torch.randn(2, 4), [0], ["lrp-z"]).ledger["lrp-z"]
    (row,) = (row for row in ledger if row.op == "cat")
    assert row.lost.abs().min() > 0
    assert ledger.error < 1e-6


def row(came, gone, *, bias=0.0, magnitude=None):
    numbers = (came, gone, bias, 0.0, 0.0, came if magnitude is None else magnitude)
    return Row("", "linear", "Z()", *(torch.tensor([[number]], dtype=torch.float64) for number in numbers))


def test_mistakes_of_two_ops_that_make_up_for_each_other_are_seen():
    start, end = (torch.tensor([[number]], dtype=torch.float64) for number in (2.0, 1.0))
    ledger = Ledger(start, end, [row(2.0, 1.0), row(1.0, 1.0, bias=1.0)])
    assert (start - end - ledger.sum("bias")).abs().max() == 0
    assert ledger.error == 0.5
    with pytest.raises(rp.RelpropError, match="does not close"):
        ledger.demand_closed()


def test_the_error_is_relative_to_the_largest_relevance_that_any_op_moved():
    start = torch.tensor([[1e-6]], dtype=torch.float64)
    ledger = Ledger(start, start, [row(1e-6, 1e-6, magnitude=1e-6), row(1e-6, 1e-6 - 1e-9, magnitude=10.0)])
    assert ledger.error == pytest.approx(1e-10, rel=1e-6)
    ledger.demand_closed()
