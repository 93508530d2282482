"""PatternNet and PatternAttribution: what they make of patterns, weights in place of patterns, and a BatchNorm."""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

import relprop as rp
from conftest import randomised
from pattern_networks import WITH_BIAS, Model, small
from relprop.catalogue.pattern_fit import fit_patterns
from relprop.catalogue.pattern_rules import pattern_attribution, pattern_net
from relprop.catalogue.patterns import ESTIMATORS, Pattern, Patterns


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
