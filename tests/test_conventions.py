"""What the engine's conventions say, each on a case small enough to be written out.

Gates by proved bounds, activations with f(0) != 0, constants among a layer's inputs, first and last by dependence, and
sums whose terms are multiples of one value.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import relprop as rp

D = torch.float64
W = torch.tensor([[1.0, -2.0, 0.5], [0.5, 1.0, 3.0]], dtype=D)
V = torch.tensor([[0.3, 1.0, -1.0], [2.0, -0.4, 0.7]], dtype=D)
U = torch.tensor([[1.0, 2.0], [-3.0, 1.0]], dtype=D)
X = torch.tensor([[1.0, 2.0, -0.5], [-1.0, 0.5, 2.0]], dtype=D)


def z(f, x=X, target=0):
    return rp.attribute(f, x, target, "lrp-z")


def assert_equal(a, b, rtol=1e-10):
    torch.testing.assert_close(a, b, rtol=rtol, atol=1e-12)


# -- gates: y g with y = W x and g made of V x, summed by U --------------------------------------------


def handed(g):
    """How much of the relevance of y g goes to y: 1, 0.5, or None if it is neither."""
    e = rp.explain(lambda x: F.linear(F.linear(x, W) * g(F.linear(x, V)), U), X, [0], ["lrp-z"])
    whole = X * ((U[0] * g(F.linear(X, V))) @ W)  # all to y: its contributions
    R = e.relevance["lrp-z"][0]
    if torch.allclose(R, whole, rtol=1e-9):
        return 1.0
    if torch.allclose(R.sum(1), whole.sum(1), rtol=1e-4):  # but for epsilon, nothing is lost
        return 0.5
    return None


@pytest.mark.parametrize(
    "g",
    [
        torch.sigmoid,
        torch.tanh,
        F.softsign,
        torch.erf,
        F.hardsigmoid,
        F.relu6,
        lambda v: v.clamp(-1, 2),
        lambda v: 1 + torch.sigmoid(v),
        lambda v: 1 - torch.sigmoid(v),
        lambda v: 2 * torch.sigmoid(v),
        lambda v: -torch.sigmoid(v),
        lambda v: F.relu6(v + 3) / 6,
        lambda v: torch.sigmoid(v) * torch.tanh(v),
        lambda v: torch.sigmoid(v) - torch.sigmoid(-v),
        lambda v: torch.sigmoid(v).mean(1, keepdim=True),
        lambda v: torch.sigmoid(v).sum(1, keepdim=True),
        lambda v: torch.sigmoid(v)[:, :1].expand_as(v),
        lambda v: torch.rsqrt(v.square() + 1),
        lambda v: torch.reciprocal(1 + torch.exp(-v)),
        lambda v: torch.sin(v),
        lambda v: torch.cat([torch.sigmoid(v[:, :1]), torch.ones_like(v[:, :1])], 1),
    ],
)
def test_what_is_proved_bounded_is_the_gate(g):
    assert handed(g) == 1.0


@pytest.mark.parametrize("g", [F.relu, lambda v: v, F.leaky_relu, lambda v: F.relu(v).sum(1, keepdim=True)])
def test_two_unbounded_factors_share_whatever_their_shapes(g):
    assert handed(g) == 0.5


def factors(a, b):
    """How much of the relevance of a(x) b(x) goes to each, for x of one number, by the two slopes alone."""
    w, v = torch.tensor([[2.0]], dtype=D), torch.tensor([[3.0]], dtype=D)
    x = torch.tensor([[0.7, 0.4]], dtype=D)
    R = z(lambda t: F.linear(a(F.linear(t[:, :1], w)) * b(F.linear(t[:, 1:], v)), torch.ones(1, 1, dtype=D)), x)
    return (R / R.sum())[0].tolist()


BOUNDED = {
    "the one that is never negative": (torch.sigmoid, torch.tanh, [0.0, 1.0]),
    "the other way round": (torch.tanh, F.relu6, [1.0, 0.0]),
    "the smaller upper bound": (F.relu6, lambda v: v.clamp(0, 2), [1.0, 0.0]),
    "of equal ones half each": (F.relu6, F.relu6, [0.5, 0.5]),
    "of two that may be negative half each": (torch.tanh, F.softsign, [0.5, 0.5]),
}


@pytest.mark.parametrize("case", BOUNDED)
def test_of_two_bounded_factors(case):
    a, b, expected = BOUNDED[case]
    assert factors(a, b) == pytest.approx(expected, abs=1e-9)


# -- activations: f(0) is no input's -------------------------------------------------------------------


def test_softplus_inside_gives_its_offset_to_the_bias():
    e = rp.explain(lambda x: F.linear(F.softplus(F.linear(x, W)), U), X, [0], ["lrp-z"])
    y = F.linear(X, W)
    f, f0 = F.softplus(y), F.softplus(torch.zeros((), dtype=D))
    s = U[0] * f * (f - f0) / (f + 1e-6) / y
    assert_equal(e.relevance["lrp-z"][0], X * (s @ W))
    assert_equal(e.ledger["lrp-z"].sum("bias")[0], (U[0] * f0 * f / (f + 1e-6)).sum(1))


# -- constants are no inputs ---------------------------------------------------------------------------

K = torch.tensor([[[1.0, -2.0, 3.0]]], dtype=D)
NOTHING = torch.zeros(1, 1, 1, dtype=D)
LINE = torch.tensor([[[1.0, 0.5, -0.25]]], dtype=D)


def padded(x, value=0.0):
    return F.conv1d(F.pad(x, (1, 1), value=value), K).sum(2)


def line(rule, f=padded):
    return rp.attribute(f, LINE, 0, rp.Composite([(rp.on.conv, rule), (rp.on.any, rp.rules.Z())]))


R3 = LINE.new_tensor([2 * -1 + 3 * 0.5, 1 - 1 - 0.75, 0.5 + 0.5])  # of the three outputs


def test_flat_counts_and_serves_real_inputs_alone():
    a, b, c = R3
    assert_equal(line(rp.rules.Flat())[0, 0], torch.stack([a / 2 + b / 3, a / 2 + b / 3 + c / 2, b / 3 + c / 2]))


def test_w_square_sums_over_real_inputs_alone():
    a, b, c = R3  # the first output reads x0, x1 by -2, 3; the last x1, x2 by 1, -2
    expected = [a * 4 / 13 + b / 14, a * 9 / 13 + b * 4 / 14 + c / 5, b * 9 / 14 + c * 4 / 5]
    assert_equal(line(rp.rules.WSquare())[0, 0], torch.stack(expected))


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_a_constant_contributes_nothing_to_zb(value):
    low, high = -1.0, 2.0
    x = LINE[0, 0]
    w = LINE.new_tensor([[-2.0, 1.0, 0.0], [3.0, -2.0, 1.0], [0.0, 3.0, -2.0]])  # of real inputs (i, j)
    z_ij = x[:, None] * w - low * w.clamp(min=0) - high * w.clamp(max=0)
    logits = F.conv1d(F.pad(LINE, (1, 1), value=value), K)[0, 0]
    expected = (z_ij / z_ij.sum(0) * logits).sum(1)
    assert_equal(line(rp.rules.ZBox(low, high), lambda t: padded(t, value))[0, 0], expected)


def beside(x):
    return F.conv1d(torch.cat([x, torch.ones_like(x)], 1), torch.cat([K, K], 1)[..., :2]).sum(2)


def written(x):
    whole = torch.zeros(1, 1, 5, dtype=D)
    whole[:, :, 1:4] = x
    return F.conv1d(whole, K).sum(2)


WAYS = {
    "cat": lambda x: F.conv1d(torch.cat([torch.zeros(1, 1, 1, dtype=D), x, torch.zeros(1, 1, 1, dtype=D)], 2), K).sum(
        2
    ),
    "written": written,
    "padding": lambda x: F.conv1d(x, K, padding=1).sum(2),
    "before an activation": lambda x: F.conv1d(F.hardtanh(F.pad(x, (1, 1)), -9, 9), K).sum(2),
    "before a constant factor": lambda x: F.conv1d(F.pad(x, (1, 1)) * 2.0, K / 2).sum(2),
    "moved": lambda x: F.conv1d(F.pad(x.flip(2), (1, 1)).flip(2), K).sum(2),
    "both added": lambda x: F.conv1d(F.pad(x, (1, 1)) + F.pad(x.flip(2).flip(2), (1, 1)), K / 2).sum(2),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rule", [rp.rules.Flat(), rp.rules.WSquare()], ids=str)
def test_constants_stay_constants(way, rule):
    assert_equal(line(rule, WAYS[way]), line(rule))


def test_constant_channels_are_no_inputs():
    (R,) = line(rp.rules.Flat(), beside)[0]
    a, b = (LINE[0, 0, k] - 2 * LINE[0, 0, k + 1] - 1 for k in range(2))  # the channel of ones adds 1 - 2
    assert_equal(R, torch.stack([a / 2, a / 2 + b / 2, b / 2]))


def test_a_flat_maximum_shares_among_real_inputs():
    def model(x):
        return F.adaptive_max_pool1d(F.pad(F.conv1d(x, K[..., :1]), (0, 3)), 1).flatten(1)

    composite = rp.Composite([(rp.on.pool, rp.rules.Flat()), (rp.on.any, rp.rules.Z())])
    assert_equal(rp.attribute(model, LINE, 0, composite)[0, 0], torch.full((3,), 1 / 3, dtype=D))


def test_a_flat_sum_gives_all_to_the_term_that_is_real():
    def model(x):
        return (F.conv1d(x, K[..., :1]) + F.pad(F.conv1d(x[:, :, 1:], K[..., 2:]), (0, 1))).sum(2)

    composite = rp.Composite([(rp.on.add, rp.rules.Flat()), (rp.on.any, rp.rules.Z())])
    y = LINE[0, 0] + F.pad(3 * LINE[0, 0, 1:], (0, 1))
    expected = torch.stack([y[0] / 2, y[0] / 2 + y[1] / 2, y[1] / 2 + y[2]])  # the last has one real term
    assert_equal(rp.attribute(model, LINE, 0, composite)[0, 0], expected)


# -- first, last, before, and the last 1x1 convolution: by dependence ----------------------------------


def convolutions(model, x):
    """The selectors' names of the rules that convolutions get, in order of execution."""
    composite = rp.Composite(
        [
            (rp.on.first(1), rp.rules.Epsilon(0.1)),
            (rp.on.first(2), rp.rules.Epsilon(0.2)),
            (rp.on.last(1), rp.rules.Epsilon(0.3)),
            (rp.on.any, rp.rules.Epsilon(0.4)),
        ]
    )
    return [step.rule for step in rp.plan(model.eval(), x, composite) if step.op == "conv2d"]


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.c = nn.Conv2d(4, 5, 1)

    def forward(self, x):
        one, other = (self.b(F.relu(self.a(v))) for v in (x[:, 0], x[:, 1]))
        return self.c(one + other).mean((2, 3))


def test_a_siamese_network_has_two_first_layers():
    rules = convolutions(Siamese(), torch.randn(1, 2, 3, 8, 8))
    assert [str(rule) for rule in rules] == [f"Epsilon(eps={eps})" for eps in (0.1, 0.2, 0.1, 0.2, 0.3)]


def test_a_siamese_network_gives_one_picture_one_map():
    model, p = Siamese().double().eval(), torch.randn(1, 3, 8, 8, dtype=D)
    for method in ("cmp-alpha2-flat", "cmp-alpha1-flat:layers=2", "cmp-alpha1-flat:layers=stack"):
        R = rp.attribute(model, torch.stack([p, p], 1), 0, method)
        assert_equal(R[:, 0], R[:, 1])


def test_every_last_1x1_convolution_is_fully_connected():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 1), nn.Conv2d(4, 5, 1)

        def forward(self, x):
            y = F.relu(self.a(x))
            return self.b(y).mean((2, 3)) + self.c(y).mean((2, 3))

    plan = rp.plan(Two().eval(), torch.randn(1, 3, 6, 6), "cmp-alpha1")
    assert [step.why for step in plan if step.path in ("a", "b", "c")] == ["on.weighted", "on.head", "on.head"]


# -- sums whose terms are multiples of one value -------------------------------------------------------

SUMS = {
    "x + x s": lambda y, s: y + y * s,
    "x s + x": lambda y, s: y * s + y,
    "x - x s": lambda y, s: y - y * s,
    "x + 0.5 x s + 2 x": lambda y, s: (y + 0.5 * (y * s)) + 2 * y,
    "x + clone s": lambda y, s: y + y.clone() * s,
    "x + dropout s": lambda y, s: y + F.dropout(y, training=False) * s,
}


@pytest.mark.parametrize("case", SUMS)
def test_terms_that_are_multiples_of_one_value_are_one(case):
    """No epsilon: all goes to y, also where the sum is nothing."""
    f = SUMS[case]
    R = rp.attribute(lambda x: F.linear(f(F.linear(x, W), torch.sigmoid(F.linear(x, V))), U), X, 0, "lrp-epsilon:eps=0")
    s = torch.sigmoid(F.linear(X, V))
    assert_equal(R, X * ((U[0] * f(torch.ones_like(s), s)) @ W))


def test_a_layer_called_twice_is_one_value():
    def model(x):
        return F.linear(F.linear(x, W) + F.linear(x, W) * torch.sigmoid(F.linear(x, V)), U)

    assert_equal(z(model), X * ((U[0] * (1 + torch.sigmoid(F.linear(X, V)))) @ W))


# -- functions without a rule --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["log", "log2", "log10", "rsqrt", "reciprocal"])
def test_a_function_without_a_rule_is_refused_where_relevance_comes(name):
    with pytest.raises(rp.UnsupportedOp, match=f"{name}: it gives nothing finite for 0"):
        z(lambda x: F.linear(getattr(torch, name)(F.linear(x, W)), U))
