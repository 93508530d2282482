"""Nothing silent: what comes past the record is found, and the record proves to be the model."""

import threading
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import relprop as rp
from conftest import randomised

D = torch.float64


def small(way, **more):
    """(B, 3, 6, 6) to (B, 4), by the way."""

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            layers = {"conv": nn.Conv2d(3, 8, 3), "twin": nn.Conv2d(3, 8, 3), "fc": nn.Linear(8, 4)}
            self.layers = nn.ModuleDict(layers | more)

        def forward(self, x):
            return way(self.layers, x)

    return randomised(Small())


def pictures(batch=2):
    return torch.randn(batch, 3, 6, 6, dtype=D)


def pooled(y):
    return F.relu(y).mean((2, 3))


# -- weights that are swapped during the call and restored ----------------------------------------------


def swapped_by_data(layers, x):
    held, layers["conv"].weight.data = layers["conv"].weight.data, layers["conv"].weight.data.sign()
    y = layers["conv"](x)
    layers["conv"].weight.data = held
    return layers["fc"](pooled(y))


def swapped_by_copy(layers, x):
    weight = layers["conv"].weight
    held = weight.data.clone()
    weight.data.copy_(held.sign())
    y = layers["conv"](x)
    weight.data.copy_(held)
    return layers["fc"](pooled(y))


def swapped_by_numpy(layers, x):
    numbers = layers["conv"].weight.detach().numpy()
    held = numbers.copy()
    numbers[:] = (held > 0) * 2.0 - 1
    y = layers["conv"](x)
    numbers[:] = held
    return layers["fc"](pooled(y))


def swapped_bias(layers, x):
    bias = layers["fc"].bias
    held = bias.data.clone()
    bias.data.fill_(3.0)
    y = layers["fc"](pooled(layers["conv"](x)))
    bias.data.copy_(held)
    return y


@pytest.mark.parametrize("way", [swapped_by_data, swapped_by_copy, swapped_by_numpy, swapped_bias])
def test_weights_that_are_swapped_and_restored_are_an_error(way):
    with pytest.raises(rp.UnsupportedOp, match="changed after it had been used"):
        rp.attribute(small(way), pictures(), 1, "lrp-z")


def test_weights_made_for_the_call_are_explained():
    """Quantised as a tensor of its own: the remedy that the error names."""

    def way(layers, x):
        return layers["fc"](pooled(F.conv2d(x, layers["conv"].weight.sign(), layers["conv"].bias)))

    model, x = small(way), pictures().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[:, 1].sum(), x)
    torch.testing.assert_close(rp.attribute(model, x, 1, "lrp-z"), (gradient * x).detach(), rtol=1e-8, atol=1e-10)


# -- numbers that come past the record ------------------------------------------------------------------


def elsewhere(work):
    """What a function gives in another thread."""
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def branch_in_a_thread(layers, x):
    twin = elsewhere(lambda: layers["twin"](x).detach())
    return layers["fc"](pooled(layers["conv"](x) + twin))


def branch_in_a_thread_joined(layers, x):
    twin = elsewhere(lambda: layers["twin"](x).detach())
    return layers["fc"](pooled(torch.cat([layers["conv"](x)[:, :4], twin[:, :4]], 1)))


def branch_in_a_thread_through_a_layer(layers, x):
    seen = elsewhere(lambda: (2 * x).detach())
    return layers["fc"](pooled(layers["conv"](x)) + pooled(layers["twin"](seen)))


@pytest.mark.parametrize("way", [branch_in_a_thread, branch_in_a_thread_joined, branch_in_a_thread_through_a_layer])
def test_a_branch_in_another_thread_is_an_error(way):
    with pytest.raises(rp.UnsupportedOp, match=r"another thread.*off the model"):
        rp.attribute(small(way), pictures(), 1, "lrp-z")


@pytest.mark.parametrize(
    "filled",
    [
        lambda y: torch.full_like(y, fill_value=y.mean()),
        lambda y: y.new_full(y.shape, fill_value=y.mean()),
        lambda y: y.new_full(size=y.shape, fill_value=y.mean()),
        lambda y: torch.full_like(y, y.mean()),
    ],
)
def test_a_constant_filled_with_a_recorded_number_is_an_error(filled):
    def way(layers, x):
        y = layers["conv"](x)
        return layers["fc"](pooled(y + filled(y)))

    with pytest.raises(rp.UnsupportedOp):
        rp.attribute(small(way), pictures(1), 1, "lrp-z")


# -- constants that belong to the model -----------------------------------------------------------------


def second_picture(layers, x):
    return layers["fc"](pooled(layers["conv"](x)) + pooled(layers["twin"](SECOND[: len(x)])))


SECOND = torch.randn(3, 3, 6, 6, dtype=D)


def zero_state(layers, x):
    return layers["fc"](pooled(layers["conv"](x)) + layers["fc8"](x.new_zeros(len(x), 8)))


def position_table(layers, x):
    table = torch.linspace(-1, 1, 6, dtype=D).expand(1, 3, 6, 6)
    return layers["fc"](pooled(layers["conv"](x) + layers["twin"](table)))


@pytest.mark.parametrize("way", [second_picture, zero_state, position_table])
def test_layers_of_constants_are_part_of_the_model_and_their_share_is_bias(way):
    model, x = small(way, fc8=nn.Linear(8, 8)), pictures(3).requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[:, 1].sum(), x)
    e = rp.explain(model, x.detach(), [1], ["lrp-z"])
    R = e.relevance["lrp-z"][0]
    torch.testing.assert_close(R, (gradient * x).detach(), rtol=1e-8, atol=1e-10)
    booked = e.ledger["lrp-z"].sum("bias")[0]
    torch.testing.assert_close(booked, e.outputs[:, 1] - R.flatten(1).sum(1), rtol=1e-8, atol=1e-10)


# -- what is random, or reaches nothing -----------------------------------------------------------------


@pytest.mark.parametrize(
    "noise",
    [
        lambda y: y + torch.randn_like(y),
        lambda y: y * torch.bernoulli(torch.full_like(y, 0.5)),
        lambda y: F.dropout(y, training=True),
        lambda y: y + torch.rand(y.shape, dtype=D),
        lambda y: y + y.new_empty(y.shape).normal_(),
    ],
)
def test_a_model_that_draws_at_random_is_an_error(noise):
    model = small(lambda layers, x: layers["fc"](pooled(noise(layers["conv"](x)))))
    with pytest.raises(rp.UnsupportedOp, match="random"):
        rp.attribute(model, pictures(), 1, "lrp-z")


def test_a_probe_on_detached_features_names_where_relevance_stops():
    model = small(lambda layers, x: layers["fc"](pooled(layers["conv"](x)).detach()))
    with pytest.raises(rp.UnsupportedOp, match="no relevance reaches the input, it stops at detach"):
        rp.attribute(model, pictures(), 1, "lrp-z")


def test_a_sort_over_the_pictures_is_refused_and_one_within_them_is_not():
    def over(layers, x):
        return layers["fc"](pooled(layers["conv"](x)).sort(0)[0])

    def within(layers, x):
        return layers["fc"](pooled(layers["conv"](x)).sort(1)[0])

    with pytest.raises(rp.UnsupportedOp, match="mixes the pictures"):
        rp.attribute(small(over), pictures(), 1, "lrp-z")
    assert rp.attribute(small(within), pictures(), 1, "lrp-z").abs().sum() > 0


@pytest.mark.parametrize("last", [nn.Sigmoid(), nn.Hardsigmoid()])
def test_probabilities_are_no_logits(last):
    model = nn.Sequential(nn.Linear(3, 2), last).double().eval()
    with pytest.raises(rp.UnsupportedOp, match="probabilities"):
        rp.attribute(model, torch.randn(2, 3, dtype=D), 0, "lrp-z")


# -- which output ---------------------------------------------------------------------------------------


def test_of_several_outputs_one_must_be_named():
    def way(layers, x):
        features = pooled(layers["conv"](x))
        return features, layers["fc"](features)

    model, x = small(way), pictures()
    with pytest.raises(rp.InputError, match=r"output=0 \(2, 8\) or output=1 \(2, 4\)"):
        rp.attribute(model, x, 1, "lrp-z")
    alone = small(lambda layers, x: way(layers, x)[1])
    alone.load_state_dict(model.state_dict())
    for method in ("lrp-z", "gradient", "guided-backprop", "uniform"):
        chosen = rp.attribute(model, x, 1, method, output=1)
        torch.testing.assert_close(chosen, rp.attribute(alone, x, 1, method), rtol=1e-12, atol=0)
    named = small(lambda layers, x: dict(zip(("features", "scores"), way(layers, x), strict=True)))
    named.load_state_dict(model.state_dict())
    R = rp.attribute(named, x, 1, "lrp-z", output="scores")
    torch.testing.assert_close(R, rp.attribute(alone, x, 1, "lrp-z"), rtol=1e-12, atol=0)
    assert len(rp.plan(named, x, "lrp-z", output="scores")) == len(rp.plan(alone, x, "lrp-z"))
    with pytest.raises(rp.InputError, match="output='logit'"):
        rp.attribute(named, x, 1, "lrp-z", output="logit")


# -- rules of the user's own ----------------------------------------------------------------------------


class Scaled(rp.rules.Rule):
    """No dataclass: its number stands in an attribute."""

    conserves = False

    def __init__(self, factor):
        object.__setattr__(self, "factor", factor)

    def share(self, layer, R):
        return rp.rules.Share((self.factor * layer.backward(R, layer.w),))


def test_two_rules_of_a_users_class_are_two_rules():
    model, x = nn.Sequential(nn.Linear(4, 3)).double().eval(), torch.randn(2, 4, dtype=D)
    once, twice = (rp.Composite([(rp.on.weighted, Scaled(k))]) for k in (1.0, 2.0))
    e = rp.explain(model, x, [1], {"once": once, "twice": twice})
    torch.testing.assert_close(e.relevance["twice"], 2 * e.relevance["once"])
    assert Scaled(1.0) == Scaled(1.0) != Scaled(2.0)


@dataclass(frozen=True)
class Writes(rp.rules.Rule):
    """Writes into what it got."""

    into: str = "R"

    def share(self, layer, R):
        {"R": R, "x": layer.x, "w": layer.w}[self.into].mul_(0.0)
        return rp.rules.Share((layer.backward(R, layer.w).mul(layer.x),))


def test_a_rule_that_writes_into_relevance_spoils_no_other_method():
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double().eval()
    x = torch.randn(2, 4, dtype=D)
    alone = rp.attribute(model, x, 1, "lrp-z")
    e = rp.explain(model, x, [1], {"writes": rp.Composite([(rp.on.weighted, Writes())]), "z": "lrp-z"})
    torch.testing.assert_close(e.relevance["z"][0], alone)


@pytest.mark.parametrize("into", ["x", "w"])
def test_a_rule_that_writes_into_the_layer_is_an_error(into):
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double().eval()
    with pytest.raises(rp.RuleError, match="writes into the layer's own numbers"):
        rp.attribute(model, torch.randn(2, 4, dtype=D), 1, rp.Composite([(rp.on.weighted, Writes(into))]))


class Leaky(rp.rules.Rule):
    """Loses a hundredth, and does not say so."""

    def share(self, layer, R):
        s, _ = layer.quotient(0.99 * R, layer.z, 1e-9)
        return rp.rules.Share((layer.backward(s, layer.w).mul_(layer.x),), bias=layer.dot(s, layer.b))


@pytest.mark.parametrize("dtype", [torch.float32, D])
def test_a_ledger_that_does_not_close_is_an_error(dtype):
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).to(dtype).eval()
    x = torch.randn(2, 4, dtype=dtype)
    leaky = rp.Composite([(rp.on.weighted, Leaky())])
    with pytest.raises(rp.RelpropError, match="the ledger does not close"):
        rp.attribute(model, x, 1, leaky)
    found = rp.check(model, x, leaky)
    assert not found.ok
    assert "does not close" in str(found)


def test_what_the_user_gave_wins_over_a_profile_even_where_it_is_a_default():
    model, x = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double().eval(), torch.randn(2, 4, dtype=D)
    given = rp.Composite([(rp.on.weighted, rp.rules.AlphaBeta(2, bias=True, eps=0.0))])
    plain = rp.Composite([(rp.on.weighted, rp.rules.AlphaBeta(2))])
    paper = rp.attribute(model, x, 1, plain)
    torch.testing.assert_close(rp.attribute(model, x, 1, given, profile="innvestigate"), paper, rtol=1e-12, atol=0)
    assert not torch.allclose(rp.attribute(model, x, 1, plain, profile="innvestigate"), paper, rtol=1e-6)


# -- the check ------------------------------------------------------------------------------------------


def test_a_clean_model_is_the_record_exactly():
    def way(layers, x):
        y = layers["conv"](x)
        y = torch.where(y > 0, y, 0.1 * y)
        y += 0.5 * F.relu(layers["twin"](x)) * (y > -1).double()
        return layers["fc"](pooled(y))

    found = rp.check(small(way), pictures())
    assert found.ok
    assert (found.replay.on_input, found.replay.on_noise) == (0.0, 0.0)
    assert "replay on x + noise" in str(found)


def test_the_check_finds_what_single_calls_do_not_show():
    """NumPy changes one weight that the samples of a large layer miss, and changes it back."""

    def way(layers, x):
        numbers = layers["conv"].weight.detach().numpy().reshape(-1)
        held = numbers[5]
        numbers[5] += 3.0
        y = layers["conv"](x)
        numbers[5] = held
        return layers["fc"](pooled(y))

    model, x = small(way), pictures()
    found = rp.check(model, x)
    assert not found.ok
    with pytest.raises(rp.UnsupportedOp, match="run again"):
        rp.attribute(model, x, 1, "lrp-z", check=True)


def test_the_check_says_what_cannot_be_explained():
    found = rp.check(small(lambda layers, x: layers["fc"](pooled(torch.lgamma(layers["conv"](x))))), pictures())
    assert not found.ok
    assert "lgamma" in found.refused


def test_alpha_beta_is_finite_where_a_side_is_tiny():
    model = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.SiLU(), nn.Conv2d(1, 1, 3, padding=1, bias=False))
    model.append(nn.Flatten()).append(nn.Linear(25, 2, bias=False)).eval()
    for k, weight in ((0, 1.0), (2, 0.1), (4, 1e4)):
        model[k].weight.data.fill_(weight)
    x = torch.rand(1, 1, 5, 5) + 0.1
    x[0, 0, 2, 2] = -88
    single = rp.explain(model, x, [0], ["lrp-alpha2"])
    double = rp.explain(model.double(), x.double(), [0], ["lrp-alpha2"])
    assert single.relevance["lrp-alpha2"].isfinite().all()
    assert single.ledger["lrp-alpha2"].error < 1e-5
    assert double.relevance["lrp-alpha2"].isfinite().all()
