"""Sums and differences in every spelling: under Z each is gradient x input, and constants are booked as bias."""

import pytest
import torch
from torch import nn

import relprop as rp
from conftest import randomised

D = torch.float64
ONE, OTHER, LAST = (randomised(layer) for layer in (nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 3)))
ROW = torch.linspace(-2, 1, 6, dtype=D)

SUMS = {
    "add": torch.add,
    "add alpha": lambda a, b: torch.add(a, b, alpha=3),
    "add negative alpha": lambda a, b: a.add(b, alpha=-0.5),
    "sub": torch.sub,
    "sub alpha": lambda a, b: torch.sub(a, b, alpha=2),
    "sub in place": lambda a, b: a.clone().sub_(b, alpha=2),
    "sub negative alpha": lambda a, b: a.subtract(b, alpha=-3),
    "rsub alpha": lambda a, b: torch.rsub(a, b, alpha=0.5),
    "constant alpha": lambda a, b: torch.add(a + b, ROW, alpha=3),
    "less a constant alpha": lambda a, b: torch.sub(a + b, ROW, alpha=3),
    "constant first": lambda a, b: torch.sub(ROW, a + b, alpha=2),
    "number": lambda a, b: torch.sub(a + b, 0.7, alpha=2),
    "rsub of a number": lambda a, b: torch.rsub(a + b, 0.7, alpha=2),
}


@pytest.mark.parametrize("case", SUMS)
def test_a_sum_is_gradient_x_input_under_z(case):
    def model(x):
        return LAST(SUMS[case](ONE(x), OTHER(x)))

    x = torch.randn(3, 4, dtype=D, requires_grad=True)
    logits = model(x)[:, 1]
    (gradient,) = torch.autograd.grad(logits.sum(), x)
    e = rp.explain(model, x.detach(), [1], ["lrp-z"])
    torch.testing.assert_close(e.relevance["lrp-z"][0], gradient * x.detach(), rtol=1e-8, atol=1e-11)
    rest = logits.detach() - (gradient * x.detach()).sum(1)
    torch.testing.assert_close(e.ledger["lrp-z"].sum("bias")[0], rest, rtol=1e-8, atol=1e-11)
    assert e.ledger["lrp-z"].error < 1e-11


@pytest.mark.parametrize("alpha", [1, -2])
def test_a_sum_has_the_epsilon_that_it_is_given(alpha):
    """R_a = a / (y + eps sign(y)) R, and the rest is epsilon's."""
    eps, x = 0.4, torch.randn(3, 4, dtype=D)
    composite = rp.Composite([(rp.on.add, rp.rules.Epsilon(eps)), (rp.on.any, rp.rules.Z())])
    e = rp.explain(lambda x: LAST(torch.add(ONE(x), OTHER(x), alpha=alpha)), x, [1], {"it": composite})
    a, b = ONE(x).detach(), OTHER(x).detach()
    y = a + alpha * b
    at_sum = LAST.weight[1].detach() * y
    s = at_sum / torch.where(y >= 0, y + eps, y - eps)
    wanted = x * (s @ ONE.weight.detach() + alpha * s @ OTHER.weight.detach())
    torch.testing.assert_close(e.relevance["it"][0], wanted, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(e.ledger["it"].sum("eps")[0], (at_sum - s * y).sum(1), rtol=1e-9, atol=1e-12)
