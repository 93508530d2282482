"""Every rule on every kind of layer, held against the definitions on an explicit matrix (`reference.py`)."""

from functools import cache, partial

import pytest
import torch
from torch import nn

import reference
import relprop as rp
from relprop import rules

SIZES = {1: (7,), 2: (5, 4), 3: (4, 3, 2)}
SMALL = {1: (4,), 2: (3, 2), 3: (2, 3, 2)}
BATCH = 2

RULES = {
    "z": (rules.Z(), reference.z),
    "epsilon": (rules.Epsilon(0.1), partial(reference.epsilon, eps=0.1)),
    "alpha1": (rules.AlphaBeta(1), partial(reference.alpha_beta, alpha=1, beta=0)),
    "alpha2": (rules.AlphaBeta(2), partial(reference.alpha_beta, alpha=2, beta=-1)),
    "alpha1.5-without-bias": (
        rules.AlphaBeta(1.5, -0.5, bias=False),
        partial(reference.alpha_beta, alpha=1.5, beta=-0.5, bias=False),
    ),
    "zplus": (rules.ZPlus(), partial(reference.alpha_beta, alpha=1, beta=0)),
    "gamma": (rules.Gamma(0.25), partial(reference.gamma, gamma=0.25)),
    "flat": (rules.Flat(), reference.flat),
    "wsquare": (rules.WSquare(), reference.w_square),
    "zbox": (rules.ZBox(-4.0, 3.5), partial(reference.z_box, low=-4.0, high=3.5)),
}
INPUTS = {"non-negative": nn.functional.relu, "mixed": lambda x: x, "negative": lambda x: -x.abs()}

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


class Mean(nn.Module):
    def __init__(self, dim, keepdim=False):
        super().__init__()
        self.dim, self.keepdim = dim, keepdim

    def forward(self, x):
        return x.mean(self.dim, keepdim=self.keepdim)


POOLS = {
    "avg1d-padded": (nn.AvgPool1d(3, 2, padding=1), (2, 8)),
    "avg1d-padding-not-counted": (nn.AvgPool1d(3, 2, padding=1, count_include_pad=False), (2, 8)),
    "avg1d-ceil": (nn.AvgPool1d(3, 2, ceil_mode=True), (2, 8)),
    "avg2d": (nn.AvgPool2d(2), (2, 5, 4)),
    "avg2d-padded": (nn.AvgPool2d((3, 2), (2, 1), padding=1), (2, 5, 4)),
    "avg2d-padding-not-counted": (nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), (2, 5, 4)),
    "avg2d-ceil": (nn.AvgPool2d(2, ceil_mode=True), (2, 5, 5)),
    "avg2d-ceil-padded": (nn.AvgPool2d(3, 2, padding=1, ceil_mode=True), (2, 6, 5)),
    "avg2d-divisor": (nn.AvgPool2d(2, divisor_override=3), (2, 5, 4)),
    "avg3d-padded": (nn.AvgPool3d(2, padding=1), (1, 3, 4, 2)),
    "avg3d-padding-not-counted": (nn.AvgPool3d(2, padding=1, count_include_pad=False), (1, 3, 4, 2)),
    "avg3d-ceil": (nn.AvgPool3d(2, ceil_mode=True), (1, 3, 4, 2)),
    "adaptive1d-uneven": (nn.AdaptiveAvgPool1d(3), (2, 7)),
    "adaptive2d-uneven": (nn.AdaptiveAvgPool2d((3, 2)), (2, 5, 7)),
    "adaptive2d-enlarging": (nn.AdaptiveAvgPool2d((5, 3)), (2, 2, 2)),
    "adaptive3d-uneven": (nn.AdaptiveAvgPool3d((2, 3, 1)), (1, 3, 4, 2)),
    "mean-over-space": (Mean((2, 3)), (3, 4, 3)),
    "mean-over-space-keepdim": (Mean((-1, -2), keepdim=True), (3, 4, 3)),
    "mean-over-channels": (Mean(1), (3, 4, 3)),
}
MAX_POOLS = {
    "max1d": (nn.MaxPool1d(2), (2, 7)),
    "max1d-dilated": (nn.MaxPool1d(2, 1, dilation=2), (2, 7)),
    "max2d": (nn.MaxPool2d(2), (2, 4, 4)),
    "max2d-overlapping": (nn.MaxPool2d(3, 2), (2, 7, 5)),
    "max2d-padded": (nn.MaxPool2d(3, 2, padding=1), (2, 6, 5)),
    "max2d-ceil": (nn.MaxPool2d(3, 2, ceil_mode=True), (2, 6, 5)),
    "max3d": (nn.MaxPool3d((2, 2, 1), 1), (1, 3, 3, 2)),
    "adaptive-max2d-uneven": (nn.AdaptiveMaxPool2d((3, 2)), (2, 5, 5)),
}


def with_rules(names):
    """Every rule for every layer; the flat rule is refused on linear ones, see below."""
    pairs = [(n, r) for n in names for r in RULES if not (r == "flat" and n.startswith("linear"))]
    return pytest.mark.parametrize(("name", "rule"), pairs)


def over(cases):
    return pytest.mark.parametrize("case", cases.values(), ids=cases)


def made(make):
    """Make a layer with some weights pruned: a connection stays one though its weight is zero."""
    torch.manual_seed(0)
    layer = make().double()
    with torch.no_grad():
        layer.weight[torch.rand_like(layer.weight) < 0.2] = 0
        if layer.bias is not None:
            layer.bias.normal_(0, 0.5)
    return layer


@cache
def made_once(name):
    """A layer, the same written out, and the shape of its input."""
    make, shape = LAYERS[name]
    layer = made(make)
    return layer, reference.dense(layer, shape), shape


def normalised(make, norm):
    """A layer and a BatchNorm with statistics of its own behind it, in evaluation mode."""
    layer = made(make)
    with torch.no_grad():
        norm.double().running_mean.normal_()
        norm.running_var.uniform_(0.2, 2)
        for parameter in norm.parameters():
            parameter.normal_()
    return nn.Sequential(layer, norm).eval()


def inputs(shape, signs):
    torch.manual_seed(1)
    return INPUTS[signs](torch.randn(BATCH, *shape, dtype=torch.float64))


def shares(layer, x, rule, where=rp.on.weighted, profile="paper"):
    """What the engine hands from every output j to every input i: (B, i, j), from a one at each output."""
    model = nn.Sequential(layer, nn.Flatten(1)).eval()
    outputs = range(model(x[:1]).shape[1])
    method = {"rule": rp.Composite([(where, rule), (rp.on.weighted, rules.Z())])}
    explanation = rp.explain(model, x, targets=list(outputs), methods=method, profile=profile, start="one")
    return explanation.relevance["rule"].flatten(2).permute(1, 2, 0)


def assert_same(ours, expected):
    error = (ours - expected).abs().max() / expected.abs().max()
    assert error < 1e-10, f"relative error {error:.1e}"


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
    ours = shares(norm, x, rules.Epsilon(0.1), where=rp.on.norm)
    assert_same(ours, reference.epsilon(x.flatten(1), reference.dense(norm, (3, 2, 2)), eps=0.1))


def test_batchnorm_of_its_own_is_passed_under_flat():
    norm = normalised(partial(nn.Conv2d, 1, 1, 1), nn.BatchNorm2d(3))[1]
    ours = shares(norm, inputs((3, 2, 2), "mixed"), rules.Flat(), where=rp.on.norm)
    assert_same(ours, torch.eye(12, dtype=torch.float64).expand(BATCH, -1, -1))


@pytest.mark.parametrize("rule", RULES)
@over(POOLS)
def test_rule_on_average_follows_its_definition(case, rule):
    pool, shape = case
    x = inputs(shape, "mixed")
    ours, definition = RULES[rule]
    expected = definition(x.flatten(1), reference.dense(pool, shape))
    assert_same(shares(pool, x, ours, where=rp.on.pool), expected)


@over(POOLS)
def test_average_follows_epsilon_unless_asked_otherwise(case):
    pool, shape = case
    x = inputs(shape, "mixed")
    expected = reference.epsilon(x.flatten(1), reference.dense(pool, shape), eps=1e-6)
    assert_same(shares(pool, x, rules.AlphaBeta(2)), expected)


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


@over(MAX_POOLS)
def test_max_pool_hands_all_to_the_winner(case):
    pool, shape = case
    x = inputs(shape, "mixed")
    reads, _ = reference.dense_matrix(pool, shape)
    assert_same(shares(pool, x, rules.Z()), reference.winner(x.flatten(1), reads))


@over(MAX_POOLS)
def test_max_pool_hands_all_to_the_first_of_equals(case):
    pool, shape = case
    x = inputs(shape, "mixed").round().clamp(-1, 1)
    reads, _ = reference.dense_matrix(pool, shape)
    assert_same(shares(pool, x, rules.Z()), reference.winner(x.flatten(1), reads))


@over(MAX_POOLS)
def test_max_pool_under_flat_spreads_over_the_real_inputs_of_its_window(case):
    pool, shape = case
    x = inputs(shape, "mixed")
    reads, b = reference.dense_matrix(pool, shape)
    expected = reference.flat(x.flatten(1), reference.Dense(reads, b, reads))
    assert_same(shares(pool, x, rules.Flat(), where=rp.on.pool), expected)


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


def test_profile_toolbox_splits_ties_of_a_max_pool():
    pool, x = nn.MaxPool2d(3, 2, padding=1), inputs((2, 6, 5), "mixed").round().clamp(-1, 1)
    reads, _ = reference.dense_matrix(pool, (2, 6, 5))
    winners = (x.flatten(1)[:, :, None] == pool(x).flatten(1)[:, None]) * reads
    expected = winners / winners.sum(1, keepdim=True)
    assert_same(shares(pool, x, rules.Z(), profile="toolbox"), expected)


FULLY_CONNECTED = {
    "linear": (partial(nn.Linear, 6, 5), (6,)),
    "linear-on-sequence": (partial(nn.Linear, 4, 3), (3, 4)),
    "conv1d-covering-its-input": (partial(nn.Conv1d, 2, 3, 5), (2, 5)),
    "conv2d-covering-its-input": (partial(nn.Conv2d, 2, 3, (4, 3)), (2, 4, 3)),
    "conv2d-1x1-at-the-end": (partial(nn.Conv2d, 2, 3, 1), (2, 4, 3)),
}


@over(FULLY_CONNECTED)
def test_flat_is_refused_where_everything_is_connected(case):
    make, shape = case
    with pytest.raises(rp.RuleError):
        shares(made(make), inputs(shape, "mixed"), rules.Flat())


def test_flat_composite_on_linear_layers_alone_is_refused_and_names_the_remedy():
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).double().eval()
    with pytest.raises(rp.RuleError, match="lrp-epsilon"):
        rp.attribute(model, inputs((6,), "mixed"), target=0, method="cmp-alpha2-flat")


def test_pass_is_refused_where_shapes_differ():
    with pytest.raises(rp.RuleError):
        shares(made(partial(nn.Conv2d, 2, 3, 2)), inputs((2, 4, 4), "mixed"), rules.Pass())


def test_zbox_is_refused_where_bounds_are_unknown():
    model = nn.Sequential(made(partial(nn.Conv2d, 3, 2, 3)), nn.Flatten(1), nn.Linear(8, 3).double()).eval()
    with pytest.raises(rp.RuleError):
        rp.attribute(model, inputs((3, 4, 4), "mixed"), target=0, method="cmp-alpha1-zbox")


def test_weighted_layer_that_no_selector_matches_is_refused():
    model = nn.Sequential(made(partial(nn.Conv2d, 3, 2, 3)), nn.Flatten(1), nn.Linear(8, 3).double()).eval()
    conv_only = rp.Composite([(rp.on.conv, rules.ZPlus())])
    with pytest.raises(rp.RuleError):
        rp.attribute(model, inputs((3, 4, 4), "mixed"), target=0, method=conv_only)
