"""What an activation gives for nothing is no input's."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import reference
import relprop as rp

OFFSETS = {
    "softplus": (F.softplus, 0.6931471805599453),
    "sigmoid": (torch.sigmoid, 0.5),
    "hardsigmoid": (F.hardsigmoid, 0.5),
    "logsigmoid": (F.logsigmoid, -0.6931471805599453),
    "threshold": (lambda y: F.threshold(y, 0.1, 2.0), 2.0),
    "clamp": (lambda y: y.clamp(min=0.3), 0.3),
}


@pytest.mark.parametrize("name", OFFSETS)
def test_what_an_activation_gives_for_nothing_is_no_inputs(name):
    """R_i = (f(x) - f(0)) / (f(x) + 1e-6 sign(f(x))) R; what is left goes to the bias, but for epsilon's."""
    f, offset = OFFSETS[name]
    first, last = (nn.Linear(4, 5).double(), nn.Linear(5, 3, bias=False).double())
    x = torch.randn(2, 4, dtype=torch.float64)
    e = rp.explain(lambda t: last(f(first(t))), x, [1], ["lrp-z"])
    z = first(x).detach()
    y = f(z)
    stable = y / (y + 1e-6 * torch.where(y >= 0, 1.0, -1.0)) * last.weight[1].detach()
    s = stable * (y - offset) / z
    torch.testing.assert_close(e.relevance["lrp-z"][0], x * (s @ first.weight.detach()), rtol=1e-9, atol=1e-12)
    (row,) = (row for row in e.ledger["lrp-z"] if row.op != "linear")
    torch.testing.assert_close(row.bias[0], (offset * stable).sum(1), rtol=1e-9, atol=1e-12)
    assert e.ledger["lrp-z"].error < 1e-12


@pytest.mark.parametrize("name", OFFSETS)
def test_relevance_passes_an_offset_where_its_input_is_negative(name):
    """A layer below may not take it for a ReLU: gamma asks for the sign of each of its outputs."""
    f, offset = OFFSETS[name]
    first, last = nn.Linear(4, 5).double(), nn.Linear(5, 3, bias=False).double()
    x = torch.randn(2, 4, dtype=torch.float64)
    composite = rp.Composite([(rp.on.first(1), rp.rules.Gamma(0.5)), (rp.on.any, rp.rules.Z())])
    R = rp.attribute(lambda t: last(f(first(t))), x, 1, composite)
    z = first(x).detach()
    assert (z < 0).any()
    y = f(z)
    above = y / (y + 1e-6 * torch.where(y >= 0, 1.0, -1.0)) * last.weight[1].detach() * (y - offset)
    share = reference.gamma(x, reference.Dense(first.weight.detach().T, first.bias.detach(), torch.ones(4, 5)), 0.5)
    torch.testing.assert_close(R, (share @ above[:, :, None])[..., 0], rtol=1e-9, atol=1e-12)
