"""The methods by name: each explains every network, their options, and excitation backprop against its formula."""

import numpy as np
import pytest
import torch
from torch import nn

import relprop as rp
from relprop.catalogue.options import READERS
from relprop.catalogue.table import BEST, METHODS
from small_networks import AVERAGING, NETWORKS, D, pictures, plain, small
from test_untouched import assert_same, state_of


def test_every_line_of_the_table_names_what_is_there():
    assert rp.methods() == list(METHODS)
    assert BEST in METHODS
    for name, entry in METHODS.items():
        assert callable(entry.imported()), name
        assert set(entry.options) <= set(READERS), name


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_method_explains_every_network(name):
    model, side = NETWORKS[name]()
    before, x = state_of(model), torch.randn(2, 3, side, side)
    bounds = ":low=-4,high=4"
    methods = [m + bounds * (m.endswith(("zbox", "box"))) for m in rp.methods() if not m.startswith("pattern")]
    methods.remove("attention-rollout")
    with pytest.raises(rp.InputError, match="a model that attends"):
        rp.attribute(model, x, 1, "attention-rollout")
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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smoothgrad:sample=3", "no option 'sample'; did you mean samples"),
        ("smoothgrad:samples=0", "samples is '0', and must be a whole number from 1"),
        ("smoothgrad:samples=2.5", "samples is '2.5', and must be a whole number from 1"),
        ("smoothgrad:std=-1", "std is '-1', and must be a number of at least 0"),
        ("smoothgrad:std=nan", "std is 'nan'"),
        ("smoothgrad:seed=x", "seed is 'x', and must be a whole number from 0"),
        (f"smoothgrad:seed={2**64}", "must be a whole number from 0 to 18446744073709551615"),
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


@pytest.mark.parametrize("target", [-1, 10**150])
def test_an_index_of_any_size_that_is_no_class_is_refused(target):
    with pytest.raises(rp.InputError, match="is out of range: the model has classes 0 to"):
        rp.attribute(plain(), pictures(), target, "lrp-z")


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
