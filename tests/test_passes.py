"""What is made once, and what needs no pass of its own, is counted; and gives what the slow way gives."""

from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import reference
import relprop as rp
from conftest import Calls, randomised
from relprop.ops import parts  # the one seam: how many numbers are worked on at a time, which no small network reaches
from twins import Clamp, D, assert_same, beneath, inplace, network, networks, picture, pictures, twin

# -- what is made once -------------------------------------------------------------------------------


def test_denominators_are_made_once_for_all_methods_and_targets():
    model = randomised(nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(400, 5)))
    x = pictures()

    def forward(methods):
        calls = beneath(model, x, [0, 1, 2], methods).calls
        return calls["convolution"], calls["addmm"]  # one of each is the model's

    assert forward(["lrp-alpha1"]) == (2, 2)
    assert forward(["lrp-alpha1", "lrp-alpha2"]) == (3, 3)  # z+ as before, and z-
    together = rp.explain(model, x, [0, 1, 2], ["lrp-alpha1", "lrp-alpha2"])
    for name, R in together.relevance.items():
        torch.testing.assert_close(R, rp.explain(model, x, [0, 1, 2], [name]).relevance[name], rtol=1e-12, atol=1e-14)


def test_denominators_are_made_once_though_maps_go_in_parts(monkeypatch):
    model = randomised(nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(400, 5)))
    monkeypatch.setattr(parts, "AT_ONCE", 500)
    calls = beneath(model, pictures(1), [0, 1, 2], ["lrp-alpha1"]).calls
    assert calls["convolution_backward"] == 3  # a map at a time
    assert (calls["convolution"], calls["addmm"]) == (2, 2)


def test_methods_share_the_way_down_as_long_as_their_rules_agree():
    model, x = network(nn.ReLU), pictures()
    one = beneath(model, x, [1], ["cmp-alpha1-flat"])
    both = beneath(model, x, [1], ["cmp-alpha1", "cmp-alpha1-flat"])
    # the input layer of cmp-alpha1, whose input has both signs, and nothing else: two passes up, two down
    assert both.passes == one.passes + 4


@pytest.mark.parametrize(("at_once", "passes"), [(parts.AT_ONCE, 1 + 1 + 2), (1000, 1 + 2 + 2 * 2)])
def test_methods_that_meet_again_go_on_together(monkeypatch, at_once, passes):
    """They part in the head and agree in the convolutions.

    Where maps are too large to be copied they stay together as slices of one stack: three maps of 432 numbers are two
    parts, and would be three of a method each.
    """
    layers = [nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4)]
    layers += [nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(27, 5)]
    model, x = randomised(nn.Sequential(*layers)), pictures(1)
    methods = {
        str(eps): rp.Composite([(rp.on.head, rp.rules.Epsilon(eps)), (rp.on.conv, rp.rules.ZPlus())])
        for eps in (0.1, 0.2, 0.3)
    }
    monkeypatch.setattr(parts, "AT_ONCE", at_once)
    assert beneath(model, x, [1], methods).calls["convolution_backward"] == passes
    e = rp.explain(model, x, [1], methods)
    for name, composite in methods.items():
        torch.testing.assert_close(e.relevance[name][0], rp.attribute(model, x, 1, composite), rtol=1e-11, atol=1e-13)


def test_the_flat_rule_works_on_one_channel():
    model, x = network(nn.ReLU), pictures()
    flat, alpha1 = (beneath(model, x, [1], [name]).written for name in ("cmp-alpha1-flat", "cmp-alpha1"))
    channels = x.shape[1]
    # both signs of the input: two passes down, each of all channels
    assert alpha1["convolution_backward"] - flat["convolution_backward"] == 2 * x.numel() - x.numel() // channels


MOVES = {
    "channels": (lambda y: torch.cat([y, 2 * y, y[:, :1]], 1), 576),
    "the last axis": (lambda y: torch.cat([y, 3 * y], -1), 512),
    "forms": (lambda y: y.flatten(2).unsqueeze(1).reshape(len(y), -1, 2).squeeze(-1), 256),
    "with a constant": (lambda y: torch.cat([y, torch.ones_like(y)], 1), 512),
}


@pytest.mark.parametrize("case", MOVES)
def test_simple_moves_are_moved_back_directly(case):
    moved, features = MOVES[case]
    model, x = randomised(Calls(moved, features)), picture()
    both = rp.explain(model, x, [1, 2], ["lrp-epsilon"])
    for k, target in enumerate((1, 2)):
        one = rp.attribute(model, x, target, "lrp-epsilon")
        torch.testing.assert_close(one, both.relevance["lrp-epsilon"][k], rtol=1e-12, atol=1e-14)
    calls = beneath(model, x, [1, 2], ["lrp-epsilon"]).calls
    # the model joins once; where a constant is among the parts the call is made again, to see what came from where
    assert calls["cat"] == {"forms": 0, "with a constant": 6}.get(case, 1)
    if case == "forms":  # no map is stacked again
        still = beneath(randomised(Calls(lambda y: y, 256)), x, [1, 2], ["lrp-epsilon"])
        assert calls["stack"] == still.calls["stack"]


class Pair(NamedTuple):
    a: Any
    b: Any


CONTAINERS = {
    "a tuple": lambda y: torch.cat((y, F.relu(y)), 1),
    "a list": lambda y: torch.cat(tensors=[y, F.relu(y)], dim=1),
    "a named tuple": lambda y: torch.cat(Pair(y, F.relu(y)), 1),
    "a form": lambda y: torch.cat([y, F.relu(y)], 1).view(torch.Size([len(y), 512])),
    "an index": lambda y: torch.cat([y, F.relu(y)], 1)[:, [*range(8)], ..., None],
    "an index of tensors": lambda y: torch.cat([y, F.relu(y)], 1)[Pair(slice(None), torch.arange(8))],
    "what a maximum gives": lambda y: torch.cat([y, torch.max(torch.stack([y, 0 * y]), 0).values], 1),
}


@pytest.mark.parametrize("case", CONTAINERS)
def test_tensors_are_found_in_whatever_container_torch_takes(case):
    plain, contained = twin(lambda y: torch.cat([y, F.relu(y)], 1), CONTAINERS[case], 512)
    x = picture()
    for method in ("lrp-epsilon", "lrp-alpha2"):
        torch.testing.assert_close(rp.attribute(contained, x, 1, method), rp.attribute(plain, x, 1, method))


# -- reduced precision -------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
@pytest.mark.parametrize("method", ["lrp-epsilon:eps=0.01", "cmp-alpha1-flat", "cmp-alpha2-flat"])
def test_reduced_precision_is_near_float64_and_the_ledger_sums_in_float32(dtype, bound, method):
    model, x = network(inplace), pictures()
    exact = rp.attribute(model, x, 1, method)
    e = rp.explain(model, x, [1], [method], dtype=dtype)
    (R,), ledger = e.relevance[method], e.ledger[method]
    assert R.dtype == torch.float32
    assert float((R.double() - exact).norm() / exact.norm()) < bound
    assert {getattr(row, c).dtype for row in ledger for c in ("relevance_in", "bias", "eps")} == {torch.float32}
    assert ledger.error < bound
    assert torch.equal(rp.attribute(model, x, 1, method, dtype=torch.float64), exact)


@pytest.mark.parametrize("dtype", [torch.float16, torch.int64, "float32"])
def test_a_precision_that_rules_cannot_work_in_is_refused(dtype):
    with pytest.raises(rp.InputError, match="bfloat16"):
        rp.attribute(network(inplace), pictures(), 1, "lrp-z", dtype=dtype)


# -- below a ReLU, z+ needs no pass of its own -------------------------------------------------------

SIGNED = {
    "lrp-alpha2": "lrp-alpha2",
    "alpha3": rp.Composite([(rp.on.weighted, rp.rules.AlphaBeta(3.0))]),
    "gamma": rp.Composite([(rp.on.weighted, rp.rules.Gamma(0.3))]),
}
BELOW_A_RELU = {
    "relu": (F.relu, lambda y: y.clamp(min=0)),
    "in place": (torch.relu_, lambda y: y.clamp(min=0)),
    "relu6": (F.relu6, lambda y: y.clamp(0, 6)),
    "relu and max-pool": (lambda y: F.max_pool2d(F.relu(y), 2), lambda y: F.max_pool2d(y.clamp(min=0), 2)),
}
"""A call below which relevance is known to vanish where its input is not positive; one that does the same, unknown."""


def layers_of_every_kind(act):
    """Convolutions and linear layers with biases, a merged BatchNorm, and inputs of both signs."""
    torch.manual_seed(5)
    conv = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6))
    layers = nn.ModuleList([conv, nn.Conv2d(6, 6, 3, groups=2), nn.Linear(6, 7), nn.Linear(7, 5)])

    def forward(x):
        y = act(layers[1](act(layers[0](x))))
        return layers[3](torch.relu(layers[2](y.mean((2, 3)))))

    return randomised(Around(layers, forward))


class Around(nn.Module):
    def __init__(self, layers, forward):
        super().__init__()
        self.layers = layers
        self.way = forward

    def forward(self, x):
        return self.way(x)


@pytest.mark.parametrize("kind", BELOW_A_RELU)
def test_below_a_relu_the_positive_side_is_the_output_less_the_negative_one(kind):
    fast, slow = map(layers_of_every_kind, BELOW_A_RELU[kind])
    x = pictures()
    up = (2 + 1 + 1 + 2, 4 + 2 + 1 + 2)
    # z- of inputs of both signs takes two calls; the last layer but one ends in a ReLU in both, the last in none.
    # Every sign of every layer goes down once, and twice where inputs have both signs; four passes are the model's.
    down = 4 + 2 + 2 + 2
    passes = tuple(beneath(model, x, [0, 3], ["lrp-alpha2"]).passes for model in (fast, slow))
    assert passes == tuple(4 + each + down for each in up)
    for methods in (["lrp-alpha2"], SIGNED):
        assert_same(rp.explain(fast, x, [0, 3], methods), rp.explain(slow, x, [0, 3], methods))


@pytest.mark.parametrize(
    "after",
    [
        lambda y: F.relu(y) + y,  # a second way past the ReLU
        lambda y: F.relu(-y),
        lambda y: -F.relu(-y),
        F.leaky_relu,
        lambda y: F.relu(y) + 0.5,
        lambda y: F.relu(y) * y.sigmoid(),
        lambda y: F.interpolate(F.relu(y), scale_factor=2, mode="nearest"),
    ],
)
def test_where_relevance_may_stand_at_negative_outputs_both_sides_are_computed(after):
    """By the definition, on the convolution written out, from the relevance that comes to its output."""
    model = randomised(Calls(after, 1024 if after(torch.ones(1, 1, 2, 2)).shape[2] > 2 else 256))
    x, same = picture(), nn.Conv2d(4, 4, 1, bias=False).double()
    y = model.conv(x).detach()
    written_out = reference.dense(model.conv, (3, 8, 8))

    def from_its_output(y):  # behind a layer that passes all, so that constants are no part of a normalisation
        return model.fc(after(same(y)).flatten(1))

    nn.init.dirac_(same.weight)
    for rule, share in (
        (rp.rules.AlphaBeta(2), reference.alpha_beta(x.flatten(1), written_out, 2, -1)),
        (rp.rules.Gamma(0.3), reference.gamma(x.flatten(1), written_out, 0.3)),
    ):
        composite = rp.Composite([(rp.on.first(), rp.rules.Pass()), (rp.on.weighted, rule)])
        above = rp.attribute(from_its_output, y, 1, composite).flatten(1)
        wanted = torch.einsum("bij,bj->bi", share, above).view(x.shape)
        R = rp.attribute(model, x, 1, rp.Composite([(rp.on.weighted, rule)]))
        torch.testing.assert_close(R, wanted, rtol=1e-10, atol=1e-12 * float(wanted.abs().max()))


def test_relevance_that_stands_where_a_relu_gave_nothing_finds_its_denominators():
    """Flat and w-square hand relevance to inputs of 0: the layer below them may not take z+ from its output."""
    below = {
        f"{rule} below {upper}": rp.Composite([(rp.on.path("4"), upper), (rp.on.weighted, rule)])
        for upper in (rp.rules.Flat(), rp.rules.WSquare())
        for rule in (rp.rules.AlphaBeta(2), rp.rules.Gamma(0.3))
    }
    x, (overwriting, apart, unproved) = pictures(), networks(inplace, nn.ReLU, Clamp)
    slow = rp.explain(unproved, x, [1], below | {"lrp-alpha2": "lrp-alpha2"})
    for fast in (overwriting, apart):
        assert_same(rp.explain(fast, x, [1], below | {"lrp-alpha2": "lrp-alpha2"}), slow)


def test_the_positive_side_is_as_exact_in_float32_as_a_pass_of_its_own():
    """Where z_j > 0, z_j - z_j^- adds two positive numbers: nothing cancels, however small z_j^- is."""
    x, models = torch.randn(8, 3, 12, 12, dtype=D), [*map(layers_of_every_kind, BELOW_A_RELU["relu"])]
    exact = rp.attribute(models[0], x, 1, "lrp-alpha2")
    fast, slow = (rp.attribute(model.float(), x.float(), 1, "lrp-alpha2") for model in models)
    assert not torch.equal(fast, slow)
    error = [float((R.double() - exact).norm() / exact.norm()) for R in (fast, slow)]
    assert error[0] < max(2 * error[1], 1e-6)


def test_a_model_of_lower_precision_than_its_rules_gives_no_denominators():
    """Its output is rounded; the rules compute both sides from what went in."""
    x = pictures().to(torch.bfloat16)
    models = [layers_of_every_kind(act).to(torch.bfloat16) for act in BELOW_A_RELU["relu"]]
    fast, slow = (rp.attribute(model, x, 1, "lrp-alpha2", dtype=torch.float64) for model in models)
    assert torch.equal(fast, slow)


def test_a_batchnorm_of_its_own_in_lower_precision_gives_none_either():
    def normed(act):
        torch.manual_seed(5)
        norm = nn.Sequential(nn.BatchNorm2d(3), act(), nn.Flatten(), nn.Linear(432, 5))
        return randomised(norm).to(torch.bfloat16)

    x = pictures().to(torch.bfloat16)
    composite = rp.Composite([(rp.on.norm, rp.rules.AlphaBeta(2)), (rp.on.weighted, rp.rules.Epsilon())])
    fast, slow = (rp.attribute(normed(act), x, 1, composite, dtype=torch.float64) for act in (nn.ReLU, Clamp))
    assert fast.abs().max() > 0
    assert torch.equal(fast, slow)
