"""The engine beside zennit, on torchvision's architectures with everything random, in float64.

Zennit's conventions are the profile "zennit"; it starts with a one at the class. One of its results is not a
convention: after it has merged a BatchNorm into a convolution the emptied BatchNorm still divides by
sqrt(1 + eps). It is therefore given the same function with eps moved into the running variance, where merging
is exact; the last test shows that this eps is all that stands between the two.
"""

import logging
from copy import deepcopy
from functools import partial

import pytest
import torch
import zennit.rules as peer
from torch import nn
from torchvision.models import resnet18
from zennit.attribution import Gradient
from zennit.composites import SpecialFirstLayerMapComposite, layer_map_base
from zennit.torchvision import ResNetCanonizer, VGGCanonizer
from zennit.types import Convolution, Linear

import relprop as rp
from narrow import vgg, with_weights
from relprop import rules

log = logging.getLogger(__name__)  # figures: pytest --log-cli-level=info

LOW, HIGH = -3.0, 3.0
CLASSES = [3, 7]

# name: (ours, zennit's rules for layers, zennit's rule for the first layer)
COMPOSITES = {
    "epsilon": ([(rp.on.weighted, rules.Epsilon(1e-6))], [(Linear, peer.Epsilon(1e-6))], []),
    "epsilon-0.1": ([(rp.on.weighted, rules.Epsilon(0.1))], [(Linear, peer.Epsilon(0.1))], []),
    "zplus": ([(rp.on.weighted, rules.ZPlus())], [(Linear, peer.ZPlus())], []),
    "alpha2": ([(rp.on.weighted, rules.AlphaBeta(2))], [(Linear, peer.AlphaBeta(2, 1))], []),
    "gamma": ([(rp.on.weighted, rules.Gamma(0.25))], [(Linear, peer.Gamma(0.25))], []),
    "epsilon-alpha2": (
        [(rp.on.conv, rules.AlphaBeta(2)), (rp.on.linear, rules.Epsilon(1e-6))],
        [(Convolution, peer.AlphaBeta(2, 1)), (nn.Linear, peer.Epsilon(1e-6))],
        [],
    ),
    "epsilon-plus-flat": (
        [
            (rp.on.first(), rules.Flat()),
            (rp.on.conv, rules.ZPlus()),
            (rp.on.linear, rules.Epsilon(1e-6)),
        ],
        [(Convolution, peer.ZPlus()), (nn.Linear, peer.Epsilon(1e-6))],
        [(Linear, peer.Flat())],
    ),
    "epsilon-gamma-box": (
        [
            (rp.on.first(), rules.ZBox(LOW, HIGH)),
            (rp.on.conv, rules.Gamma(0.25)),
            (rp.on.linear, rules.Epsilon(1e-6)),
        ],
        [(Convolution, peer.Gamma(0.25)), (nn.Linear, peer.Epsilon(1e-6))],
        [(Convolution, peer.ZBox(LOW, HIGH))],
    ),
    "epsilon-plus-wsquare": (
        [
            (rp.on.first(), rules.WSquare()),
            (rp.on.conv, rules.ZPlus()),
            (rp.on.linear, rules.Epsilon(1e-6)),
        ],
        [(Convolution, peer.ZPlus()), (nn.Linear, peer.Epsilon(1e-6))],
        [(Convolution, peer.WSquare())],
    ),
}
ARCHITECTURES = {
    "vgg16": (partial(vgg, "vgg16"), VGGCanonizer, 64),
    "vgg16_bn": (partial(vgg, "vgg16_bn"), VGGCanonizer, 64),
    "resnet18": (partial(resnet18, num_classes=10), ResNetCanonizer, 32),
}
"""How it is made, how zennit merges its BatchNorms, and the side of its pictures."""


def random_model(build):
    torch.manual_seed(0)
    return with_weights(build().double().eval())


def with_eps_in_the_variance(model):
    """The same function, of BatchNorms without eps."""
    model = deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var += module.eps
            module.eps = 0.0
    return model


@pytest.fixture(scope="module", params=ARCHITECTURES)
def architecture(request):
    build, canonizer, side = ARCHITECTURES[request.param]
    model = random_model(build)
    torch.manual_seed(1)
    x = torch.rand(2, 3, side, side, dtype=torch.float64) * (HIGH - LOW) + LOW
    return model, with_eps_in_the_variance(model), canonizer, x


def zennit_relevance(model, canonizer, x, layers, first):
    composite = SpecialFirstLayerMapComposite(layer_map_base() + layers, first, canonizers=[canonizer()])
    start = torch.eye(10, dtype=x.dtype)[CLASSES]
    with Gradient(model, composite) as attributor:
        return attributor(x.clone().requires_grad_(), start)[1]


def difference(ours, theirs):
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPOSITES)
def test_composite_agrees_with_zennit(architecture, name):
    model, exact, canonizer, x = architecture
    ours, layers, first = COMPOSITES[name]
    target = torch.tensor(CLASSES)
    R = rp.attribute(model, x, target=target, method=rp.Composite(ours), profile="zennit", start="one")
    error = difference(R, zennit_relevance(exact, canonizer, x, layers, first))
    log.info("relative difference %.1e", error)
    assert error < 1e-4


@pytest.mark.slow
def test_zennits_own_batchnorm_eps_explains_its_distance():
    build, canonizer, side = ARCHITECTURES["resnet18"]
    model = random_model(build)
    exact = with_eps_in_the_variance(model)
    torch.manual_seed(1)
    x = torch.randn(2, 3, side, side, dtype=torch.float64)
    _, layers, first = COMPOSITES["epsilon-alpha2"]
    assert difference(exact(x), model(x)) < 1e-13
    of_the_same_function = [zennit_relevance(m, canonizer, x, layers, first) for m in (model, exact)]
    assert difference(*of_the_same_function) > 1e-6
