"""What positive relevance means where the logit is negative: as README and docstring say."""

import pytest
import torch
from torch import nn

import relprop as rp


def for_the_class():
    """Every weight and pixel is positive, so every pixel speaks for the class; its logit is -98 by its bias."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 1)).double().eval()
    with torch.no_grad():
        for layer, bias in ((net[0], 0.1), (net[3], -100.0)):
            layer.weight.abs_()
            layer.bias.fill_(bias)
    x = torch.rand(1, 1, 4, 4).double()
    assert net(x).item() < 0
    assert (rp.attribute(net, x, 0, "gradient") > 0).all()
    return net, x


@pytest.mark.parametrize(
    "method", ["lrp-z", "lrp-epsilon", "cmp-alpha1", "cmp-alpha2", "cmp-alpha2-flat", "epsilon-plus"]
)
def test_under_epsilon_in_the_last_layer_positive_speaks_for_the_class(method):
    net, x = for_the_class()
    assert (rp.attribute(net, x, 0, method) > 0).all()
    assert (rp.attribute(net, x, 0, method, start="one") < 0).all()


@pytest.mark.parametrize("method", ["lrp-alpha1", "lrp-alpha2", rp.Composite([(rp.on.weighted, rp.rules.ZPlus())])])
def test_under_alpha_beta_there_one_puts_it_right(method):
    net, x = for_the_class()
    assert (rp.attribute(net, x, 0, method) < 0).all()
    assert (rp.attribute(net, x, 0, method, start="one") > 0).all()


def test_the_docstring_says_so():
    said = " ".join(rp.attribute.__doc__.split())
    assert "Where its logit is negative, that depends on the rule of the last layer" in said
    assert 'start="one" puts that right' in said
