"""The engine beside Captum, on VGG-16 with everything random, in float64: LRP, Guided Backprop and Deconvnet.

Captum's Alpha1_Beta0_Rule clamps the weights alone and keeps the whole bias, which for inputs that are not
negative is our profile "innvestigate"; without biases it is alpha 1 as the paper has it. Its stabiliser is
1e-9 everywhere, max-pools and flattening included: there it is made too small to matter. It knows no
additions but its own module, so it cannot judge residual networks. Its Guided Backprop and Deconvolution hang
hooks on nn.ReLU modules, so they see no functional ReLU.
"""

import logging
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from captum.attr import LRP, Deconvolution, GuidedBackprop
from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule, EpsilonRule
from torch import nn

import relprop as rp
from narrow import vgg, with_weights
from relprop import rules

log = logging.getLogger(__name__)  # figures: pytest --log-cli-level=info

EPS = 1e-9
ON_POOLS = (rp.on.pool, rules.Z())

# name: (ours, profile, Captum's rule for convolutions, and for linear layers)
CASES = {
    "epsilon": ([(rp.on.weighted, rules.Epsilon(EPS))], "paper", EpsilonRule(EPS), EpsilonRule(EPS)),
    "epsilon-0.1": ([(rp.on.weighted, rules.Epsilon(0.1))], "paper", EpsilonRule(0.1), EpsilonRule(0.1)),
    "alpha1-with-whole-bias": (
        [(rp.on.weighted, rules.AlphaBeta(1))],
        "innvestigate",
        Alpha1_Beta0_Rule(),
        Alpha1_Beta0_Rule(),
    ),
    "alpha1-without-bias": (
        [(rp.on.weighted, rules.AlphaBeta(1, bias=False))],
        "paper",
        Alpha1_Beta0_Rule(set_bias_to_zero=True),
        Alpha1_Beta0_Rule(set_bias_to_zero=True),
    ),
    "epsilon-and-alpha1-with-whole-bias": (
        [(rp.on.conv, rules.AlphaBeta(1)), (rp.on.linear, rules.Epsilon(EPS))],
        "innvestigate",
        Alpha1_Beta0_Rule(),
        EpsilonRule(EPS),
    ),
}


@pytest.fixture(scope="module")
def model():
    """VGG-16, flattened by a module that Captum can see."""
    torch.manual_seed(0)
    narrow = with_weights(vgg("vgg16").double().eval())
    model = nn.Sequential(*narrow.features, narrow.avgpool, nn.Flatten(), *narrow.classifier).eval()
    for module in model:
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return model


def captum_relevance(model, x, target, on_conv, on_linear):
    model = deepcopy(model)
    for module in model:
        if isinstance(module, nn.Conv2d):
            module.rule = deepcopy(on_conv)
        elif isinstance(module, nn.Linear):
            module.rule = deepcopy(on_linear)
        elif isinstance(module, nn.MaxPool2d | nn.AdaptiveAvgPool2d | nn.Flatten):
            module.rule = EpsilonRule(1e-15)
    return LRP(model).attribute(x.clone().requires_grad_(), target=target).detach()


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_rule_agrees_with_captum(model, name):
    ours, profile, on_conv, on_linear = CASES[name]
    torch.manual_seed(1)
    x, target = torch.rand(2, 3, 64, 64, dtype=torch.float64), torch.tensor([3, 7])
    R = rp.attribute(model, x, target=target, method=rp.Composite([*ours, ON_POOLS]), profile=profile)
    theirs = captum_relevance(model, x, target, on_conv, on_linear)
    error = ((R - theirs).abs().max() / theirs.abs().max()).item()
    log.info("relative difference %.1e", error)
    assert error < 1e-4


class Functional(nn.Module):
    """The same network with its ReLUs called as functions, which no hook on a module sees."""

    def __init__(self, layers):
        super().__init__()
        self.layers = layers

    def forward(self, x):
        for layer in self.layers:
            x = F.relu(x) if isinstance(layer, nn.ReLU) else layer(x)
        return x


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU activations")
@pytest.mark.parametrize(("name", "theirs"), [("guided-backprop", GuidedBackprop), ("deconvnet", Deconvolution)])
def test_backprop_agrees_with_captum(model, name, theirs):
    torch.manual_seed(1)
    x, target = torch.randn(2, 3, 64, 64, dtype=torch.float64), torch.tensor([3, 7])
    wanted = theirs(deepcopy(model)).attribute(x.clone().requires_grad_(), target=target)
    functional = Functional(deepcopy(model)).eval()
    for explained in (model, functional):
        R = rp.attribute(explained, x, target, name)
        error = ((R - wanted).abs().max() / wanted.abs().max()).item()
        log.info("relative difference %.1e", error)
        assert error < 1e-10
    unseen = theirs(functional).attribute(x.clone().requires_grad_(), target=target)
    gradient = rp.attribute(functional, x, target, "gradient")
    torch.testing.assert_close(unseen, gradient, rtol=1e-10, atol=0)  # Captum's is the plain gradient there
    assert not torch.allclose(unseen, wanted, rtol=0.1)
