"""Patterns: learned as the paper's formulas say, kept in a file that belongs to one network, and explained with."""

import itertools
import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from typer.testing import CliRunner

import relprop as rp
from conftest import randomised
from relprop.catalogue.pattern_fit import Fitter, fit_patterns
from relprop.catalogue.pattern_rules import pattern_attribution, pattern_net
from relprop.catalogue.patterns import ESTIMATORS, Pattern, PatternError, Patterns, parse
from relprop.cli import app
from relprop.commands import patterns as command
from relprop.commands.patterns import spread
from relprop.data.pictures import PictureError
from relprop.models.networks import digits
from relprop.study.task import METHODS, Task
from relprop.support.fingerprint import weights_hash

TWO, WITH_BIAS, LINEAR = ESTIMATORS


class Model(nn.Module):
    """What a function of a ModuleDict makes of x, as (B, C)."""

    def __init__(self, run, **parts):
        super().__init__()
        self.parts = nn.ModuleDict(parts)
        self.run = run

    def forward(self, x):
        return self.run(self.parts, x).flatten(1)


def learned(patterns, key):
    return patterns.layers[key].a.double().numpy()


# The signal is recovered where it is known


def one_neuron(w, b=0.0):
    """A neuron with a ReLU, and a last layer that hands its output on."""
    model = nn.Sequential(nn.Linear(len(w), 1), nn.ReLU(), nn.Linear(1, 1)).double().eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([w]))
        model[0].bias.fill_(b)
        model[2].weight.fill_(1.0)
        model[2].bias.fill_(0.0)
    return model


SIGNAL, DISTRACTOR, FILTER = np.array([1.0, 0.0]), np.array([1.0, 1.0]), [1.0, -1.0]  # the example of section 2
N = 20_000


def test_the_linear_example_of_the_paper():
    rng = np.random.default_rng(0)
    u, eps = rng.normal(0, 1, N), rng.normal(0.5, 2, N)
    x = torch.from_numpy(np.outer(u, SIGNAL) + np.outer(eps, DISTRACTOR))
    model = nn.Linear(2, 1).double().eval()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([FILTER]))
        model.bias.fill_(0.7)
    assert torch.allclose(model(x)[:, 0] - 0.7, torch.from_numpy(u))  # the filter cancels the distractor
    patterns = fit_patterns(model, x.split(1000))
    a = learned(patterns, "#1")[0]
    error = 5 * 2 / np.sqrt(N)  # five standard errors of cov[u, eps] / var[u]
    assert np.abs(a - SIGNAL).max() < error
    assert np.abs(np.array(FILTER) - SIGNAL).max() >= 1  # which is not what the filter looks like
    y = model(x[:3]).detach()
    signal = rp.attribute(model, x[:3], 0, pattern_net(patterns))
    assert torch.allclose(signal, y * torch.from_numpy(a))
    attribution = rp.attribute(model, x[:3], 0, pattern_attribution(patterns))
    assert torch.allclose(attribution, y * torch.from_numpy(a) * model.weight.detach())
    assert torch.allclose(attribution.sum(1, keepdim=True), y)


@pytest.mark.parametrize("estimator", [TWO, WITH_BIAS])
def test_a_neuron_that_fires_for_one_signal_and_is_silent_for_another(estimator):
    """Where y > 0 the signal has one direction, elsewhere another: only the two-component estimator keeps to one."""
    rng = np.random.default_rng(1)
    u, eps = rng.normal(0, 1, N), rng.normal(0, 0.5, N)
    silent = np.array([3.0, 2.0])  # w^T silent = 1 as well
    direction = np.where(u[:, None] > 0, SIGNAL, silent)
    x = torch.from_numpy(u[:, None] * direction + np.outer(eps, DISTRACTOR))
    model = one_neuron(FILTER)
    error = 5 * 0.5 / np.sqrt(N / 2)  # five standard errors of E_+[eps y] / E_+[y^2], where E[y] is about 0
    found = learned(fit_patterns(model, x.split(1000), estimator=estimator), "0#1")[0]
    assert np.abs(found - SIGNAL).max() < error
    mixed = learned(fit_patterns(model, x.split(1000), estimator=LINEAR), "0#1")[0]
    assert np.abs(mixed - SIGNAL).max() > 0.5


def test_with_a_bias_the_papers_estimator_keeps_the_length_and_the_other_shares_it_with_the_bias():
    rng = np.random.default_rng(2)
    u, eps = rng.normal(0, 1, N), rng.normal(0, 0.5, N)
    x = torch.from_numpy(np.outer(u, SIGNAL) + np.outer(eps, DISTRACTOR))
    model = one_neuron(FILTER, 0.5)
    y = u + 0.5
    fired = y > 0
    error = 5 * 0.5 / np.sqrt(N / 2)
    assert np.abs(learned(fit_patterns(model, x.split(500)), "0#1")[0] - SIGNAL).max() < error
    own, whole = (np.mean((v * y)[fired]) - np.mean(v[fired]) * y.mean() for v in (u, y))
    share = own / whole
    found = learned(fit_patterns(model, x.split(500), estimator=WITH_BIAS), "0#1")[0]
    assert 0.2 < share < 0.95
    assert np.abs(found - share * SIGNAL).max() < error


def test_a_neuron_that_fires_against_its_inputs_is_told():
    rng = np.random.default_rng(3)
    x = torch.from_numpy(np.outer(rng.normal(-5, 1, N), SIGNAL))
    model = one_neuron(FILTER, 5.0)  # w^T x is -5 on average: it fires where that is above -5
    fitter = Fitter(model)
    fitter.add(x)
    assert fitter.against == 1
    careful = Fitter(model, WITH_BIAS)
    careful.add(x)
    assert careful.against == 0


# The formulas, on every kind of layer, against NumPy on unrolled patches


def patches(x, kernel, places, stride, padding, dilation, transposed):
    """What each output position sees, (B, positions, channels, *kernel), zeros where it sees padding."""
    out = np.zeros((len(x), int(np.prod(places)), x.shape[1], *kernel))
    for n, place in enumerate(itertools.product(*map(range, places))):
        for tap in itertools.product(*map(range, kernel)):
            at = []
            for o, k, s, p, d in zip(place, tap, stride, padding, dilation, strict=True):
                i = o + p - k * d if transposed else o * s - p + k * d
                at.append(i // s if transposed and i % s == 0 else (-1 if transposed else i))
            if all(0 <= i < size for i, size in zip(at, x.shape[2:], strict=True)):
                out[(slice(None), n, slice(None), *tap)] = x[(slice(None), slice(None), *at)]
    return out


def formula(x, w, b, estimator):
    """The pattern of one neuron by eq. 4 or 8, of inputs x (N, I), a weight (I,) and a bias."""
    y = x @ w + b
    fired = y > 0 if estimator != LINEAR else np.ones(len(y), dtype=bool)
    numerator = (x * y[:, None])[fired].mean(0) - x[fired].mean(0) * y.mean()
    if estimator == WITH_BIAS:  # the bias is one more weight, of an input that is always 1
        x, w = np.concatenate([x, np.ones((len(x), 1))], 1), np.append(w, b)
        whole = (x * y[:, None])[fired].mean(0) - x[fired].mean(0) * y.mean()
        return numerator / (w @ whole)
    return numerator / (w @ numerator)


def expected(x, w, b, estimator, *, groups=1, transposed=False, stride=1, padding=0, dilation=1, places):
    """The patterns of a whole convolution, in its weight's shape."""
    axes = w.ndim - 2
    spread_ = [list(v) if isinstance(v, tuple) else [v] * axes for v in (stride, padding, dilation)]
    seen = patches(x, w.shape[2:], places, *spread_, transposed)
    result = np.zeros_like(w)
    per_group = x.shape[1] // groups
    outputs = w.shape[1] * groups if transposed else w.shape[0]
    for o in range(outputs):
        group, inner = divmod(o, outputs // groups)
        inputs = slice(group * per_group, (group + 1) * per_group)
        mine = (inputs, inner) if transposed else o
        own = w[mine]
        flat = seen[:, :, inputs].reshape(-1, own.size)
        result[mine] = formula(flat, own.ravel(), b[o], estimator).reshape(own.shape)
    return result


CONVOLUTIONS = {
    "plain": (nn.Conv2d, (3, 4, 3), {}, (7, 6)),
    "stride and padding": (nn.Conv2d, (3, 4, (3, 2)), {"stride": (2, 1), "padding": (2, 1)}, (7, 6)),
    "groups and dilation": (nn.Conv2d, (4, 6, 3), {"groups": 2, "dilation": 2, "padding": 2}, (7, 7)),
    "depthwise": (nn.Conv2d, (4, 4, 3), {"groups": 4, "padding": 1}, (5, 5)),
    "one axis": (nn.Conv1d, (3, 4, 3), {"stride": 2, "padding": 1}, (9,)),
    "three axes": (nn.Conv3d, (2, 3, 2), {"padding": 1}, (4, 3, 3)),
    "transposed": (nn.ConvTranspose2d, (3, 4, 3), {"stride": 2, "padding": 1, "output_padding": 1}, (4, 3)),
    "transposed, groups": (nn.ConvTranspose2d, (4, 6, 2), {"groups": 2, "stride": 2}, (3, 3)),
    "transposed, one axis": (nn.ConvTranspose1d, (2, 3, 3), {"stride": 2}, (5,)),
}


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_are_fitted_as_the_formulas_say(name, estimator):
    kind, sizes, options, shape = CONVOLUTIONS[name]
    model = randomised(Model(lambda p, x: p["conv"](x).relu(), conv=kind(*sizes, **options)))
    x = torch.randn(12, sizes[0], *shape, dtype=torch.float64) + 0.5
    conv = model.parts["conv"]
    y = conv(x)
    assert min((y > 0).transpose(0, 1).flatten(1).sum(1)) > 5
    w, b = conv.weight.detach().numpy(), conv.bias.detach().numpy()
    known = {k: v for k, v in options.items() if k != "output_padding"}
    wanted = expected(x.numpy(), w, b, estimator, transposed="Transpose" in kind.__name__, places=y.shape[2:], **known)
    found = fit_patterns(model, x.split(5), estimator=estimator)
    assert found.layers["parts.conv#1"].estimator == estimator
    np.testing.assert_allclose(learned(found, "parts.conv#1"), wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_a_kernel_of_even_size_that_keeps_the_size():
    model = randomised(Model(lambda p, x: p["conv"](x).relu(), conv=nn.Conv2d(2, 3, (4, 3), padding="same")))
    x = torch.randn(9, 2, 5, 5, dtype=torch.float64)
    w, b = (t.detach().numpy() for t in (model.parts["conv"].weight, model.parts["conv"].bias))
    padded = np.pad(x.numpy(), [(0, 0), (0, 0), (1, 2), (1, 1)])
    wanted = expected(padded, w, b, TWO, places=(5, 5))
    np.testing.assert_allclose(learned(fit_patterns(model, [x]), "parts.conv#1"), wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_batchnorm_that_follows_is_part_of_the_layer(estimator):
    model = randomised(
        Model(
            lambda p, x: p["fc"](p["norm"](p["conv"](x)).relu().flatten(1)),
            conv=nn.Conv2d(3, 4, 3, padding=1),
            norm=nn.BatchNorm2d(4),
            fc=nn.Linear(64, 3),
        )
    )
    x = torch.randn(12, 3, 4, 4, dtype=torch.float64)
    conv, norm = model.parts["conv"], model.parts["norm"]
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach()
    w = (conv.weight.detach() * scale.view(-1, 1, 1, 1)).numpy()
    b = ((conv.bias - norm.running_mean).detach() * scale + norm.bias.detach()).numpy()
    wanted = expected(x.numpy(), w, b, estimator, padding=1, places=(4, 4))
    found = fit_patterns(model, x.split(5), estimator=estimator)
    assert set(found.layers) == {"parts.conv#1", "parts.fc#1"}
    np.testing.assert_allclose(learned(found, "parts.conv#1"), wanted, rtol=1e-10, atol=1e-10)


CALLS = {
    "linear": (lambda w, b: lambda x: F.linear(x, w, b), 0),
    "linear on a sequence": (lambda w, b: lambda x: F.linear(x.view(-1, 2, 4), w[:, :4], b).relu().flatten(1), 0),
    "product": (lambda w, b: lambda x: x @ w.T, 0),
    "from the left": (lambda w, b: lambda x: (w @ x.view(-1, 8, 1)).flatten(1), 0),
    "addmm": (lambda w, b: lambda x: torch.addmm(b, x, w.T), 0),
}


@pytest.mark.parametrize("name", CALLS)
def test_linear_layers_and_products_are_fitted_as_the_formula_says(name):
    w, b = torch.randn(5, 8, dtype=torch.float64), 0.1 * torch.randn(5, dtype=torch.float64)
    run = CALLS[name][0](w, b)
    x = torch.randn(40, 8, dtype=torch.float64) + 0.3
    has_bias = name not in ("product", "from the left")
    found = learned(fit_patterns(lambda x: run(x).relu(), x.split(9)), "#1")
    seen, own = (x.numpy().reshape(-1, 4), w.numpy()[:, :4]) if "sequence" in name else (x.numpy(), w.numpy())
    wanted = np.stack([formula(seen, own[o], float(b[o]) if has_bias else 0.0, TWO) for o in range(5)])
    np.testing.assert_allclose(found.T if name in ("product", "addmm") else found, wanted, rtol=1e-10, atol=1e-10)


def test_what_an_inplace_relu_overwrites_is_fitted_as_it_was():
    def model(*, inplace):
        torch.manual_seed(2)
        return randomised(
            Model(
                lambda p, x: p["b"](F.relu(p["norm"](p["a"](x)), inplace=inplace)),
                a=nn.Conv2d(3, 4, 3),
                norm=nn.BatchNorm2d(4),
                b=nn.Conv2d(4, 5, 3),
            )
        )

    x = torch.randn(9, 3, 6, 6, dtype=torch.float64)
    for estimator in ESTIMATORS:
        plain, over = (fit_patterns(model(inplace=inplace), [x], estimator=estimator) for inplace in (False, True))
        for key, pattern in plain.layers.items():
            torch.testing.assert_close(over.layers[key].a, pattern.a)


def small():
    """Convolutions with all that a pattern has to find its way through."""
    return randomised(
        Model(
            lambda p, x: p["fc"](p["pool"](p["b"](F.relu(p["norm"](p["a"](x)))).relu()).flatten(1)),
            a=nn.Conv2d(3, 4, 3, padding=1),
            norm=nn.BatchNorm2d(4),
            b=nn.Conv2d(4, 6, 3, padding=1),
            pool=nn.MaxPool2d(2),
            fc=nn.Linear(6 * 9, 5),
        )
    )


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_how_inputs_come_in_batches_makes_no_difference(estimator):
    model, x = small(), torch.randn(14, 3, 6, 6, dtype=torch.float64)
    whole = fit_patterns(model, [x], estimator=estimator)
    for split in (1, 3, [4, 9, 1]):
        parts = fit_patterns(model, ((part, "labels") for part in x.split(split)), estimator=estimator)
        assert parts.samples == whole.samples == 14
        for key in whole.layers:
            torch.testing.assert_close(parts.layers[key].a, whole.layers[key].a, rtol=1e-9, atol=1e-11)


def test_float32_is_accurate_and_leaves_the_model_as_it_was():
    model = small()
    x = torch.randn(64, 3, 6, 6, dtype=torch.float64)
    exact = fit_patterns(model, x.split(16))
    single = model.float()
    before = {key: value.clone() for key, value in single.state_dict().items()}
    found = fit_patterns(single, x.float().split(16))
    assert all(torch.equal(value, before[key]) for key, value in single.state_dict().items())
    for key in exact.layers:
        a, b = found.layers[key].a.double(), exact.layers[key].a
        assert (a - b).norm() < 1e-4 * b.norm()


def test_each_call_of_a_shared_layer_has_its_own_patterns():
    shared = nn.Linear(6, 6)
    model = randomised(Model(lambda p, x: p["out"](p["l"](p["l"](x).relu()).relu()), l=shared, out=nn.Linear(6, 2)))
    x = torch.randn(50, 6, dtype=torch.float64)
    found = fit_patterns(model, [x])
    assert list(found.layers) == ["parts.l#1", "parts.l#2", "parts.out#1"]
    w, b = shared.weight.detach().numpy(), shared.bias.detach().numpy()
    hidden = np.maximum(x.numpy() @ w.T + b, 0)
    for key, seen in (("parts.l#1", x.numpy()), ("parts.l#2", hidden)):
        wanted = np.stack([formula(seen, w[o], b[o], TWO) for o in range(6)])
        np.testing.assert_allclose(learned(found, key), wanted, rtol=1e-9, atol=1e-10)
    assert torch.isfinite(rp.attribute(model, x[:2], 0, pattern_attribution(found))).all()


FOLLOWED = {
    "relu": (lambda p, x: p["c"](x).relu(), TWO),
    "relu in place": (lambda p, x: F.relu_(p["c"](x)), TWO),
    "relu6": (lambda p, x: F.relu6(p["c"](x)), TWO),
    "clamp": (lambda p, x: p["c"](x).clamp(min=0), TWO),
    "batchnorm, then relu": (lambda p, x: p["n"](p["c"](x)).relu(), TWO),
    "pooled, then relu": (lambda p, x: F.max_pool2d(p["c"](x), 2).relu(), TWO),
    "concatenated, then relu": (lambda p, x: torch.cat([p["c"](x), x], 1).relu(), TWO),
    "nothing": (lambda p, x: p["c"](x), LINEAR),
    "sigmoid": (lambda p, x: p["c"](x).sigmoid(), LINEAR),
    "leaky": (lambda p, x: F.leaky_relu(p["c"](x)), LINEAR),
    "bounded elsewhere": (lambda p, x: p["c"](x).clamp(min=-1), LINEAR),
    "added, then relu": (lambda p, x: (p["c"](x) + x).relu(), LINEAR),
    "relu and a way around it": (lambda p, x: torch.cat([p["c"](x).relu(), p["c"](x)], 1)[:, :6], TWO),
    "read twice": (lambda p, x: torch.cat([f(y) for y in [p["c"](x)] for f in (F.relu, F.tanh)], 1), LINEAR),
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_which_estimator_a_layer_gets(name):
    run, wanted = FOLLOWED[name]
    model = randomised(Model(run, c=nn.Conv2d(3, 3, 3, padding=1), n=nn.BatchNorm2d(3)))
    x = torch.randn(6, 3, 4, 4, dtype=torch.float64)
    assert fit_patterns(model, [x]).layers["parts.c#1"].estimator == wanted
    assert fit_patterns(model, [x], estimator=LINEAR).layers["parts.c#1"].estimator == LINEAR


def test_neurons_that_never_fire_or_never_vary_have_no_pattern():
    model = randomised(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.float32)
    with torch.no_grad():
        model[0].bias[0] = -100.0
        model[0].weight[1] = 0.0
        model[0].bias[1] = 3.0
    for estimator in ESTIMATORS:
        found = fit_patterns(model, torch.randn(300, 4).split(50), estimator=estimator)
        a = found.layers["0#1"].a
        assert (a[0] == 0).all() == (estimator != LINEAR)  # over all data its output does vary
        assert (a[1] == 0).all()
        assert (a[2] != 0).all()
        assert found.layers["2#1"].a[:, 1].abs().max() < 1e-4  # it tells nothing of what comes after
        assert torch.isfinite(rp.attribute(model, torch.randn(3, 4), 0, pattern_net(found))).all()


# Explaining


class Rich(nn.Module):
    """A residual block, a concatenation, a max-pool and a mean."""

    def __init__(self):
        super().__init__()
        self.a, self.n = nn.Conv2d(3, 4, 3, padding=1, stride=1), nn.BatchNorm2d(4)
        self.b, self.c = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(8, 5, 1)
        self.fc = nn.Linear(5, 3)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.n(self.a(x))), 2)
        x = F.relu(self.b(x) + x)
        return self.fc(F.relu(self.c(torch.cat([x, x.flip(1)], 1))).mean((2, 3)))


def merged_weights(model, x, **norms):
    """Patterns, and in their place the weight of each call, times what the BatchNorm named for it scales by."""
    found = fit_patterns(model, [x])
    weights = {}
    for key in found.layers:
        path = key.partition("#")[0]
        w = weights[key] = model.get_submodule(path).weight.detach()
        if path.rpartition(".")[2] in norms:
            norm = model.get_submodule(norms[path.rpartition(".")[2]])
            scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach()
            weights[key] = w * scale.view(-1, *[1] * (w.ndim - 1))
    return found, weights


def replaced(patterns, weights):
    return Patterns({k: Pattern(weights[k], p.estimator) for k, p in patterns.layers.items()}, patterns.model_sha256, 1)


def test_with_weights_for_patterns_both_are_the_gradient():
    model, x = randomised(Rich()), torch.randn(6, 3, 8, 8, dtype=torch.float64)
    patterns, weights = merged_weights(model, x, a="n")
    ones = {key: torch.ones_like(w) for key, w in weights.items()}
    for target in (0, 2):
        slope = rp.attribute(model, x, target, "gradient")
        logit = model(x)[:, target].view(-1, 1, 1, 1).detach()
        for composite in (pattern_net(replaced(patterns, weights)), pattern_attribution(replaced(patterns, ones))):
            torch.testing.assert_close(rp.attribute(model, x, target, composite, start="one"), slope)
            torch.testing.assert_close(rp.attribute(model, x, target, composite), slope * logit)


def test_attribution_is_the_gradient_of_weights_times_patterns():
    model, x = randomised(Rich()), torch.randn(6, 3, 8, 8, dtype=torch.float64)
    patterns, weights = merged_weights(model, x, a="n")
    product = {key: weights[key] * patterns.layers[key].a for key in weights}
    by_net = rp.attribute(model, x, 1, pattern_net(replaced(patterns, product)))
    torch.testing.assert_close(rp.attribute(model, x, 1, pattern_attribution(patterns)), by_net)


def test_attribution_hands_on_the_logit_where_neither_padding_nor_silent_neurons_take_part_of_it():
    model = randomised(nn.Sequential(nn.Conv2d(3, 6, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24, 4)))
    x = torch.randn(40, 3, 6, 6, dtype=torch.float64)
    patterns = fit_patterns(model, x.split(8))
    R = rp.attribute(model, x, 1, pattern_attribution(patterns))
    torch.testing.assert_close(R.flatten(1).sum(1), model(x)[:, 1].detach())


def test_the_shares_of_a_neurons_inputs_are_all_of_it_unless_the_bias_has_one():
    model, x = small(), torch.randn(30, 3, 6, 6, dtype=torch.float64)
    _, weights = merged_weights(model, x, a="parts.norm")
    for estimator in ESTIMATORS:
        for key, pattern in fit_patterns(model, [x], estimator=estimator).layers.items():
            shares = (weights[key] * pattern.a).flatten(1).sum(1)
            whole = torch.allclose(shares, torch.ones_like(shares))
            assert whole == (pattern.estimator != WITH_BIAS)


def test_a_batchnorm_of_its_own_has_the_only_pattern_it_can_have():
    model = randomised(
        Model(
            lambda p, x: p["fc"](p["n"](F.max_pool2d(p["a"](x), 2)).flatten(1)),
            a=nn.Conv2d(3, 4, 1),
            n=nn.BatchNorm2d(4),
            fc=nn.Linear(16, 3),
        )
    )
    x = torch.randn(20, 3, 4, 4, dtype=torch.float64)
    patterns = fit_patterns(model, [x])
    R = rp.attribute(model, x, 1, pattern_attribution(patterns))
    torch.testing.assert_close(R.flatten(1).sum(1), model(x)[:, 1].detach())
    assert "Pass()" in str(rp.plan(model, x, pattern_attribution(patterns)))
    norm = model.parts["n"]
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach()
    signal = rp.attribute(model, x, 1, pattern_net(patterns))
    weights = {key: p.a for key, p in patterns.layers.items()}
    with torch.no_grad():  # the same through a hand-made way back
        y = model(x)[:, 1]
        R = y[:, None] * weights["parts.fc#1"][1]
        R = R.view(-1, 4, 2, 2) / scale.view(-1, 1, 1)
    a = model.parts["a"](x).detach().requires_grad_()
    (R,) = torch.autograd.grad(F.max_pool2d(a, 2), a, R)
    wanted = torch.einsum("bohw,oi->bihw", R, weights["parts.a#1"][:, :, 0, 0])
    torch.testing.assert_close(signal, wanted)


def test_methods_travel_together_and_batches_do_not_matter():
    model, x = randomised(Rich()), torch.randn(5, 3, 8, 8, dtype=torch.float64)
    vars(model)["patterns"] = fit_patterns(model, [x])
    names = ["pattern-net", "lrp-z", "pattern-attribution", "guided-backprop"]
    e = rp.explain(model, x, [0, 1], names)
    assert set(e.ledger) == {"lrp-z"}  # gradients are not conserved
    for t, name in itertools.product((0, 1), names):
        for b in (0, 4):
            torch.testing.assert_close(e.relevance[name][t, b], rp.attribute(model, x[b : b + 1], t, name)[0])


# Whose patterns they are


def test_patterns_of_another_network_are_refused():
    model, x = small(), torch.randn(8, 3, 6, 6, dtype=torch.float64)
    vars(model)["patterns"] = fit_patterns(model, [x])
    before = rp.attribute(model, x, 0, "pattern-attribution")
    with torch.no_grad():
        model.parts["b"].weight.view(-1)[7] += 1e-6
    with pytest.raises(PatternError, match=r"another network.*rp\.fit_patterns"):
        rp.attribute(model, x, 0, "pattern-attribution")
    with torch.no_grad():
        model.parts["b"].weight.view(-1)[7] -= 1e-6
    model.parts["norm"].running_mean.data[2] += 1  # what no version counter sees
    with pytest.raises(PatternError, match="weights have changed"):
        rp.attribute(model, x, 0, "pattern-net")
    assert torch.isfinite(before).all()


def test_precision_is_no_other_network(tmp_path):
    model, x = small().float(), torch.randn(8, 3, 6, 6)
    patterns = fit_patterns(model, [x])
    vars(model)["patterns"] = patterns
    single = rp.attribute(model, x, 0, "pattern-attribution")
    double = rp.attribute(model.double(), x.double(), 0, "pattern-attribution")
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=1e-4 * float(double.abs().max()))
    assert weights_hash(small()) != patterns.model_sha256
    assert weights_hash(lambda x: x) == ""


def test_without_patterns_it_is_said_how_to_get_some(tmp_path):
    model, x = small(), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    with pytest.raises(rp.InputError, match=r"relprop patterns.*pattern-attribution:patterns=FILE"):
        rp.attribute(model, x, 0, "pattern-attribution")
    with pytest.raises(rp.InputError, match="did you mean patterns"):
        rp.attribute(model, x, 0, "pattern-net:pattern=a")
    fit_patterns(model, [x]).save(tmp_path / "mine.safetensors")
    with pytest.raises(PatternError, match=r"no such file; did you mean mine\.safetensors"):
        rp.attribute(model, x, 0, f"pattern-net:patterns={tmp_path}/mien.safetensors")
    with pytest.raises(PatternError, match="cannot be read"):
        Patterns.load(tmp_path)


def test_layers_and_shapes_must_be_the_networks():
    def run(width):
        w = torch.randn(3, width, dtype=torch.float64)
        return lambda x: F.linear(x[:, :width], w)

    x = torch.randn(9, 6, dtype=torch.float64)
    found = fit_patterns(run(4), [x])
    with pytest.raises(PatternError, match=r"#1 has shape \(3, 4\), its weight \(3, 5\)"):
        rp.attribute(run(5), x, 0, pattern_net(found))
    first, second = run(4), run(4)
    with pytest.raises(PatternError, match=r"no pattern for .*#2"):
        rp.attribute(lambda x: second(first(torch.cat([x, x], 1)).repeat(1, 2)), x, 0, pattern_net(found))


def test_what_cannot_be_fitted():
    model, x = small(), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    with pytest.raises(rp.InputError, match="batches are empty"):
        fit_patterns(model, [])
    with pytest.raises(rp.InputError, match="did you mean linear"):
        fit_patterns(model, [x], estimator="linaer")
    with pytest.raises(rp.InputError, match="no convolution or linear layer"):
        fit_patterns(lambda x: x.flatten(1), [x])
    with pytest.raises(rp.InputError, match="training mode"):
        fit_patterns(model.train(), [x])
    with pytest.raises(rp.InputError, match="must be a tensor"):
        fit_patterns(model.eval(), [["labels"]])
    fitter = Fitter(model)
    fitter.add(x)
    with torch.no_grad():
        model.parts["a"].bias.add_(1)
    with pytest.raises(rp.InputError, match="changed while"):
        fitter.patterns()


# The file


def test_a_file_says_what_was_fitted(tmp_path):
    model, x = small().float(), torch.randn(8, 3, 6, 6)
    patterns = rp.fit_patterns(model, x.split(3))
    file = tmp_path / "some, patterns.safetensors"  # options are divided by commas, this is one name all the same
    patterns.save(file)
    read = rp.Patterns.load(file)
    assert (read.samples, read.model_sha256, read.digest) == (8, weights_hash(model), patterns.digest)
    assert {k: p.estimator for k, p in read.layers.items()} == {k: p.estimator for k, p in patterns.layers.items()}
    assert all(torch.equal(read.layers[key].a, patterns.layers[key].a) for key in patterns.layers)
    vars(model)["patterns"] = patterns
    for method in ("pattern-net", "pattern-attribution"):
        by_file = rp.attribute(model, x, 1, f"{method}:patterns={file}")
        assert torch.equal(by_file, rp.attribute(model, x, 1, method))
    patterns.save(tmp_path / "half.safetensors", torch.float16)
    half = rp.Patterns.load(tmp_path / "half.safetensors")
    assert half.digest != patterns.digest
    mine, theirs = (each.layers["parts.fc#1"].a.float() for each in (half, patterns))
    torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)
    huge = Patterns({"a#1": Pattern(torch.full((2, 2), 1e6), LINEAR)}, "", 1)
    with pytest.raises(PatternError, match="does not fit into"):
        huge.save(tmp_path / "huge.safetensors", torch.float16)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["half.safetensors", "some, patterns.safetensors"]


def test_a_file_that_is_written_again_is_read_again(tmp_path):
    model, x = small().float(), torch.randn(9, 3, 6, 6)
    file = tmp_path / "a.safetensors"
    maps = []
    for part in (x[:4], x[4:]):
        rp.fit_patterns(model, [part]).save(file)
        maps.append(rp.attribute(model, x[:1], 1, f"pattern-net:patterns={file}"))
    assert not torch.allclose(*maps)


def about(**changed):
    """A file's bytes, with something else said of it."""
    said = {
        "format": "relprop-patterns 1",
        "model_sha256": "",
        "samples": "5",
        "estimators": json.dumps({"a#1": LINEAR}),
    }
    return save({"a#1": torch.ones(2, 3)}, {k: v for k, v in (said | changed).items() if v is not None})


def test_what_is_no_file_of_patterns():
    assert parse(about(), "it").samples == 5
    with pytest.raises(PatternError, match="not of patterns"):
        parse(save({"weight": torch.ones(2)}), "it")
    for wrong in (
        {"samples": "many"},
        {"samples": "0"},
        {"samples": None},
        {"model_sha256": None},
        {"estimators": "[]"},
        {"estimators": "[" * 100_000},
        {"estimators": json.dumps({"a#1": "guess"})},
        {"estimators": json.dumps({"a#1": [LINEAR]})},
        {"estimators": json.dumps({"b#1": LINEAR})},
    ):
        with pytest.raises(PatternError, match="damaged"):
            parse(about(**wrong), "it")
    for tensor in (torch.ones(2, 2, dtype=torch.long), torch.ones(3), torch.full((2, 2), torch.nan)):
        said = {"format": "relprop-patterns 1", "model_sha256": "", "samples": "5"}
        with pytest.raises(PatternError, match="damaged"):
            parse(save({"a#1": tensor}, said | {"estimators": json.dumps({"a#1": LINEAR})}), "it")


HOSTILE = """
import random, resource, sys
from pathlib import Path
import torch
from relprop.catalogue.patterns import Patterns, PatternError
from safetensors.torch import load, save

torch.set_num_threads(1)
whole, file = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
Patterns.load(sys.argv[1])
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000,) * 2)
chance, ends = random.Random(0), {"loaded": 0, "refused": 0}
header = 8 + int.from_bytes(whole[:8], "little")
for n in range(int(sys.argv[3])):
    data = bytearray(whole)
    if n % 4 == 0:
        del data[chance.randrange(len(data)):]
    elif n % 4 == 1:
        data[:8] = chance.choice([chance.randrange(2**64), chance.randrange(header * 2)]).to_bytes(8, "little")
    else:
        for _ in range(chance.randrange(1, 8)):  # in the header, mostly
            data[chance.randrange(header if n % 4 == 2 else len(data))] = chance.randrange(256)
    file.write_bytes(data)
    try:
        Patterns.load(file)
    except PatternError as error:
        assert str(file) in str(error) and len(str(error).splitlines()) == 1, error
        ends["refused"] += 1
    else:
        ends["loaded"] += 1
print(ends["loaded"], ends["refused"])
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_damaged_files_are_loaded_or_refused(tmp_path, pytestconfig):
    files, damaged = pytestconfig.getoption("--damaged"), tmp_path / "mutated.safetensors"
    fit_patterns(small().float(), [torch.randn(8, 3, 6, 6)]).save(tmp_path / "whole.safetensors")
    ran = subprocess.run(
        [sys.executable, "-c", HOSTILE, str(tmp_path / "whole.safetensors"), str(damaged), str(files)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    loaded, refused = map(int, ran.stdout.split())
    assert loaded + refused == files
    assert refused > files // 2
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY or refused


# The networks and the study that come with the package


@pytest.mark.parametrize("name", digits.NAMES)
def test_embedded_networks_bring_theirs(name):
    model = rp.models.load(name)
    found = model.patterns
    found.demand(model)
    assert found.samples == 10_000
    assert {pattern.estimator for pattern in found.layers.values()} == {WITH_BIAS, LINEAR}
    last = list(found.layers)[-1]
    assert [key for key, pattern in found.layers.items() if pattern.estimator == LINEAR] == [last]
    x = torch.randn(2, 3, 64, 64)
    e = rp.explain(model, x, [3], ["pattern-net", "pattern-attribution"])
    assert all(R.isfinite().all() and R.abs().max() > 0 for R in e.relevance.values())
    assert not hasattr(rp.models.load(name, "random"), "patterns")


def test_a_study_measures_what_the_network_has_patterns_for():
    from relprop.data.embedded import embedded as data  # noqa: PLC0415 - a name of its own here
    from relprop.data.geometry import like  # noqa: PLC0415

    def task(weights, methods=()):
        model = rp.models.load("digits-shallow", weights)
        return Task("t", data("multi", "test", 3), model, "digits-shallow", like(model.preprocess), {}, methods)

    own = task(None)
    assert tuple(own.methods) == METHODS
    identity = {"sha256": own.model.patterns.digest, "samples": 10_000, "estimators": [LINEAR, WITH_BIAS]}
    assert own.config()["patterns"] == {"pattern-attribution": identity}
    without = task("random")
    assert set(METHODS) - set(without.methods) == {"pattern-attribution"}
    assert "patterns" not in without.config()
    with pytest.raises(rp.InputError, match="relprop patterns"):
        task("random", ("pattern-attribution",)).config()


# The command


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words, code=0):
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == code, result.output
        return result

    return run


def test_the_command_writes_a_file_that_explains(call, tmp_path):
    fitting = ("patterns", "--model", "digits-shallow", "--limit", 24, "--batch", 7)
    told = json.loads(call(*fitting, "--out", "some.safetensors", "--json").stdout)
    assert told["samples"] == 24
    assert told["layers"] == {TWO: 7, LINEAR: 1}
    text = call(*fitting)
    assert "digits-shallow.patterns.safetensors: patterns of 8 layers from 24 pictures" in text.stdout
    assert f"{told['against']} neurons fire by their bias" in text.stderr
    assert "two-component-bias" in text.stderr
    file = tmp_path / "some.safetensors"
    assert Patterns.load(file).digest == Patterns.load(tmp_path / "digits-shallow.patterns.safetensors").digest
    model = rp.models.load("digits-shallow")
    assert rp.attribute(model, torch.randn(1, 3, 64, 64), 2, f"pattern-attribution:patterns={file}").abs().max() > 0
    told = json.loads(call(*fitting, "--estimator", WITH_BIAS, "--json").stdout)
    assert told["against"] == 0


def test_the_command_takes_folders_and_tells_of_what_it_skipped(call, tmp_path):
    folder = tmp_path / "pictures"
    (folder / "within").mkdir(parents=True)
    for k in range(6):
        noise = np.random.default_rng(k).integers(0, 255, (70, 80, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "within" / f"{k}.png")
    (folder / "0.png").write_bytes(b"no picture")
    fitting = ("patterns", "--model", "digits-shallow", "--data", "folder", "--root", folder)
    told = call(*fitting, "--json")
    assert json.loads(told.stdout)["samples"] == 6
    assert "skipped 1 pictures" in told.stderr
    assert json.loads(call(*fitting, "--data", "imagenet", "--limit", 3, "--json").stdout)["samples"] == 2
    for path in (folder / "within").iterdir():
        path.write_bytes(b"")
    assert "none of 7 pictures can be read" in call(*fitting, code=1).stderr
    (tmp_path / "empty").mkdir()
    assert "no pictures in it" in call(*fitting[:-1], tmp_path / "empty", code=1).stderr


def test_the_command_says_what_to_mend(call):
    for words, told in {
        ("--data", "embeded"): "did you mean embedded",
        ("--data", "voc"): "--data voc --root FOLDER",
        ("--model", "digits-dep"): "did you mean digits-deep",
        ("--estimator", "two"): "did you mean two-component",
    }.items():
        line = call("patterns", "--limit", 2, *words, code=1).stderr
        assert told in line
        assert line.startswith("error: ")
        assert line.count("\n") == 1


def test_an_interrupted_command_leaves_nothing_behind(call, tmp_path):
    runs = []

    def interrupted(module, *_):
        if isinstance(module, nn.Linear):  # the last layer: a whole batch went through
            runs.append(module)
            if len(runs) == 2:
                raise KeyboardInterrupt

    handle = register_module_forward_hook(interrupted)
    try:
        line = call("patterns", "--model", "digits-shallow", "--limit", 9, "--batch", 2, code=130).stderr
    finally:
        handle.remove()
    assert len(runs) == 2
    assert line.strip().splitlines()[-1] == "interrupted"
    assert list(tmp_path.iterdir()) == []


def test_a_few_of_many_are_spread_over_all():
    assert spread(list(range(10)), 4) == [0, 2, 5, 7]
    assert spread(list(range(3)), 9) == [0, 1, 2]
    assert spread(list(range(3)), None) == [0, 1, 2]


def test_pictures_that_cannot_be_read_do_not_break_a_batch():
    def broken():
        raise PictureError("a.png: broken")

    skipped = []
    good = [lambda: Image.new("RGB", (64, 64))] * 3
    preprocess = rp.models.load("digits-shallow").preprocess
    sizes = [len(x) for x in command.batches([good[0], broken, *good[1:], broken], preprocess, 2, skipped)]
    assert sizes == [2, 1]
    assert skipped == ["a.png: broken"] * 2
