"""Rules for networks with BatchNorm, held against their definitions on explicit matrices in float64."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

import reference
import relprop as rp
from reference import Dense, divide, negative, positive, sum_i
from relprop import rules
from rule_cases import INPUTS, assert_same, inputs, made, normalised, over, shares


def epsilon_without_bias(x: Tensor, layer: Dense, eps: float) -> Tensor:
    """z_ij / (sum_i z_ij + eps sign)."""
    bare = Dense(layer.w, layer.b * 0, layer.real)
    return reference.epsilon(x, bare, eps) if eps else reference.z(x, bare)


def epsilon_to_inputs(x: Tensor, layer: Dense, eps: float) -> Tensor:
    """(z_ij + abs(z_ij) / sum_i abs(z_ij) b_j) / (z_j + eps sign(z_j))."""
    z_ij = x[:, :, None] * layer.w
    z_j = sum_i(z_ij) + layer.b
    given = divide(z_ij.abs(), sum_i(z_ij.abs())) * layer.b
    return (z_ij + given) / torch.where(z_j >= 0, z_j + eps, z_j - eps)


def sides(x: Tensor, layer: Dense, alpha: float, *, bias: bool) -> Tensor:
    """Alpha-beta in which a side whose opposite is empty has weight one."""
    z_ij, b = x[:, :, None] * layer.w, layer.b * bias
    plus, minus = sum_i(positive(z_ij)) + positive(b), sum_i(negative(z_ij)) + negative(b)
    of_plus, of_minus = (torch.where(other == 0, 1.0, of) for other, of in ((minus, alpha), (plus, 1 - alpha)))
    return of_plus * divide(positive(z_ij), plus) + of_minus * divide(negative(z_ij), minus)


def absolute(x: Tensor, layer: Dense, eps: float = 0.0) -> Tensor:
    """abs(z_ij) / (sum_i abs(z_ij) + abs(b_j) + eps)."""
    z_ij = (x[:, :, None] * layer.w).abs()
    return divide(z_ij, sum_i(z_ij) + layer.b.abs() + eps)


RULES = {
    "epsilon-without-bias": (rules.Epsilon(0.1, bias=False), partial(epsilon_without_bias, eps=0.1)),
    "z-without-bias": (rules.Z(bias=False), partial(epsilon_without_bias, eps=0.0)),
    "epsilon-to-inputs": (rules.Epsilon(0.1, bias="inputs"), partial(epsilon_to_inputs, eps=0.1)),
    "alpha2-to-other": (rules.AlphaBeta(2, empty="other"), partial(sides, alpha=2, bias=True)),
    "alpha2-to-other-bare": (rules.AlphaBeta(2, bias=False, empty="other"), partial(sides, alpha=2, bias=False)),
    "alpha1-to-other-bare": (rules.AlphaBeta(1, bias=False, empty="other"), partial(sides, alpha=1, bias=False)),
    "absolute": (rules.Absolute(), absolute),
    "absolute-stabilised": (rules.Absolute(0.1), partial(absolute, eps=0.1)),
}
LAYERS = {
    "linear": (partial(nn.Linear, 6, 5), (6,)),
    "conv2d": (partial(nn.Conv2d, 2, 4, 3, padding=1), (2, 5, 4)),
    "conv2d-depthwise": (partial(nn.Conv2d, 3, 3, 2, groups=3, bias=False), (3, 4, 3)),
    "transposed1d": (partial(nn.ConvTranspose1d, 4, 2, 3, stride=2), (4, 4)),
}


@pytest.mark.parametrize("signs", INPUTS)
@pytest.mark.parametrize("rule", RULES)
@over(LAYERS)
def test_rule_follows_its_definition(case, rule, signs):
    make, shape = case
    layer, x, (ours, definition) = made(make), inputs(shape, signs), RULES[rule]
    assert_same(shares(layer, x, ours), definition(x.flatten(1), reference.dense(layer, shape)))


NORMED = {
    "linear": (partial(nn.Linear, 6, 5), nn.BatchNorm1d(5), (6,)),
    "conv2d": (partial(nn.Conv2d, 2, 4, 3, padding=1), nn.BatchNorm2d(4), (2, 5, 4)),
    "conv2d-depthwise": (partial(nn.Conv2d, 3, 3, 2, groups=3, bias=False), nn.BatchNorm2d(3), (3, 4, 3)),
    "transposed2d-grouped": (partial(nn.ConvTranspose2d, 4, 2, 2, groups=2), nn.BatchNorm2d(2), (4, 3, 2)),
}
BIASES = {
    "pass": (rules.Pass(), lambda z, b: torch.ones_like(z)),
    "epsilon": (rules.Epsilon(0.1), lambda z, b: z / torch.where(z + b >= 0, z + b + 0.1, z + b - 0.1)),
    "absolute": (rules.Absolute(), lambda z, b: z.abs() / (z.abs() + b.abs())),
    "alpha2": (
        rules.AlphaBeta(2),
        lambda z, b: (
            2 * positive(z) / (positive(z) + positive(b)).clamp(min=1e-300)
            - negative(z) / (negative(z) + negative(b)).clamp(max=-1e-300)
        ),
    ),
}
BEFORE = {
    "alpha2": (rules.AlphaBeta(2), partial(reference.alpha_beta, alpha=2, beta=-1)),
    "epsilon": (rules.Epsilon(0.1), partial(reference.epsilon, eps=0.1)),
    "gamma": (rules.Gamma(0.25), partial(reference.gamma, gamma=0.25)),
    "flat": (rules.Flat(), reference.flat),
}


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("before", BEFORE)
@over(
    {name: case for name, case in NORMED.items() if name != "linear"}
    | {"biased": (*LAYERS["conv2d"][:1], None, (2, 5, 4))}
)
def test_apart_is_the_bias_then_the_layer_without_it(case, before, bias):
    """With a BatchNorm its shift and what it scales the layer's own bias to, without one the bias."""
    make, batchnorm, shape = case
    whole, x = made(make) if batchnorm is None else normalised(make, batchnorm), inputs(shape, "mixed")
    (below, of_layer), (above, kept) = BEFORE[before], BIASES[bias]
    layer = reference.dense(whole, shape)
    z = x.flatten(1) @ layer.w
    expected = of_layer(x.flatten(1), Dense(layer.w, layer.b * 0, layer.real)) * kept(z, layer.b)[:, None]
    assert_same(shares(whole, x, rules.Apart(below, above)), expected)


def test_apart_without_a_bias_is_the_layers_rule():
    make, shape = LAYERS["conv2d-depthwise"]
    layer, x = made(make), inputs(shape, "mixed")
    assert torch.equal(shares(layer, x, rules.Apart(rules.AlphaBeta(2))), shares(layer, x, rules.AlphaBeta(2)))


def test_a_bias_that_keeps_nothing_is_left_out():
    make, batchnorm, shape = NORMED["conv2d-depthwise"]
    pair, x = normalised(make, batchnorm), inputs(shape, "mixed")
    apart = shares(pair, x, rules.Apart(rules.AlphaBeta(2), rules.Pass()))
    assert_same(apart, shares(pair, x, rules.AlphaBeta(2, bias=False)))


def test_absolute_on_a_norm_of_its_own():
    norm = normalised(partial(nn.Conv2d, 1, 1, 1), nn.BatchNorm2d(3))[1]
    same = nn.Conv2d(3, 3, 1, bias=False).double()
    nn.init.dirac_(same.weight)
    net = nn.Sequential(same, nn.Hardtanh(-1e3, 1e3), norm, nn.Flatten()).eval()  # not the first op, and not merged
    x = inputs((3, 2, 2), "mixed")
    composite = rp.Composite([(rp.on.norm, rules.Absolute()), (rp.on.weighted, rules.Pass())])
    R = rp.explain(net, x, range(12), {"it": composite}, start="one").relevance["it"]
    assert_same(R.flatten(2).permute(1, 2, 0), absolute(x.flatten(1), reference.dense(norm, (3, 2, 2))))


def network(*, inplace: bool) -> nn.Sequential:
    """Convolutions with BatchNorm and ReLU, as networks have them; float64."""
    torch.manual_seed(3)
    pairs = [normalised(partial(nn.Conv2d, c, 6, 3, bias=False), nn.BatchNorm2d(6)) for c in (3, 6)]
    blocks = [[*pair, nn.ReLU(inplace)] for pair in pairs]
    return nn.Sequential(*blocks[0], *blocks[1], nn.Flatten(), nn.Linear(96, 3)).double().eval()


WAYS = {
    **{name: rule for name, (rule, _) in RULES.items()},
    **{f"apart-{name}": rules.Apart(rules.AlphaBeta(2), rule) for name, (rule, _) in BIASES.items()},
}


@pytest.mark.parametrize("inplace", [False, True], ids=["relu", "relu-in-place"])
def test_ledgers_close_and_shortcuts_below_a_relu_change_nothing(inplace):
    """Where relevance is 0 below a ReLU rules save passes, which they do not where nothing is known of it."""
    x = inputs((3, 8, 8), "mixed")
    ways = {name: rp.Composite([(rp.on.weighted, rule)]) for name, rule in WAYS.items()}
    e = rp.explain(network(inplace=inplace), x, [0, 2], ways)
    hidden = rp.explain(nn.Sequential(*(_unproved(m) for m in network(inplace=False))).eval(), x, [0, 2], ways)
    for name in ways:
        took = sum(row.bias + row.eps + row.lost for row in e.ledger[name].rows)
        total = e.relevance[name].flatten(2).sum(2) + took
        scale = max(row.magnitude.max() for row in e.ledger[name].rows)
        assert (total - e.values).abs().max() < 1e-10 * scale, name
        assert_same(e.relevance[name], hidden.relevance[name])


class Unproved(nn.Module):
    """A ReLU of which nothing is known but that it passes relevance."""

    def forward(self, x: Tensor) -> Tensor:
        """max(x, 0), as a leaky ReLU of slope 0."""
        return nn.functional.leaky_relu(x, 0.0)


def _unproved(module: nn.Module) -> nn.Module:
    return Unproved() if isinstance(module, nn.ReLU) else module


def test_numbers_with_no_meaning_are_refused():
    with pytest.raises(rp.RuleError, match="'inputs'"):
        rules.Epsilon(bias="whole")
    with pytest.raises(rp.RuleError, match="'other'"):
        rules.AlphaBeta(2, empty="flat")
    with pytest.raises(rp.RuleError, match="a layer's inputs"):
        rules.Apart(rules.Pass())
    with pytest.raises(rp.RuleError, match="fully connected"):
        shares(made(LAYERS["linear"][0]), inputs((6,), "mixed"), rules.Apart(rules.Flat()))


def test_a_profile_goes_into_what_is_apart():
    layer, x = made(LAYERS["conv2d"][0]), inputs((2, 5, 4), "mixed")
    zennits = [rules.Apart(rules.AlphaBeta(2)), rules.Apart(rules.AlphaBeta(2, eps=1e-6))]
    first, second = (shares(layer, x, rule, profile="zennit") for rule in zennits)
    assert torch.equal(first, second)
    assert not torch.equal(first, shares(layer, x, zennits[0]))
