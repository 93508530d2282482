"""Methods by gradients: each against its formula, and gradient times input against LRP_z."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import relprop as rp
from conftest import randomised
from more_ops import Calls
from small_networks import NETWORKS, D, pictures, plain, slope, small
from test_untouched import assert_same, model_with, state_of

GRADIENTS = ["gradient", "gradient-x-input", "smoothgrad:samples=3", "integrated-gradients:steps=4"]


def test_gradients_are_what_autograd_says():
    model, x, target = plain(), pictures(), torch.tensor([1, 4])
    wanted = slope(model, x, target)
    torch.testing.assert_close(rp.attribute(model, x, target, "gradient"), wanted, rtol=1e-12, atol=0)
    torch.testing.assert_close(rp.attribute(model, x, target, "gradient-x-input"), wanted * x, rtol=1e-12, atol=0)


def test_smoothgrad_is_the_mean_gradient_over_copies_with_the_seeds_noise():
    model, x, target = plain(), pictures() * torch.tensor([1.0, 5.0]).view(2, 1, 1, 1), torch.tensor([1, 4])
    R = rp.attribute(model, x, target, "smoothgrad:samples=6,std=0.2,seed=3")
    for b in range(2):
        noise = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(3))
        noisy = x[b] + noise * np.float32(0.2 * float(x[b].max() - x[b].min()))
        wanted = slope(model, noisy, target[b].expand(6)).mean(0)
        torch.testing.assert_close(R[b], wanted, rtol=1e-6, atol=1e-9)
    other = rp.attribute(model, x, target, "smoothgrad:samples=6,std=0.2,seed=4")
    assert not torch.allclose(R, other)


def test_smoothgrad_without_noise_is_the_gradient():
    model, x = plain(), pictures()
    smooth = rp.attribute(model, x, 1, "smoothgrad:samples=20,std=0")
    torch.testing.assert_close(smooth, rp.attribute(model, x, 1, "gradient"))


def test_smoothgrad_is_the_same_each_time_in_every_batch_and_leaves_the_callers_random_numbers_alone():
    model, x = plain(), pictures(5, 3, 8, 8)
    torch.manual_seed(11)
    state = torch.get_rng_state()
    R = rp.attribute(model, x, 1, "smoothgrad:samples=18")
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(12)
    assert torch.equal(rp.attribute(model, x, 1, "smoothgrad:samples=18"), R)
    torch.testing.assert_close(rp.attribute(model, x[3:4], 1, "smoothgrad:samples=18"), R[3:4], rtol=1e-12, atol=1e-14)


class Smooth(nn.Module):
    """A network whose gradient changes everywhere: (B, 3, 8, 8) to (B, 5)."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(144, 5)

    def forward(self, x):
        return self.fc(torch.tanh(self.conv(x)).flatten(1)) ** 3


@pytest.mark.parametrize("baseline", ["0", "-1.5"])
def test_integrated_gradients_is_the_integral_and_complete(baseline):
    model, x = Smooth().to(D).eval(), pictures(20, 3, 8, 8) / 2  # more pictures than are taken at once
    start, target = torch.full_like(x, float(baseline)), torch.arange(20) % 5
    R = rp.attribute(model, x, target, f"integrated-gradients:steps=40,baseline={baseline}")
    n = 800
    mean = sum(slope(model, start + (k + 0.5) / n * (x - start), target) for k in range(n)) / n
    torch.testing.assert_close(R, (x - start) * mean, rtol=1e-4, atol=1e-6)
    gained = (model(x) - model(start)).gather(1, target[:, None])[:, 0]
    torch.testing.assert_close(R.sum((1, 2, 3)), gained, rtol=1e-6, atol=1e-7)


def test_black_is_what_the_model_says():
    model, x = rp.models.load("digits-shallow"), torch.randn(1, 3, 64, 64)
    black = rp.attribute(model, x, 1, "integrated-gradients:steps=3,baseline=black")
    torch.testing.assert_close(black, rp.attribute(model, x, 1, "integrated-gradients:steps=3,baseline=-1.8"))
    assert not torch.allclose(black, rp.attribute(model, x, 1, "integrated-gradients:steps=3"))
    with pytest.raises(rp.InputError, match="does not say what black is"):
        rp.attribute(plain(), pictures(), 1, "integrated-gradients:baseline=black")


@pytest.mark.parametrize("method", [*GRADIENTS, "grad-cam"])
def test_the_model_and_the_callers_modes_are_left_as_they_were(method):
    model, x = model_with(), torch.randn(2, 3, 8, 8, requires_grad=True)
    before, kept = state_of(model), x.detach().clone()
    wanted = rp.attribute(model, x, 1, method)
    with torch.inference_mode():
        assert torch.equal(rp.attribute(model, x.clone(), 1, method), wanted)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(rp.attribute(model, x, 1, method), wanted)
        assert torch.is_autocast_enabled("cpu")
    assert_same(before, state_of(model))
    assert torch.equal(x, kept)
    assert x.grad is None
    assert not wanted.requires_grad


@pytest.mark.parametrize("method", [*GRADIENTS, "cam", "grad-cam"])
def test_functions_and_models_that_return_more_than_logits(method):
    conv, fc = nn.Conv2d(3, 4, 3).to(D), nn.Linear(4, 5).to(D)
    x = pictures()

    def function(x):
        return fc(F.relu(conv(x)).mean((2, 3)))

    class Wrapped(nn.Module):
        def forward(self, x):
            return SimpleNamespace(logits=function(x.sub_(0)))  # writes into its input as well

    wanted = rp.attribute(small(conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), fc), x, 1, method)
    assert wanted.abs().max() > 0
    torch.testing.assert_close(rp.attribute(function, x, 1, method), wanted)
    torch.testing.assert_close(rp.attribute(Wrapped().eval(), x, 1, method), wanted)


def test_gradients_ask_for_no_rules():
    model = randomised(
        nn.Sequential(nn.Conv2d(3, 4, 3), Calls(torch.special.i1e), nn.Tanh(), nn.Flatten(), nn.Linear(144, 5)), D
    )
    x, target = pictures(), torch.tensor([1, 2])
    e = rp.explain(model, x, [target], GRADIENTS)
    torch.testing.assert_close(e.relevance["gradient"][0], slope(model, x, target), rtol=1e-12, atol=0)
    assert torch.equal(e.outputs, model(x))
    assert e.ledger == {}
    with pytest.raises(rp.UnsupportedOp, match="i1e"):
        rp.explain(model, x, [target], [*GRADIENTS, "lrp-z"])


@pytest.mark.parametrize(
    "cut",
    [
        lambda x: x.detach(),
        lambda x: torch.from_numpy(x.detach().numpy() * 1),
        lambda x: torch.zeros_like(x),
    ],
)
def test_logits_that_do_not_depend_on_the_picture_have_no_gradient(cut):
    model = plain()
    for parameters in (True, False):  # gradients of the weights are none of the picture
        model.requires_grad_(parameters)
        with pytest.raises(rp.InputError, match="no gradient"):
            rp.attribute(lambda x: model(cut(x)), pictures(), 1, "gradient")


def test_weights_of_inference_mode_are_refused():
    with torch.inference_mode():
        model = plain()
    with pytest.raises(rp.InputError, match="load the model outside of it"):
        rp.attribute(model, pictures(), 1, "gradient")


def test_half_precision_is_explained_in_single():
    model = plain().to(torch.bfloat16)
    for method in ("gradient", "smoothgrad:samples=2", "integrated-gradients:steps=2", "grad-cam", "uniform"):
        R = rp.attribute(model, pictures(dtype=torch.bfloat16), 1, method)
        assert R.dtype == torch.float32
        assert torch.isfinite(R).all()


# -- gradient x input is LRP_z -----------------------------------------------------------------------


def relu_network(draw):
    """A ReLU network with biases: convolutions with max and average pools in random order, then linear layers."""
    layers, channels, side = [], 3, 12
    for _ in range(draw(st.integers(1, 4))):
        width, kernel = draw(st.integers(1, 5)), draw(st.sampled_from([1, 2, 3]))
        stride, padding = draw(st.integers(1, 2)), draw(st.integers(0, kernel // 2))
        side = (side + 2 * padding - kernel) // stride + 1
        layers += [nn.Conv2d(channels, width, kernel, stride, padding), nn.ReLU(inplace=draw(st.booleans()))]
        channels = width
        pool = draw(st.sampled_from([None, nn.MaxPool2d, nn.AvgPool2d]))
        if pool is not None and side >= 3:
            kernel = draw(st.integers(2, 3))
            layers.append(pool(kernel, draw(st.integers(1, kernel))))
            side = (side - kernel) // layers[-1].stride + 1
        if side < 3:
            break
    layers += [nn.AdaptiveAvgPool2d(draw(st.sampled_from([1, 2]))), nn.Flatten()]
    layers += [nn.LazyLinear(7), nn.ReLU(), nn.Linear(7, 4)]
    return nn.Sequential(*layers)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_lrp_z_is_gradient_x_input_in_relu_networks_with_biases(data):
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    model = relu_network(data.draw)
    x = torch.randn(3, 3, 12, 12, dtype=D)
    with torch.no_grad():
        model.double()(x)
    model = randomised(model)
    nn.init.normal_(model[0].bias, 0, 0.5)
    target = torch.tensor([0, 2, 3])
    composite = rp.Composite([(rp.on.any, rp.rules.Z())])
    e = rp.explain(model, x, [target], {"lrp-z": composite, "gradient": "gradient-x-input"})
    assert_is_gradient_x_input(e, target, by="lrp-z")


@pytest.mark.parametrize("name", ["vgg11", "digits-deep"])
@pytest.mark.parametrize("seed", range(3))
def test_lrp_z_is_gradient_x_input_in_vggs(name, seed):
    torch.manual_seed(seed)
    model, side = NETWORKS[name]()
    torch.manual_seed(seed)
    x, target = torch.randn(2, 3, side, side, dtype=D), torch.tensor([seed, 4])
    assert any((m.bias != 0).any() for m in model.modules() if isinstance(m, nn.Conv2d))
    e = rp.explain(model.double(), x, [target], {"lrp-z": "lrp-z", "gradient": "gradient-x-input"})
    assert_is_gradient_x_input(e, target, by="lrp-z")


def assert_is_gradient_x_input(e, target, by):
    """The maps are equal, and what they lack of the logit is what the ledger says the biases took."""
    R, wanted = e.relevance[by][0], e.relevance["gradient"][0]
    scale = max(wanted.abs().max().item(), e.outputs.abs().max().item())
    torch.testing.assert_close(R, wanted, rtol=0, atol=1e-8 * scale)
    lacking = e.outputs.gather(1, target[:, None])[:, 0] - R.sum((1, 2, 3))
    ledger = e.ledger[by]
    torch.testing.assert_close(ledger.sum("bias")[0] + ledger.sum("eps")[0], lacking, rtol=0, atol=1e-10 * scale)
    if not any(row.eps.any() for row in ledger):
        torch.testing.assert_close(ledger.sum("bias")[0], lacking, rtol=0, atol=1e-10 * scale)
