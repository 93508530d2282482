"""What one number wins: it takes all, the first of equal ones, written out by hand in float64."""

import pytest
import torch

import relprop as rp
from more_ops import Around, D, assert_bounds, assert_definition, assert_equal, explained, inputs

FLAT = rp.Composite([(rp.on.pool, rp.rules.Flat()), (rp.on.any, rp.rules.Z())])


def places(y, value):
    """1 where a row (..., n) first equals its value (..., 1)."""
    out = torch.zeros_like(y)
    for at in range(y.shape[-1] - 1, -1, -1):
        hit = y[..., at : at + 1] == value
        out = torch.where(hit, 0.0, out)
        out[..., at : at + 1] = torch.where(hit, 1.0, out[..., at : at + 1])
    return out


def second(y, dim, *, keepdim=False):
    return y.sort(dim).values.select(dim, 1).unsqueeze(dim) if keepdim else y.sort(dim).values.select(dim, 1)


ALONG_LAST = {
    "max": (lambda y: y.max(-1).values, lambda y: y.amax(-1, keepdim=True)),
    "max, keepdim": (lambda y: torch.max(y, 2, keepdim=True)[0], lambda y: y.amax(-1, keepdim=True)),
    "min": (lambda y: y.min(dim=2).values, lambda y: y.amin(-1, keepdim=True)),
    "amax": (lambda y: y.amax(2), lambda y: y.amax(-1, keepdim=True)),
    "amin": (lambda y: torch.amin(y, (2,), keepdim=True), lambda y: y.amin(-1, keepdim=True)),
    "median": (lambda y: y.median(2).values, lambda y: second(y, 2, keepdim=True)),
    "kthvalue": (lambda y: torch.kthvalue(y, 2).values, lambda y: second(y, 2, keepdim=True)),
    "kthvalue, keepdim": (lambda y: y.kthvalue(2, -1, True)[0], lambda y: second(y, 2, keepdim=True)),
}


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", ALONG_LAST)
def test_the_winner_takes_all(name, ties):
    f, value = ALONG_LAST[name]

    def op(y):
        return f(tied(y) if ties else y)

    def expected(y, R):
        seen = tied(y) if ties else y
        back = R.reshape(1, 3, 1) * places(seen, value(seen))
        return untied(back) if ties else back

    assert_definition(op, expected)


def tied(y):
    """Columns 0 and 2 are the same numbers, and 1 and 3: whoever wins has an equal."""
    return y[..., [0, 1, 0, 1]]


def untied(R):
    return torch.stack([R[..., 0] + R[..., 2], R[..., 1] + R[..., 3], 0 * R[..., 0], 0 * R[..., 0]], -1)


def test_of_equal_ones_the_first_takes_all():
    """Two different rows of weights that give the same number: the first gets the relevance."""
    x, w = torch.tensor([[1.0, 2.0]], dtype=D), torch.tensor([[2.0, 0.5], [1.0, 1.0], [-1.0, 0.0]], dtype=D)
    first = torch.tensor([[2.0, 1.0]], dtype=D)
    for f in (
        lambda y: y.max(1, keepdim=True).values,
        lambda y: y.amax(1, keepdim=True),
        lambda y: -(-y).amin(1, keepdim=True),
        lambda y: torch.aminmax(y, dim=1, keepdim=True).max,
        lambda y: y.kthvalue(2, 1, keepdim=True).values,
        lambda y: y.median(1, keepdim=True).values,
        lambda y: y.cummax(1).values[:, 1:2],
        lambda y: torch.maximum(y[:, :1], y[:, 1:2]),
        lambda y: torch.max(y[:, :1], y[:, 1:2]),
        lambda y: -torch.minimum(-y[:, :1], -y[:, 1:2]),
        lambda y: y[:, 2:].scatter_reduce(1, torch.tensor([[0, 0]]), y[:, :2], "amax"),
        lambda y: y[:, :1].scatter_reduce(1, torch.tensor([[0]]), y[:, 1:2], "amax"),
    ):
        assert_equal(rp.attribute(lambda x, f=f: f(x @ w.T), x, 0, "lrp-z"), first)


def test_along_two_axes():
    def expected(y, R):
        value = y.amax((1, 3), keepdim=True)
        return R.reshape(1, 1, 3, 1) * (y == value)

    assert_definition(lambda y: y.amax((-1, 1)), expected, (2, 3, 4))
    assert_definition(lambda y: -(-y).amin((1, 3), keepdim=True), expected, (2, 3, 4))


def test_both_ends():
    def expected(y, R):
        low, high = R.reshape(1, 3, 2).split(1, 2)
        return low * (y == y.amin(2, keepdim=True)) + high * (y == y.amax(2, keepdim=True))

    assert_definition(lambda y: torch.stack(torch.aminmax(y, dim=2), 2), expected)


@pytest.mark.parametrize("sign", [1, -1])
def test_running_winner(sign):
    def f(y):
        return y.cummax(2).values if sign > 0 else y.cummin(-1)[0]

    def expected(y, R):
        back = torch.zeros_like(y)
        for at in range(4):
            best = (sign * y[..., : at + 1]).argmax(-1, keepdim=True)
            back.scatter_add_(2, best, R[..., at : at + 1])
        return back

    assert_definition(f, expected)


OF_TWO = {
    "maximum": (torch.maximum, lambda a, b: a >= b),
    "max": (torch.max, lambda a, b: a >= b),
    "fmax": (torch.fmax, lambda a, b: a >= b),
    "minimum": (torch.minimum, lambda a, b: a <= b),
    "min": (lambda a, b: a.min(other=b), lambda a, b: a <= b),
}


@pytest.mark.parametrize("name", OF_TWO)
def test_of_two_values_one_takes_all(name):
    f, wins = OF_TWO[name]

    def expected(y, R):
        a, b = y[:, :1], y[:, 1:]
        first = wins(a, b)
        return torch.cat([(R * first).sum(1, keepdim=True), R * ~first], 1)

    assert_definition(lambda y: f(y[:, :1], y[:, 1:]), expected)


def test_beside_a_constant_what_it_gives_for_nothing_is_no_inputs():
    c = torch.tensor([0.5, -0.5, 0.0, 2.0], dtype=D)

    def expected(y, R):
        f, nothing = torch.maximum(y, c), c.clamp(min=0)
        return R * (f - nothing) / (f + 1e-6 * torch.where(f >= 0, 1.0, -1.0))

    assert_definition(lambda y: torch.maximum(y, c), expected)
    assert_definition(lambda y: torch.clamp(y, min=c), expected)


def test_under_flat_all_share():
    assert_definition(lambda y: y.amin(2), lambda y, R: (R / 4).reshape(1, 3, 1).expand_as(y), method=FLAT)
    assert_definition(lambda y: y.max(2)[0], lambda y, R: (R / 4).reshape(1, 3, 1).expand_as(y), method=FLAT)
    half = lambda y, R: torch.cat([R, R], 1) / 2  # noqa: E731
    assert_definition(lambda y: torch.maximum(y[:, :1], y[:, 1:]), half, (2, 4), method=FLAT)


def test_under_flat_constants_take_nothing():
    def f(y):
        return torch.nn.functional.pad(y, (0, 2), value=-3.0).amax(2)

    assert_definition(f, lambda y, R: (R / 4).reshape(1, 3, 1).expand_as(y), method=FLAT)


def test_under_flat_what_comes_to_constants_alone_is_lost():
    e = explained(lambda y: torch.nn.functional.pad(y, (0, 0, 0, 2), value=-3.0).amax(2), method=FLAT)
    above = e.inside["it"]["op"]
    assert above[..., 3:].abs().min() > 0
    assert_equal(e.inside["it"]["before"], above[..., :3, None].expand(2, 2, 3, 4) / 4)
    assert_equal(e.ledger["it"].sum("lost"), above[..., 3:].sum(-1))
    assert e.ledger["it"].error < 1e-9


def test_the_most_frequent_is_the_first_of_its_kind():
    def f(y):
        return torch.mode(y[..., [0, 1, 1, 2]]).values

    def expected(y, R):
        out = torch.zeros_like(y)
        out[..., 1] = R.reshape(1, 3)
        return out

    assert_definition(f, expected)


def test_where_the_profile_splits_ties_equal_ones_share():
    x, w = torch.tensor([[1.0, 2.0]], dtype=D), torch.tensor([[2.0, 0.5], [1.0, 1.0], [-1.0, 0.0]], dtype=D)
    half = torch.tensor([[1.5, 1.5]], dtype=D)
    for f in (
        lambda y: y.amax(1, keepdim=True),
        lambda y: y.max(1, keepdim=True).values,
        lambda y: torch.maximum(y[:, :1], y[:, 1:2]),
    ):
        assert_equal(rp.attribute(lambda x, f=f: f(x @ w.T), x, 0, "lrp-z", profile="toolbox"), half)
    with pytest.raises(rp.RuleError, match="running maximum"):
        rp.attribute(lambda x: (x @ w.T).cummax(1).values, x, 0, "lrp-z", profile="toolbox")


def test_over_everything_one_picture_alone():
    net = Around(lambda y: y.max().reshape(1, 1).expand(len(y), 3))
    R = rp.explain(net, inputs(1), [0], ["lrp-z"], inside=["before", "op"]).inside["lrp-z"]
    y = net.before(inputs(1))
    assert_equal(R["before"][0], R["op"][0].sum() * (y == y.max()))
    for f in (torch.max, torch.min, torch.amax, torch.median):
        with pytest.raises(rp.UnsupportedOp, match="mixes the pictures"):
            explained(lambda y, f=f: y * f(y))


MIXING = {
    "amax": lambda y: y - y.amax(0),
    "kthvalue": lambda y: y - y.kthvalue(1, 0).values,
    "kthvalue by its default": lambda y: y - y.permute(2, 1, 0).kthvalue(1).values.T,
    "cummin": lambda y: y.cummin(0).values,
    "maximum": lambda y: torch.maximum(y, y.flip(0)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MIXING)
def test_pictures_that_mix_are_refused(name):
    with pytest.raises(rp.UnsupportedOp, match="mixes the pictures"):
        explained(MIXING[name])


BOUNDED = {
    **{name: (lambda y, f=f: f(torch.sigmoid(y))) for name, (f, _) in ALONG_LAST.items()},
    "maximum": lambda y: torch.maximum(torch.tanh(y), torch.sigmoid(-y)),
    "minimum with a constant": lambda y: torch.minimum(torch.tanh(y), torch.full_like(y, 0.2)),
    "maximum with whole numbers": lambda y: torch.maximum(torch.tanh(y), torch.tensor([0, 1, 0, -2])),
    "minimum with whole numbers": lambda y: torch.minimum(torch.tanh(y), torch.tensor([0, 1, 0, -2])),
    "cummax": lambda y: torch.tanh(y).cummax(1).values,
}


@pytest.mark.parametrize("name", BOUNDED)
def test_bounds_hold(name):
    assert_bounds(BOUNDED[name])
    assert_bounds(BOUNDED[name], torch.float32)


def test_a_minimum_with_a_constant_is_a_gate():
    one = explained(lambda y: y * torch.minimum(torch.relu(-y), y.new_tensor(1.0)))
    other = explained(lambda y: y * torch.relu(-y).clamp(max=1.0))
    assert_equal(one.relevance["it"], other.relevance["it"])
