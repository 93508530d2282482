"""What LRP is compared with: each method against its formula, on several networks, and methods of the user's own."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models import resnet18, squeezenet1_1, vgg11
from typer.testing import CliRunner

import relprop as rp
from conftest import randomised
from relprop.catalogue.cam import coarse_cam
from relprop.cli import app
from relprop.commands.explain import _raw_path
from relprop.models.families import embedded
from test_untouched import assert_same, model_with, state_of

D = torch.float64
GRADIENTS = ["gradient", "gradient-x-input", "smoothgrad:samples=3", "integrated-gradients:steps=4"]


def small(*layers, dtype=D):
    return randomised(nn.Sequential(*layers), dtype)


def plain():
    """(B, 3, 8, 8) to (B, 5), with everything that a VGG has."""
    return small(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 4, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(64, 5),
    )


def pictures(*shape, dtype=D):
    return torch.randn(*(shape or (2, 3, 8, 8)), dtype=dtype)


def slope(model, x, target):
    """The gradient, by hand."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x).gather(1, target[:, None]).sum(), x)[0]


def narrowed_vgg11():
    with torch.device("meta"):
        model = vgg11(num_classes=5)
        model.classifier = nn.Sequential(nn.Linear(512 * 7 * 7, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 5))
    return initialised(model.to_empty(device="cpu"))


def initialised(model):
    """Random weights under which numbers neither grow nor fade."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    return randomised(model, torch.float32)


NETWORKS = {
    "digits-shallow": lambda: (embedded.load("digits-shallow"), 64),
    "digits-deep": lambda: (embedded.load("digits-deep"), 64),
    "vgg11": lambda: (narrowed_vgg11(), 32),
    "resnet18": lambda: (initialised(resnet18(num_classes=5)), 32),
    "squeezenet": lambda: (initialised(squeezenet1_1(num_classes=5)), 64),
}
AVERAGING = {"resnet18", "squeezenet"}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_method_explains_every_network(name):
    model, side = NETWORKS[name]()
    before, x = state_of(model), torch.randn(2, 3, side, side)
    bounds = ":low=-4,high=4"
    methods = [m + bounds * (m.endswith(("zbox", "box"))) for m in rp.methods() if not m.startswith("pattern")]
    if name not in AVERAGING:
        methods.remove("cam")
        with pytest.raises(rp.InputError, match=r"ends in relu in 'classifier\.\d' -> dropout .* -> linear .*grad-cam"):
            rp.attribute(model, x, 1, "cam")
    e = rp.explain(model, x, targets=[1, torch.tensor([0, 3])], methods=methods)
    assert list(e.relevance) == methods
    for method, R in e.relevance.items():
        assert R.shape == (2, *x.shape), method
        assert R.dtype == torch.float32
        assert torch.isfinite(R).all(), method
        assert R.abs().max() > 0, method
    assert_same(before, state_of(model))


# -- gradients ---------------------------------------------------------------------------------------


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
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)), D
    )
    x, target = pictures(), torch.tensor([1, 2])
    e = rp.explain(model, x, [target], GRADIENTS)
    torch.testing.assert_close(e.relevance["gradient"][0], slope(model, x, target), rtol=1e-12, atol=0)
    assert torch.equal(e.outputs, model(x))
    assert e.ledger == {}
    with pytest.raises(rp.UnsupportedOp, match="group_norm"):
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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smoothgrad:sample=3", "no option 'sample'; did you mean samples"),
        ("smoothgrad:samples=0", "samples is '0', and must be a whole number from 1"),
        ("smoothgrad:samples=2.5", "samples is '2.5', and must be a whole number from 1"),
        ("smoothgrad:std=-1", "std is '-1', and must be a number of at least 0"),
        ("smoothgrad:std=nan", "std is 'nan'"),
        ("smoothgrad:seed=x", "seed is 'x', and must be a whole number from 0"),
        ("smoothgrad:samples=3,samples=4", "samples is given twice"),
        ("integrated-gradients:baseline=white", "baseline is 'white', and must be a number or 'black'"),
        ("integrated-gradients:samples=3", "no option 'samples'.*steps, baseline"),
        ("gradient:steps=3", "no option 'steps'; it takes none"),
        ("grad-cam:layer=", "layer is '', and must be a module path"),
        ("gradcam", "no method is named 'gradcam'; did you mean grad-cam"),
        ("lrp-epsilon:eps=inf", "eps is 'inf', and must be a number of at least 0"),
    ],
)
def test_options_that_are_none_are_errors_with_the_near_name(name, message):
    with pytest.raises(rp.InputError, match=message):
        rp.attribute(plain(), pictures(), 1, name)


def test_relprop_imports_captum_only_for_what_needs_it():
    code = "import sys, torch, relprop as rp; model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))"
    code += ".eval(); rp.explain(model, torch.ones(1, 4), 0, ['lrp-z', 'uniform']); rp.methods(); import relprop.cli"
    code += "; sys.exit(any(name in sys.modules for name in ('captum', 'matplotlib')))"
    assert subprocess.run([sys.executable, "-W", "error", "-c", code], check=False).returncode == 0


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


# -- excitation backprop -----------------------------------------------------------------------------


def probabilities(layer, a, P):
    """Zhang et al. (2018), eq. 3: sum over m of P(a_m) Z_m a_n w_mn^+, Z_m = 1 / sum over n of a_n w_mn^+."""
    weights = np.maximum(layer, 0)  # (m, n)
    share = np.zeros_like(weights)
    for m in range(len(weights)):
        total = float((a * weights[m]).sum())
        share[m] = a * weights[m] / total if total > 0 else 0
    return P @ share


def as_matrix(module, shape):
    """The weights (m, n) of a module on inputs of this shape, written out; and the shape of its outputs."""
    n = int(np.prod(shape))
    with torch.no_grad():
        columns = module(torch.eye(n, dtype=D).view(n, *shape)) - module(torch.zeros(1, *shape, dtype=D))
    return columns.flatten(1).T.numpy(), columns.shape[1:]


def test_excitation_backprop_is_the_probability_of_the_winner():
    model = small(
        nn.Conv2d(2, 3, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(3, 4, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(36, 6),
        nn.ReLU(),
        nn.Linear(6, 4),
    )
    x = torch.rand(1, 2, 8, 8, dtype=D)
    layers, a, shape = [], x, tuple(x.shape[1:])
    for module in model:
        if isinstance(module, nn.Conv2d | nn.Linear):
            matrix, shape = as_matrix(module, shape)
            layers.append((matrix, a.flatten().detach().numpy()))
        a = module(a)
        shape = tuple(a.shape[1:])
    P = np.eye(4)[2]
    for matrix, inputs in reversed(layers):
        P = probabilities(matrix, inputs, P)
    R = rp.attribute(model, x, 2, "excitation-backprop")
    assert P.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(R.flatten().numpy(), P, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["digits-deep", "resnet18"])
def test_excitation_backprop_is_alpha1_without_biases_started_at_one(name):
    model, side = NETWORKS[name]()
    x = torch.rand(2, 3, side, side, dtype=D)
    composite = rp.Composite([(rp.on.weighted, rp.rules.AlphaBeta(1, 0, bias=False))])
    wanted = rp.attribute(model.double(), x, 3, composite, start="one")
    for start in ("one", "logit"):
        R = rp.attribute(model, x, 3, "excitation-backprop", start=start)
        torch.testing.assert_close(R, wanted, rtol=1e-10, atol=1e-14)
    assert (R >= -1e-12).all() or name == "resnet18"  # a sum can have terms of both signs


# -- class activation maps ---------------------------------------------------------------------------


class Averaging(nn.Module):
    """Ends in global average pooling, spelled as asked for: (B, 3, 8, 8) to (B, 5)."""

    def __init__(self, average):
        super().__init__()
        self.conv, self.fc, self.average = nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.Linear(6, 5), average

    def maps(self, x):
        return F.relu(self.conv(x))

    def forward(self, x):
        return self.fc(F.dropout(self.average(self.maps(x)), training=False))


AVERAGES = {
    "adaptive": lambda f: F.adaptive_avg_pool2d(f, 1).flatten(1),
    "kernel": lambda f: F.avg_pool2d(f, 4)[:, :, 0, 0],
    "mean": lambda f: f.mean((2, 3)),
    "means": lambda f: f.mean(3).mean(2),
    "flat": lambda f: f.flatten(2).mean(2),
    "sum": lambda f: f.sum((2, 3)) / 16,
    "twice": lambda f: F.avg_pool2d(f, 2).mean((2, 3)),
}


@pytest.mark.parametrize("name", AVERAGES)
def test_cam_is_the_weighted_sum_of_the_last_maps(name):
    model, x, target = randomised(Averaging(AVERAGES[name]), D), pictures(), torch.tensor([1, 4])
    with torch.no_grad():
        weighted_maps = (model.maps(x) * model.fc.weight[target][:, :, None, None]).sum(1, keepdim=True) / 16
        lacking = model(x).gather(1, target[:, None])[:, 0] - model.fc.bias[target]
    coarse = coarse_cam(model, x, target)
    torch.testing.assert_close(coarse, weighted_maps, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(coarse.sum((1, 2, 3)), lacking, rtol=0, atol=1e-10)
    R = rp.attribute(model, x, target, "cam")
    fine = F.interpolate(weighted_maps, (8, 8), mode="bilinear") / 4
    torch.testing.assert_close(R, fine.expand(-1, 3, -1, -1) / 3, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(R.sum((1, 2, 3)), lacking, rtol=0, atol=1e-10)


def test_cam_of_a_resnet_is_read_off_its_last_block():
    model, x, target = NETWORKS["resnet18"]()[0].double(), torch.randn(2, 3, 96, 96, dtype=D), torch.tensor([1, 4])
    seen = []
    handle = model.layer4.register_forward_hook(lambda *a: seen.append(a[2].detach()))
    logits = model(x).gather(1, target[:, None])[:, 0]
    handle.remove()
    wanted = (seen[0] * model.fc.weight[target][:, :, None, None]).sum(1, keepdim=True) / 9
    torch.testing.assert_close(coarse_cam(model, x, target), wanted, rtol=1e-12, atol=1e-12)
    R = rp.attribute(model, x, target, "cam")
    torch.testing.assert_close(R.sum((1, 2, 3)), logits - model.fc.bias[target], rtol=1e-10, atol=1e-10)


def test_cam_of_squeezenet_is_the_class_s_own_map():
    model, side = NETWORKS["squeezenet"]()
    model, x = model.double(), torch.randn(2, 3, side, side, dtype=D)
    target = model(x).argmax(1)
    scores = model.classifier[:3](model.features(x))
    wanted = scores[[0, 1], target][:, None] / scores.shape[2:].numel()
    assert wanted.max() > 0
    torch.testing.assert_close(coarse_cam(model, x, target), wanted, rtol=1e-12, atol=1e-15)


def test_cam_is_loud_where_a_network_ends_otherwise():
    x = pictures()
    squared = randomised(Averaging(lambda f: f.mean((2, 3)) * f.mean((2, 3))), D)
    with pytest.raises(rp.InputError, match=r"global average pooling with nothing but .* ends in mul -> dropout"):
        rp.attribute(squared, x, 1, "cam")
    with pytest.raises(rp.InputError, match=r"relu in '4' -> flatten in '5' -> dropout in '6' -> linear in '7'; use"):
        rp.attribute(plain(), x, 1, "cam")
    coarse_pool = small(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5)
    )  # as in VGG, but for fewer linear layers
    with pytest.raises(rp.InputError, match=r"relu in '1' -> avg_pool in '2' -> flatten .* use 'grad-cam', or 'cmp-al"):
        rp.attribute(coarse_pool, x, 1, "cam")


def test_the_remedy_that_cam_names_exists_and_is_like_it():
    """Where every class has a map of its own, as in SqueezeNet: the stack only spreads what CAM's positive part is."""
    model = small(
        nn.Conv2d(3, 6, 2, stride=2), nn.ReLU(), nn.Conv2d(6, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    nn.init.zeros_(model[2].bias)  # a bias takes its share in LRP
    nn.init.normal_(model[2].weight, 0.3)
    x, target = pictures(), torch.tensor([1, 2])
    cam = coarse_cam(model, x, target)
    assert cam.sum() > 0
    assert (cam >= 0).all()
    R = rp.attribute(model, x, target, "cmp-alpha1-flat:layers=stack,eps=1e-12").sum(1, keepdim=True)
    torch.testing.assert_close(F.avg_pool2d(R, 2) * 4, cam, rtol=1e-5, atol=1e-12)
    torch.testing.assert_close(R, F.interpolate(cam, scale_factor=2) / 4, rtol=1e-5, atol=1e-12)


def test_flat_below_a_global_average_is_cam_and_the_stack_above_spreads_evenly():
    """The stack has the global average in it, as a pool: under flat it says no more where a network looked."""
    model = small(nn.Conv2d(3, 6, 2, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))
    x, target = pictures(), torch.tensor([1, 2])
    composite = rp.Composite([(rp.on.conv, rp.rules.Flat()), (rp.on.pool | rp.on.linear, rp.rules.Z())])
    R = rp.attribute(model, x, target, composite)
    wanted = F.interpolate(coarse_cam(model, x, target), scale_factor=2) / 12
    torch.testing.assert_close(R, wanted.expand_as(R), rtol=1e-10, atol=1e-14)
    even = rp.attribute(model, x, target, "cmp-alpha1-flat:layers=stack")
    torch.testing.assert_close(even, even[:, :1, :1, :1].expand_as(even), rtol=1e-10, atol=1e-14)


def by_hand(maps, logits, target):
    """Grad-CAM from feature maps of the graph that led to the logits."""
    (slope,) = torch.autograd.grad(logits.gather(1, target[:, None]).sum(), maps)
    return F.relu((slope.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True)).detach()


def hooked(model, module, x, target):
    """Grad-CAM of a module's output, by a hook on a model that may be changed."""
    seen = []
    handle = module.register_forward_hook(lambda *a: seen.append(a[2]) or a[2].clone())  # in-place ops may follow
    logits = model(x)
    handle.remove()
    return by_hand(seen[0], logits, target)


def assert_is(R, coarse):
    fine = F.interpolate(coarse, R.shape[2:], mode="bilinear")
    assert fine.max() > 0
    torch.testing.assert_close(R, (fine / R.shape[1]).expand_as(R), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "layer", "default"),
    [
        ("vgg11", "features.18", True),
        ("vgg11", "features.13", False),
        ("vgg11", "features", False),
        ("digits-deep", "features.28", True),
        ("squeezenet", "features.12", True),  # two convolutions, concatenated
        ("squeezenet", "features.12.expand3x3", False),
        ("resnet18", "layer4", False),
        ("resnet18", "layer3.1.conv2", False),
    ],
)
def test_grad_cam_is_its_formula(name, layer, default):
    model, side = NETWORKS[name]()
    model, x, target = model.double(), torch.randn(2, 3, side, side, dtype=D), torch.tensor([1, 4])
    wanted = hooked(model, model.get_submodule(layer), x, target)
    assert_is(rp.attribute(model, x, target, f"grad-cam:layer={layer}"), wanted)
    if default:
        assert_is(rp.attribute(model, x, target, "grad-cam"), wanted)


def test_grad_cam_of_a_residual_network_takes_the_sum_that_its_branches_end_in():
    model, side = NETWORKS["resnet18"]()
    model, x, target = model.double(), torch.randn(2, 3, side, side, dtype=D), torch.tensor([1, 4])
    maps = model.layer4[0](model.layer3(model.layer2(model.layer1(model.maxpool(F.relu(model.bn1(model.conv1(x))))))))
    block = model.layer4[1]
    added = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(maps))))) + maps
    wanted = by_hand(added, model.fc(F.relu(added).mean((2, 3))), target)
    assert_is(rp.attribute(model, x, target, "grad-cam"), wanted)


def test_grad_cam_of_functional_code_needs_no_modules():
    first, second, fc = (torch.randn(s, dtype=D) * 0.3 for s in ((6, 3, 3, 3), (6, 6, 3, 3), (5, 96)))

    def maps(x):
        x = F.relu(F.conv2d(x, first, padding=1))
        return torch.cat([F.conv2d(x, second, padding=1), x[:, :2].sigmoid() * x[:, 2:4]], 1)[:, :6]

    def function(x):
        return F.linear(F.max_pool2d(F.relu_(maps(x)), 2).flatten(1), fc)

    x, target = pictures(), torch.tensor([1, 4])
    with torch.enable_grad():
        found = maps(x.requires_grad_())
        logits = F.linear(F.max_pool2d(F.relu(found), 2).flatten(1), fc)
    R = rp.attribute(function, x.detach(), target, "grad-cam")
    cat = torch.autograd.grad(logits.gather(1, target[:, None]).sum(), found)[0]
    assert cat.abs().max() > 0
    assert R.max() > 0  # its feature maps are the concatenation: all that is cut off weighs nothing
    assert_is(R, by_hand(found, F.linear(F.max_pool2d(F.relu(found), 2).flatten(1), fc), target))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("featuers.28", "no layer 'featuers.28' on the way to the logits; did you mean features.28"),
        ("classifier.0", r"layer 'classifier.0' gives \(1, 128\), which are no feature maps .*'features.30', say"),
    ],
)
def test_a_layer_that_grad_cam_cannot_take(layer, message):
    with pytest.raises(rp.InputError, match=message):
        rp.attribute(embedded.load("digits-deep"), torch.randn(1, 3, 64, 64), 1, f"grad-cam:layer={layer}")


def test_grad_cam_without_convolutions_is_an_error():
    with pytest.raises(rp.InputError, match="has no convolution before its fully connected layers"):
        rp.attribute(small(nn.Flatten(), nn.Linear(192, 5)), pictures(), 1, "grad-cam")


@pytest.mark.parametrize("method", ["cam", "grad-cam"])
def test_one_and_three_axes_of_space(method):
    for axes, conv, pool in ((1, nn.Conv1d, nn.AdaptiveAvgPool1d), (3, nn.Conv3d, nn.AdaptiveAvgPool3d)):
        model = small(conv(3, 4, 3, stride=2, padding=1), nn.ReLU(), pool(1), nn.Flatten(), nn.Linear(4, 5))
        x = pictures(2, 3, *[8] * axes)
        R = rp.attribute(model, x, 1, method)
        assert R.shape == x.shape
        assert R.abs().max() > 0


# -- methods of the user's own -----------------------------------------------------------------------

MODULE = """
import torch
import relprop as rp

from helper import factor


def edges(model, x, target):
    return factor * x.abs()


def of_class(model, x, target):
    return torch.zeros_like(x) + target.view(-1, 1, 1, 1)


def narrow(model, x, target):
    return x[:, :1]


def broken(model, x, target):
    return x / 0 if target.any() is None else {}["no such key"]


class Holder:
    @staticmethod
    def inner(model, x, target):
        return x


number = 3
composite = rp.Composite([(rp.on.weighted, rp.rules.Gamma(0.5))])
"""


@pytest.fixture
def _own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    for name in ("mine", "helper", "wrong", "needing"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "helper.py").write_text("factor = 2\n")
    (tmp_path / "wrong.py").write_text("def f(:\n")
    (tmp_path / "needing.py").write_text("import something_that_is_not_there\n")
    yield
    for name in ("mine", "helper", "wrong", "needing"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("_own")
def test_a_method_of_the_users_own_by_name():
    model, x = plain(), pictures()
    e = rp.explain(model, x, [1, 3], ["mine:edges", "mine:of_class", "mine:Holder.inner", "lrp-z", "mine:composite"])
    assert torch.equal(e.relevance["mine:edges"][0], 2 * x.abs())
    assert e.relevance["mine:of_class"].flatten(1).unique(dim=1).tolist() == [[1.0], [3.0]]
    gamma = rp.Composite([(rp.on.weighted, rp.rules.Gamma(0.5))])
    assert torch.equal(e.relevance["mine:composite"][1], rp.attribute(model, x, 3, gamma))
    assert set(e.ledger) == {"lrp-z", "mine:composite"}
    import mine  # noqa: PLC0415 - written by the fixture

    assert torch.equal(rp.attribute(model, x, 1, mine.edges), rp.attribute(model, x, 1, "mine:edges"))
    named = rp.explain(model, x, [1], {"a": "mine:edges", "b": mine.edges, "c": "cmp-alpha1"})
    assert torch.equal(named.relevance["a"], named.relevance["b"])
    assert len(rp.plan(model, x, "mine:composite")) > 0


@pytest.mark.usefixtures("_own")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine:egdes", r"no 'egdes' in .*mine.py; did you mean edges"),
        ("mine:number", "is of type int; it must be a function"),
        ("mine:Holder.outer", "no 'outer' in Holder; choose from inner"),
        ("mine:number.outer", "no 'outer' in int"),
        ("mien:edges", "no module 'mien'; did you mean mine"),
        ("gradcam:layer", "no module 'gradcam'; did you mean grad-cam"),
        ("wrong:f", "importing wrong failed: SyntaxError: .*wrong.py, line 1"),
        ("needing:f", "importing needing failed: .*No module named 'something_that_is_not_there' .needing.py, line 1"),
        ("mine:narrow", r"'it' returned \(2, 1, 8, 8\), and must return a tensor of x's shape"),
        ("mine:broken", r"method 'mine:broken' failed: KeyError: 'no such key' \(mine.py, line \d+\)"),
        ("mine:", "no method is named 'mine:'"),
        (":edges", "no method is named ':edges'"),
        ("cmp-alpha1-falt:layers=3", "no method is named .*; did you mean cmp-alpha1-flat"),
        ("gradient:edges", "no option 'edges'; it takes none"),
    ],
)
def test_what_is_wrong_with_a_method_of_the_users_own(name, message):
    with pytest.raises(rp.InputError, match=message) as caught:
        rp.attribute(plain(), pictures(), 1, name)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("_own")
def test_every_command_takes_methods_of_the_users_own():
    def call(*words, code=0):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == code, result.output
        return result

    words = ("--model", "digits-shallow", "--json")
    told = json.loads(call("explain", *words, "--raw", "--method", "mine:edges", "--method", "lrp-z").stdout)
    assert [e["method"] for e in told["explanations"]] == ["mine:edges", "lrp-z"]
    assert told["files"][1:] == ["relprop-explain.mine_edges.npy", "relprop-explain.lrp-z.npy"]
    names = "mine:edges,cmp-alpha1-flat:layers=3,eps=0.1,smoothgrad:samples=2,seed=3,uniform"
    told = json.loads(call("study", *words, "--limit", "2", "--no-occlusion", "--methods", names).stdout)
    assert told["methods"] == [
        "mine:edges",
        "cmp-alpha1-flat:layers=3,eps=0.1",
        "smoothgrad:samples=2,seed=3",
        "uniform",
    ]
    call("report", "relprop-study")
    failed = call("explain", "--model", "digits-shallow", "--method", "mine:egdes", code=1)
    assert failed.stderr.endswith("mine.py; did you mean edges?\n")
    assert failed.stderr.count("\n") == 1


def test_a_modules_place_is_the_current_folder_in_a_process_of_its_own(tmp_path):
    (tmp_path / "mine.py").write_text("def ones(model, x, target):\n    return x * 0 + 1\n")
    code = "from relprop.cli import main; main()"
    words = ["explain", "--model", "digits-shallow", "--method", "mine:ones", "--json"]
    result = subprocess.run(
        [sys.executable, "-P", "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["explanations"][0]["relevance_sum"] == 3 * 64 * 64


def test_names_of_files_are_fit_for_every_file_system(tmp_path):
    for method, name in {
        "cmp-alpha1-flat:head=features.*,eps=0.1": "f.cmp-alpha1-flat_head=features._,eps=0.1.npy",
        "mine:edges": "f.mine_edges.npy",
        "pattern-net:patterns=C:\\a|b?/c": "f.pattern-net_patterns=C__a_b__c.npy",
    }.items():
        assert _raw_path(tmp_path / "f.png", method, 2).name == name
