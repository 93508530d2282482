"""What tests of rules share: each rule with its definition, inputs to hold it on, and what the engine hands down."""

from functools import partial

import pytest
import torch
from torch import nn

import reference
import relprop as rp
from relprop import rules

BATCH = 2

RULES = {
    "z": (rules.Z(), reference.z),
    "epsilon": (rules.Epsilon(0.1), partial(reference.epsilon, eps=0.1)),
    "alpha1": (rules.AlphaBeta(1), partial(reference.alpha_beta, alpha=1, beta=0)),
    "alpha2": (rules.AlphaBeta(2), partial(reference.alpha_beta, alpha=2, beta=-1)),
    "alpha1.5-without-bias": (
        rules.AlphaBeta(1.5, -0.5, bias=False),
        partial(reference.alpha_beta, alpha=1.5, beta=-0.5, bias=False),
    ),
    "zplus": (rules.ZPlus(), partial(reference.alpha_beta, alpha=1, beta=0)),
    "gamma": (rules.Gamma(0.25), partial(reference.gamma, gamma=0.25)),
    "flat": (rules.Flat(), reference.flat),
    "wsquare": (rules.WSquare(), reference.w_square),
    "zbox": (rules.ZBox(-4.0, 3.5), partial(reference.z_box, low=-4.0, high=3.5)),
}
INPUTS = {"non-negative": nn.functional.relu, "mixed": lambda x: x, "negative": lambda x: -x.abs()}


def over(cases):
    return pytest.mark.parametrize("case", cases.values(), ids=cases)


def made(make):
    """Make a layer with some weights pruned: a connection stays one though its weight is zero."""
    torch.manual_seed(0)
    layer = make().double()
    with torch.no_grad():
        layer.weight[torch.rand_like(layer.weight) < 0.2] = 0
        if layer.bias is not None:
            layer.bias.normal_(0, 0.5)
    return layer


def inputs(shape, signs):
    torch.manual_seed(1)
    return INPUTS[signs](torch.randn(BATCH, *shape, dtype=torch.float64))


def shares(layer, x, rule, where=rp.on.weighted, profile="paper"):
    """What the engine hands from every output j to every input i: (B, i, j), from a one at each output."""
    model = nn.Sequential(layer, nn.Flatten(1)).eval()
    outputs = range(model(x[:1]).shape[1])
    method = {"rule": rp.Composite([(where, rule), (rp.on.weighted, rules.Z())])}
    explanation = rp.explain(model, x, targets=list(outputs), methods=method, profile=profile, start="one")
    return explanation.relevance["rule"].flatten(2).permute(1, 2, 0)


def assert_same(ours, expected):
    error = (ours - expected).abs().max() / expected.abs().max()
    assert error < 1e-10, f"relative error {error:.1e}"


def normalised(make, norm):
    """A layer and a BatchNorm with statistics of its own behind it, in evaluation mode."""
    layer = made(make)
    with torch.no_grad():
        norm.double().running_mean.normal_()
        norm.running_var.uniform_(0.2, 2)
        for parameter in norm.parameters():
            parameter.normal_()
    return nn.Sequential(layer, norm).eval()
