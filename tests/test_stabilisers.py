"""Every rule with an epsilon of its own, large enough to be seen, by the formula; and what it took, in the ledger."""

import pytest
import torch
from torch import Tensor, nn

import reference
import relprop as rp
from conftest import randomised
from reference import Dense, negative, positive, sum_i
from relprop import rules

D = torch.float64
EPS = 0.3


def stable(d: Tensor) -> Tensor:
    """D + eps sign(d), with sign(0) = 1."""
    return torch.where(d >= 0, d + EPS, d - EPS)


def alpha2(x: Tensor, layer: Dense) -> tuple[Tensor, Tensor]:
    """Both sides have a stabiliser."""
    z_ij = x[:, :, None] * layer.w
    plus, minus = sum_i(positive(z_ij)) + positive(layer.b), sum_i(negative(z_ij)) + negative(layer.b)
    share = 2 * positive(z_ij) / stable(plus) - negative(z_ij) / stable(minus)
    return share, 2 * (1 - plus / stable(plus)) - (1 - minus / stable(minus))


def gamma(x: Tensor, layer: Dense) -> tuple[Tensor, Tensor]:
    """The denominator is stabilised whole."""
    z_ij = x[:, :, None] * layer.w
    z_j = sum_i(z_ij) + layer.b
    z_ij_s = torch.where(z_j >= 0, positive(z_ij), negative(z_ij))
    d = z_j + 0.25 * (sum_i(z_ij_s) + torch.where(z_j >= 0, positive(layer.b), negative(layer.b)))
    return (z_ij + 0.25 * z_ij_s) / stable(d), 1 - d / stable(d)


def flat(x: Tensor, layer: Dense) -> tuple[Tensor, Tensor]:
    """The number of inputs."""
    n = sum_i(layer.real[None])
    return (layer.real / stable(n)).expand(len(x), -1, -1), (1 - n / stable(n)).expand(len(x), -1, -1)


def w_square(x: Tensor, layer: Dense) -> tuple[Tensor, Tensor]:
    """Without the bias."""
    d = sum_i(layer.w[None] ** 2)
    return (layer.w**2 / stable(d)).expand(len(x), -1, -1), (1 - d / stable(d)).expand(len(x), -1, -1)


def w_square_and_bias(x: Tensor, layer: Dense) -> tuple[Tensor, Tensor]:
    """With b^2 in the denominator."""
    d = sum_i(layer.w[None] ** 2) + layer.b**2
    return (layer.w**2 / stable(d)).expand(len(x), -1, -1), (1 - d / stable(d)).expand(len(x), -1, -1)


def z_box(x: Tensor, layer: Dense) -> tuple[Tensor, Tensor]:
    """From -3 to 4."""
    z_ij = x[:, :, None] * layer.w + 3 * positive(layer.w) - 4 * negative(layer.w)
    d = sum_i(z_ij)
    return z_ij / stable(d), 1 - d / stable(d)


CASES = {
    "alpha2": (rules.AlphaBeta(2, eps=EPS), alpha2),
    "gamma": (rules.Gamma(0.25, eps=EPS), gamma),
    "flat": (rules.Flat(eps=EPS), flat),
    "w-square": (rules.WSquare(eps=EPS), w_square),
    "w-square with the bias": (rules.WSquare(bias=True, eps=EPS), w_square_and_bias),
    "zB": (rules.ZBox(-3, 4, eps=EPS), z_box),
}


@pytest.mark.parametrize("case", CASES)
def test_a_rules_epsilon_is_in_its_denominator_and_in_the_ledger(case):
    rule, formula = CASES[case]
    conv, fc = randomised(nn.Conv2d(2, 3, 2)), randomised(nn.Linear(36, 5))
    x = torch.randn(2, 2, 5, 4, dtype=D)
    model = nn.Sequential(conv, nn.Flatten(), fc).eval()
    e = rp.explain(model, x, [1], {"it": rp.Composite([(rp.on.first(1), rule), (rp.on.any, rules.Z())])})
    above = rp.attribute(fc, conv(x).detach().flatten(1), 1, "lrp-z")
    share, took = formula(x.flatten(1), reference.dense(conv, (2, 5, 4)))
    wanted = (share @ above[:, :, None])[..., 0].view(x.shape)
    torch.testing.assert_close(e.relevance["it"][0], wanted, rtol=1e-10, atol=1e-12)
    (row,) = (row for row in e.ledger["it"] if row.op == "conv2d")
    torch.testing.assert_close(row.eps[0], (took[:, 0] * above).sum(1), rtol=1e-9, atol=1e-12)
    assert e.ledger["it"].error < 1e-12


def test_flat_loses_what_comes_to_windows_of_nothing_but_padding():
    model = randomised(nn.Sequential(nn.Conv2d(2, 3, 1, padding=1), nn.Flatten(), nn.Linear(126, 5)))
    x = torch.randn(2, 2, 5, 4, dtype=D)
    composite = rp.Composite([(rp.on.first(1), rules.Flat()), (rp.on.any, rules.Z())])
    e = rp.explain(model, x, [1], {"it": composite})
    above = rp.attribute(model[2], model[:2](x).detach(), 1, "lrp-z").view(2, 3, 7, 6)
    inside = above[:, :, 1:-1, 1:-1]
    wanted = inside.sum(1, keepdim=True).expand_as(x) / 2
    torch.testing.assert_close(e.relevance["it"][0], wanted, rtol=1e-10, atol=1e-12)
    lost = above.sum((1, 2, 3)) - inside.sum((1, 2, 3))
    torch.testing.assert_close(e.ledger["it"].sum("lost")[0], lost, rtol=1e-10, atol=1e-12)
    assert e.ledger["it"].error < 1e-12
