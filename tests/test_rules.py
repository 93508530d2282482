"""Every rule on every kind of layer, held against the definitions on an explicit matrix (`reference.py`)."""

from functools import cache, partial

import pytest
import torch
from torch import nn

import reference
import relprop as rp
from relprop import rules
from rule_cases import BATCH, INPUTS, RULES, assert_same, inputs, made, normalised, over, shares

SIZES = {1: (7,), 2: (5, 4), 3: (4, 3, 2)}
SMALL = {1: (4,), 2: (3, 2), 3: (2, 3, 2)}


CONVOLUTIONS = {
    "padded": {"kernel_size": 3, "padding": 1},
    "without-bias": {"kernel_size": 3, "padding": 1, "bias": False},
    "strided": {"kernel_size": 3, "padding": 1, "stride": 2},
    "dilated": {"kernel_size": 2, "padding": 1, "dilation": 2},
    "grouped": {"kernel_size": 2, "padding": 1, "groups": 2},
    "with-gaps": {"kernel_size": 2, "stride": 3},
    "same": {"kernel_size": 3, "padding": "same"},
    "same-even": {"kernel_size": 2, "padding": "same"},
}
TRANSPOSED = {
    "plain": {"kernel_size": 2},
    "without-bias": {"kernel_size": 2, "bias": False},
    "strided": {"kernel_size": 3, "stride": 2, "padding": 1, "output_padding": 1},
    "dilated": {"kernel_size": 2, "padding": 1, "dilation": 2},
    "grouped": {"kernel_size": 2, "groups": 2},
    "with-gaps": {"kernel_size": 2, "stride": 3},
}
LAYERS = {
    "linear": (partial(nn.Linear, 6, 5), (6,)),
    "linear-without-bias": (partial(nn.Linear, 6, 5, bias=False), (6,)),
    "linear-on-sequence": (partial(nn.Linear, 4, 3), (3, 4)),
    "conv2d-uneven": (
        partial(nn.Conv2d, 2, 3, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
        (2, 5, 4),
    ),
    **{
        f"conv{d}d-{name}": (
            partial((nn.Conv1d, nn.Conv2d, nn.Conv3d)[d - 1], 2, 4, **options),
            (2, *SIZES[d]),
        )
        for d in (1, 2, 3)
        for name, options in CONVOLUTIONS.items()
    },
    **{
        f"transposed{d}d-{name}": (
            partial((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[d - 1], 4, 2, **options),
            (4, *SMALL[d]),
        )
        for d in (1, 2, 3)
        for name, options in TRANSPOSED.items()
    },
}
NORMALISED = {
    "linear": (partial(nn.Linear, 6, 5), nn.BatchNorm1d(5), (6,)),
    "conv1d": (partial(nn.Conv1d, 2, 4, 3, padding=1), nn.BatchNorm1d(4), (2, 7)),
    "conv2d-without-bias": (partial(nn.Conv2d, 2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), (2, 5, 4)),
    "conv2d-grouped": (partial(nn.Conv2d, 2, 4, 2, groups=2), nn.BatchNorm2d(4, affine=False), (2, 5, 4)),
    "conv3d": (partial(nn.Conv3d, 2, 2, 2), nn.BatchNorm3d(2), (2, 4, 3, 2)),
    "transposed2d-grouped": (partial(nn.ConvTranspose2d, 4, 2, 2, groups=2), nn.BatchNorm2d(2), (4, 3, 2)),
}


def with_rules(names):
    """Every rule for every layer; the flat rule is refused on linear ones, see test_rules_refused."""
    pairs = [(n, r) for n in names for r in RULES if not (r == "flat" and n.startswith("linear"))]
    return pytest.mark.parametrize(("name", "rule"), pairs)


@cache
def made_once(name):
    """A layer, the same written out, and the shape of its input."""
    make, shape = LAYERS[name]
    layer = made(make)
    return layer, reference.dense(layer, shape), shape


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("signs", INPUTS)
@with_rules(LAYERS)
def test_rule_on_layer_follows_its_definition(name, rule, signs):
    layer, written_out, shape = made_once(name)
    x, (ours, definition) = inputs(shape, signs), RULES[rule]
    assert_same(shares(layer, x, ours), definition(x.flatten(1), written_out))


@with_rules(NORMALISED)
def test_batchnorm_behind_a_layer_makes_one_layer_with_it(name, rule):
    make, norm, shape = NORMALISED[name]
    pair, x = normalised(make, norm), inputs(shape, "mixed")
    ours, definition = RULES[rule]
    assert_same(shares(pair, x, ours), definition(x.flatten(1), reference.dense(pair, shape)))


BY_HAND = {
    "z": (rules.Z(), (-1, 1, 3 / 2)),
    "epsilon": (rules.Epsilon(0.5), (-4 / 5, 4 / 5, 6 / 5)),
    "alpha1": (rules.AlphaBeta(1), (2 / 3, 0, 0)),
    "alpha2": (rules.AlphaBeta(2), (4 / 3, -2 / 5, -3 / 5)),
    "alpha2-without-bias": (rules.AlphaBeta(2, bias=False), (2, -2 / 5, -3 / 5)),
    "zplus": (rules.ZPlus(), (2 / 3, 0, 0)),
    "gamma": (rules.Gamma(1.0), (-2 / 7, 4 / 7, 6 / 7)),
    "flat": (rules.Flat(), (1 / 3, 1 / 3, 1 / 3)),
    "wsquare": (rules.WSquare(), (4 / 6, 1 / 6, 1 / 6)),
    "zbox": (rules.ZBox(-3.0, 3.0), (8 / 9, 1 / 9, 0)),
}


def window(w, b):
    """A convolution of one window of three over four inputs."""
    layer = nn.Conv1d(1, 1, 3).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(w))
        layer.bias.fill_(b)
    return layer


@over(BY_HAND)
def test_rule_gives_what_a_hand_computes(case):
    """With x = (1, -2, 3), w = (2, 1, -1) and b = 1, so z_ij = (2, -2, -3) and z_j = -2."""
    rule, expected = case
    x = torch.tensor([[[1.0, -2.0, 3.0, 7.0]]], dtype=torch.float64)
    first_unit = shares(window((2.0, 1.0, -1.0), 1.0), x, rule)[0, :, 0]
    assert_same(first_unit, torch.tensor([*expected, 0], dtype=torch.float64))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (rules.Z(), (0, 0, 0)),
        (rules.Epsilon(0.5), (2, -4, 2)),
        (rules.Gamma(1.0), (1, -1, 1)),
        (rules.AlphaBeta(2), (1, -1, 1)),
    ],
    ids=str,
)
def test_sign_of_zero_is_plus(rule, expected):
    """With x = (1, 2, 1) and w = (1, -1, 1), so z_ij = (1, -2, 1) and z_j = 0."""
    x = torch.tensor([[[1.0, 2.0, 1.0, 7.0]]], dtype=torch.float64)
    first_unit = shares(window((1.0, -1.0, 1.0), 0.0), x, rule)[0, :, 0]
    assert torch.equal(first_unit, torch.tensor([*expected, 0], dtype=torch.float64))


def test_batchnorm_of_its_own_follows_epsilon_with_its_shift_as_bias():
    norm = normalised(partial(nn.Conv2d, 1, 1, 1), nn.BatchNorm2d(3))[1]
    x = inputs((3, 2, 2), "mixed")
    same = nn.Conv2d(3, 3, 1, bias=False).double()
    nn.init.dirac_(same.weight)
    net = nn.Sequential(same, nn.Hardtanh(-1e3, 1e3), norm, nn.Flatten()).eval()  # not the first op, and not merged
    composite = rp.Composite([(rp.on.norm, rules.Epsilon(0.1)), (rp.on.weighted, rules.Pass())])
    R = rp.explain(net, x, range(12), {"it": composite}, start="one").relevance["it"]
    assert_same(
        R.flatten(2).permute(1, 2, 0), reference.epsilon(x.flatten(1), reference.dense(norm, (3, 2, 2)), eps=0.1)
    )


def test_batchnorm_of_its_own_is_passed_under_flat():
    norm = normalised(partial(nn.Conv2d, 1, 1, 1), nn.BatchNorm2d(3))[1]
    ours = shares(norm, inputs((3, 2, 2), "mixed"), rules.Flat(), where=rp.on.norm)
    assert_same(ours, torch.eye(12, dtype=torch.float64).expand(BATCH, -1, -1))


class Even(rules.Rule):
    """A rule of a user's own, for every kind of layer: an even share for each real input."""

    def share(self, layer, R):
        return rules.Share((layer.spread(R, layer.count()),))


class Left(nn.Module):
    """A product with a constant matrix on the left."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 3))

    def forward(self, x):
        return torch.matmul(self.weight, x)


class Right(Left):
    """On the right."""

    def forward(self, x):
        return torch.matmul(x, self.weight)


class Added(nn.Linear):
    """In one call with the bias."""

    def forward(self, x):
        return torch.addmm(self.bias, x, self.weight.T)


COUNTED = {
    "linear": (partial(nn.Linear, 6, 5), (6,)),
    "linear-on-sequence": (partial(nn.Linear, 4, 3), (3, 4)),
    "product-with-a-matrix-on-the-left": (Left, (3, 2)),
    "product-with-a-matrix-on-the-right": (Right, (2, 5)),
    "addmm": (partial(Added, 6, 5), (6,)),
    "conv2d-grouped": (partial(nn.Conv2d, 2, 4, 2, padding=1, groups=2), (2, 5, 4)),
}


@over(COUNTED)
def test_a_rule_of_ones_own_counts_inputs_and_spreads_over_them(case):
    make, shape = case
    torch.manual_seed(0)
    layer, x = make().double(), inputs(shape, "mixed")
    assert_same(shares(layer, x, Even()), reference.flat(x.flatten(1), reference.dense(layer, shape)))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("rule", sorted(RULES.keys() - {"zbox"}))
def test_padding_with_copies_hands_their_relevance_to_the_originals(rule, mode):
    layer = made(partial(nn.Conv2d, 2, 3, 3, padding=1, padding_mode=mode))
    x = inputs((2, 4, 3), "mixed").requires_grad_()
    padded = nn.functional.pad(x, (1, 1, 1, 1), mode=mode)
    plain = nn.Conv2d(2, 3, 3).double()
    plain.load_state_dict(layer.state_dict())
    ours, definition = RULES[rule]
    with torch.no_grad():
        to_padded = definition(padded.flatten(1), reference.dense(plain, padded.shape[1:]))
    to_x = [
        torch.autograd.grad(padded, x, R.reshape(padded.shape), retain_graph=True)[0].flatten(1)
        for R in to_padded.unbind(2)
    ]
    assert_same(shares(layer, x.detach(), ours), torch.stack(to_x, 2))


def test_zbox_takes_bounds_per_channel():
    layer, x = made(partial(nn.Conv2d, 3, 4, 3, padding=1)), inputs((3, 4, 4), "mixed")
    low, high = (-4.0, -3.5, -5.0), (3.0, 4.0, 3.5)
    per_input = (torch.tensor(bound).repeat_interleave(16) for bound in (low, high))
    expected = reference.z_box(x.flatten(1), reference.dense(layer, (3, 4, 4)), *per_input)
    assert_same(shares(layer, x, rules.ZBox(low, high)), expected)


def test_pass_hands_relevance_down_unchanged():
    layer = made(partial(nn.Conv2d, 2, 2, 3, padding=1))
    ours = shares(layer, inputs((2, 4, 4), "mixed"), rules.Pass())
    assert_same(ours, torch.eye(32, dtype=torch.float64).expand(BATCH, -1, -1))


@pytest.mark.parametrize("rule", sorted(RULES.keys() - {"zbox", "flat", "wsquare", "epsilon"}))
def test_unit_that_receives_nothing_hands_down_zero_not_nan(rule):
    layer = made(partial(nn.Conv2d, 1, 2, 2, bias=False))
    ours = shares(layer, torch.zeros(1, 1, 3, 3, dtype=torch.float64), RULES[rule][0])
    assert (ours == 0).all()


@pytest.mark.parametrize("alpha", [1, 2])
def test_profile_innvestigate_lets_the_whole_bias_join_both_sides(alpha):
    layer, x = made(partial(nn.Conv2d, 2, 4, 3, padding=1)), inputs((2, 5, 4), "mixed")
    ours = shares(layer, x, rules.AlphaBeta(alpha), profile="innvestigate")
    written_out = reference.dense(layer, (2, 5, 4))
    assert_same(ours, reference.alpha_beta_whole_bias(x.flatten(1), written_out, alpha, 1 - alpha))


def test_profile_toolbox_divides_flat_by_the_area_of_the_kernel():
    layer, x = made(partial(nn.Conv2d, 2, 4, 3, padding=1)), inputs((2, 5, 4), "mixed")
    ours = shares(layer, x, rules.Flat(), profile="toolbox")
    assert_same(ours, reference.dense(layer, (2, 5, 4)).real.expand_as(ours) / (2 * 3 * 3))
