"""Patterns find the signal where it is known: the paper's example, and neurons that fire for one signal of two."""

import numpy as np
import pytest
import torch
from torch import nn

import relprop as rp
from pattern_networks import LINEAR, TWO, WITH_BIAS, learned
from relprop.catalogue.pattern_fit import Fitter, fit_patterns
from relprop.catalogue.pattern_rules import pattern_attribution, pattern_net


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
