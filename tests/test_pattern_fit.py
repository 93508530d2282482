"""Patterns as the paper's formulas say, on every kind of layer, against NumPy on unrolled patches."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import relprop as rp
from conftest import randomised
from pattern_networks import LINEAR, TWO, WITH_BIAS, Model, learned, small
from relprop.catalogue.pattern_fit import Fitter, fit_patterns
from relprop.catalogue.pattern_rules import pattern_attribution, pattern_net
from relprop.catalogue.patterns import ESTIMATORS


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
