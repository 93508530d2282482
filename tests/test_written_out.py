"""Functions that are recorded as what they are written as, roundings, and matrices in batches."""

import math

import pytest
import torch
import torch.nn.functional as F

import relprop as rp
from more_ops import Around, D, assert_bounds, assert_definition, assert_equal, explained, inputs, moved_back

g = torch.Generator().manual_seed(5)


def constant(*shape):
    return torch.randn(*shape, dtype=D, generator=g)


W, V, BATCH, WIDE = constant(4, 5), constant(5, 2), constant(2, 4, 5), constant(3, 3, 5)
OTHER, THREE, PAIR = constant(3, 4), constant(6, 4, 4), constant(1, 2)
INDEX = torch.tensor([1, 0, 1, 2]).expand(3, 4)


# -- roundings, and functions of a number and a constant -------------------------------------------------

ROUNDED = {
    "floor": torch.floor,
    "ceil": torch.ceil,
    "trunc": torch.trunc,
    "fix": torch.fix,
    "round": torch.round,
    "round to one decimal": lambda y: torch.round(y, decimals=1),
    "frac": torch.frac,
    "sign": torch.sign,
    "sgn": torch.sgn,
    "in place": lambda y: (y * 3).floor_(),
    "remainder": lambda y: y % 0.7,
    "remainder of torch": lambda y: torch.remainder(y, OTHER.abs() + 0.3),
    "fmod": lambda y: y.fmod(0.7),
    "a quotient, rounded down": lambda y: torch.div(3 * y, 0.5, rounding_mode="floor"),
    "a quotient, cut": lambda y: torch.div(3 * y, 0.5, rounding_mode="trunc"),
    "floor_divide": lambda y: (3 * y) // 0.5,
    "copysign": lambda y: torch.copysign(y, OTHER),
}


@pytest.mark.parametrize("name", ROUNDED)
def test_what_gives_nothing_for_nothing_passes(name):
    f = ROUNDED[name]

    def expected(y, R):
        nothing = f(torch.zeros_like(y))
        assert not nothing.any()
        return R

    assert_definition(f, expected, rtol=1e-12)


@pytest.mark.parametrize("name", ROUNDED)
@pytest.mark.parametrize("inner", [lambda y: y, torch.sigmoid, lambda y: 3 * torch.tanh(y), lambda y: y.abs()])
def test_bounds_of_roundings_hold(name, inner):
    assert_bounds(lambda y: ROUNDED[name](inner(y)))


def test_an_angle_beside_a_constant():
    def expected(y, R):
        f, nothing = torch.atan2(y, OTHER), torch.atan2(torch.zeros_like(y), OTHER)
        return R * (f - nothing) / (f + 1e-6 * torch.where(f >= 0, 1.0, -1.0))

    assert_definition(lambda y: torch.atan2(y, OTHER), expected, rtol=1e-12)


def test_i0_gives_one_for_nothing():
    assert_definition(torch.special.i0, lambda y, R: R * (torch.i0(y) - 1) / (torch.i0(y) + 1e-6), rtol=1e-12)


ROUNDED_PAIRS = {
    "frac is what is cut": (torch.frac, lambda y: y - y.trunc()),
    "a remainder": (lambda y: y % 0.7, lambda y: y - 0.7 * torch.floor(y / 0.7)),
    "a sign is a gate": (lambda y: torch.sign(y) * y, lambda y: y * torch.sign(y).detach().clamp(-1, 1)),
    "a wider constant": (
        lambda y: torch.copysign(y[:, :1], OTHER),
        lambda y: torch.copysign(y[:, :1].expand(-1, 3, -1), OTHER),
    ),
}


@pytest.mark.parametrize("name", ROUNDED_PAIRS)
def test_two_spellings_of_roundings_give_one_map(name):
    one, other = (explained(f) for f in ROUNDED_PAIRS[name])
    if name == "a sign is a gate":
        other = explained(lambda y: y.abs())
    assert one.relevance["it"].abs().max() > 0
    assert_equal(one.relevance["it"], other.relevance["it"], 1e-9)


def test_a_remainder_of_two_values_is_refused_and_the_remedy_works():
    with pytest.raises(rp.UnsupportedOp, match=r"torch\.floor"):
        explained(lambda y: torch.remainder(y, y.exp()))
    assert explained(lambda y: y - y.exp() * torch.floor(y / y.exp())).ledger["it"].error < 1e-10
    with pytest.raises(rp.UnsupportedOp, match=r"torch\.atan"):
        explained(lambda y: torch.atan2(y, y.exp()))
    assert explained(lambda y: torch.atan(y / y.exp())).ledger["it"].error < 1e-10
    with pytest.raises(rp.UnsupportedOp, match=r"torch\.sign"):
        explained(lambda y: torch.copysign(OTHER, y))
    assert explained(lambda y: OTHER.abs() * torch.sign(y)).ledger["it"].error < 1e-10


# -- matrices ------------------------------------------------------------------------------------------

MATRICES = {
    "a batch of matrices": (lambda y: y @ WIDE[:, None, :4].expand(3, 1, 3, 5)[0, 0, :1].expand(1, 4, 5), None),
    "bmm": (lambda y: torch.bmm(y, BATCH[: len(y)]), None),
    "a matrix each, in front": (lambda y: BATCH[: len(y)].mT @ y.transpose(1, 2), None),
    "heads": (
        lambda y: y[:, :, None] @ WIDE[:, :4].new_ones(3, 4, 5).cumsum(0),
        lambda y: (y[:, :, :, None] * WIDE.new_ones(3, 4, 5).cumsum(0)).sum(2)[:, :, None],
    ),
    "a vector": (lambda y: y @ W[:, 0], lambda y: y @ W[:, :1]),
    "a vector, by mv": (lambda y: torch.stack([torch.mv(each, W[:, 0]) for each in y]), lambda y: y @ W[:, :1]),
    "a vector in front": (lambda y: OTHER[:, 0] @ y, lambda y: OTHER[:, :1].T @ y),
    "three in a row": (lambda y: torch.linalg.multi_dot([y[:, 0], W, V]), lambda y: y[:, 0] @ W @ V),
    "two in a row": (lambda y: torch.linalg.multi_dot((y[:, 0], W)), lambda y: y[:, 0] @ W),
    "a sparse one": (
        lambda y: torch.sparse.mm(W.T.to_sparse(), y[:, 0].T).T,
        lambda y: (W.T @ y[:, 0].T).T,
    ),
    "a sparse one, by @": (lambda y: (W.T.to_sparse() @ y[:, 0].T).T, lambda y: (W.T @ y[:, 0].T).T),
    "kron": (lambda y: torch.kron(y[:, 0], PAIR), lambda y: (y[:, 0, :, None] * PAIR[0]).flatten(1)),
    "cross": (
        lambda y: torch.cross(y[..., :3], OTHER[:, :3].expand(len(y), 3, 3), dim=2),
        lambda y: torch.stack(
            [y[..., i] * OTHER[:, j] - y[..., j] * OTHER[:, i] for i, j in ((1, 2), (2, 0), (0, 1))], 2
        ),
    ),
    "cross of two": (
        lambda y: torch.linalg.cross(y[..., :3], y[..., 1:]),
        lambda y: torch.cross(y[..., :3], y[..., 1:], dim=-1),
    ),
    "a layer whose weight is a value": (
        lambda y: torch.cat([F.linear(each, each.tanh())[None] for each in y.split(1)[0]]),
        lambda y: y @ y.tanh().transpose(1, 2),
    ),
    "addmm of two": (
        lambda y: torch.addmm(OTHER[:, :3], y[0], y[0].tanh().T)[None],
        lambda y: (OTHER[:, :3] + y[0] @ y[0].tanh().T)[None],
    ),
    "places": (
        lambda y: F.affine_grid(y[:, :2, :3], [len(y), 1, 2, 3], align_corners=False),
        lambda y: torch.stack([PLACES.view(-1, 3) @ y[:, k, :3].T for k in (0, 1)], 2).transpose(0, 1),
    ),
}
PLACES = F.affine_grid(torch.eye(3, dtype=D)[None, :2], [1, 1, 2, 3], align_corners=False)
PLACES = torch.cat([PLACES, torch.ones(1, 2, 3, 1, dtype=D)], -1)
ALONE = ("a layer whose weight is a value", "addmm of two")


@pytest.mark.parametrize("name", [name for name in MATRICES if MATRICES[name][1] is not None])
def test_products_of_matrices_in_two_spellings(name):
    one, other = MATRICES[name]
    batch = 1 if name in ALONE else 2
    torch.testing.assert_close(one(OTHER.expand(batch, 3, 4)).flatten(1), other(OTHER.expand(batch, 3, 4)).flatten(1))
    maps = [explained(f, batch=batch) for f in (one, other)]
    assert maps[0].relevance["it"].abs().max() > 0
    assert_equal(maps[0].relevance["it"], maps[1].relevance["it"], 1e-8)
    assert maps[0].ledger["it"].error < 1e-12


def test_a_constant_batch_of_matrices_is_a_layer():
    def expected(y, R, w):
        return y * ((R / (y @ w)) @ w.mT)

    for method in ("lrp-z", "lrp-alpha1"):
        e = explained(lambda y: torch.bmm(y, BATCH[: len(y)]), method=method)
        above, below = e.inside["it"]["op"], e.inside["it"]["before"]

        y = Around(lambda y: torch.bmm(y, BATCH[: len(y)])).before(inputs())
        if method == "lrp-z":
            assert_equal(below[0], expected(y, above[0], BATCH), 1e-12)
        else:
            plus, minus = y.clamp(min=0), y.clamp(max=0)
            z = plus @ BATCH.clamp(min=0) + minus @ BATCH.clamp(max=0)
            s = torch.where(z == 0, 0.0, above[0] / z)
            assert_equal(below[0], plus * (s @ BATCH.clamp(min=0).mT) + minus * (s @ BATCH.clamp(max=0).mT), 1e-10)
        assert e.ledger["it"].error < 1e-12


def test_two_sides_of_a_bilinear_layer_share():
    bias = constant(6)

    def expected(y, R):
        s = R / F.bilinear(y, y, THREE, bias)
        left = torch.einsum("bto,oij,btj->bti", s, THREE, y)
        right = torch.einsum("bto,oij,bti->btj", s, THREE, y)
        return y * (left + right) / 2

    assert_definition(lambda y: F.bilinear(y, y, THREE, bias), expected, rtol=1e-11)


def test_one_side_of_a_bilinear_layer_is_linear():
    one = explained(lambda y: F.bilinear(y, OTHER.expand_as(y), THREE))
    other = explained(lambda y: torch.einsum("bti,toi->bto", y, torch.einsum("oij,tj->toi", THREE, OTHER)))
    assert_equal(one.relevance["it"], other.relevance["it"], 1e-9)
    gated = explained(lambda y: F.bilinear(y, torch.sigmoid(y), THREE))
    detached = explained(lambda y: F.bilinear(y, torch.sigmoid(y).clamp(-9, 9), THREE))
    assert_equal(gated.relevance["it"], detached.relevance["it"], 1e-9)


# -- statistics ----------------------------------------------------------------------------------------

STATISTICS = {
    "median": (lambda y: y.quantile(0.5, 2), lambda y: y.sort(2).values[..., 1:3].mean(2)),
    "a third": (
        lambda y: torch.quantile(y, 0.3, dim=2, keepdim=True),
        lambda y: y.sort(2).values[..., :1] * 0.1 + y.sort(2).values[..., 1:2] * 0.9,
    ),
    "the lower": (lambda y: y.quantile(0.5, 2, interpolation="lower"), lambda y: y.sort(2).values[..., 1]),
    "the nearest": (lambda y: y.quantile(0.6, 2, interpolation="nearest"), lambda y: y.sort(2).values[..., 2]),
    "several": (
        lambda y: y.quantile(torch.tensor([0.0, 1.0], dtype=D), 2).permute(1, 0, 2),
        lambda y: torch.stack([y.amin(2), y.amax(2)], 1),
    ),
    "slope": (
        lambda y: torch.gradient(y, dim=2)[0],
        lambda y: torch.cat([y[..., 1:2] - y[..., :1], (y[..., 2:] - y[..., :-2]) / 2, y[..., 3:] - y[..., 2:3]], 2),
    ),
    "slope with a step": (
        lambda y: torch.gradient(y, spacing=2.0, dim=2)[0] * 2,
        lambda y: torch.gradient(y, dim=2)[0],
    ),
    "areas so far": (
        lambda y: torch.cumulative_trapezoid(y, dim=2),
        lambda y: ((y[..., 1:] + y[..., :-1]) / 2).cumsum(2),
    ),
    "sums without what is none": (lambda y: y.nansum(2), lambda y: y.sum(2)),
    "means without what is none": (lambda y: y.nanmean(2, keepdim=True), lambda y: y.mean(2, keepdim=True)),
    "numbers": (lambda y: y.nan_to_num(1.0, 2.0, 3.0), lambda y: y * 1),
    "scattered sums": (
        lambda y: y.scatter_reduce(2, INDEX.expand(len(y), 3, 4), 2 * y, "sum"),
        lambda y: y.scatter_add(2, INDEX.expand(len(y), 3, 4), 2 * y),
    ),
    "scattered means": (
        lambda y: y.scatter_reduce(2, INDEX.expand(len(y), 3, 4), 2 * y, "mean"),
        lambda y: y.scatter_add(2, INDEX.expand(len(y), 3, 4), 2 * y) / torch.tensor([2, 3, 2, 1]),
    ),
    "scattered means alone": (
        lambda y: y.scatter_reduce(2, INDEX.expand(len(y), 3, 4), 2 * y, "mean", include_self=False),
        lambda y: torch.stack([2 * y[..., 1], y[..., 0] + y[..., 2], 2 * y[..., 3], y[..., 3]], 2),
    ),
    "scattered maxima": (
        lambda y: y.scatter_reduce(2, INDEX.expand(len(y), 3, 4), 2 * y, "amax"),
        lambda y: torch.stack(
            [
                torch.maximum(y[..., 0], 2 * y[..., 1]),
                torch.maximum(torch.maximum(y[..., 1], 2 * y[..., 0]), 2 * y[..., 2]),
                torch.maximum(y[..., 2], 2 * y[..., 3]),
                y[..., 3],
            ],
            2,
        ),
    ),
    "scattered minima alone": (
        lambda y: y.scatter_reduce(2, INDEX.expand(len(y), 3, 4), 2 * y, "amin", include_self=False),
        lambda y: torch.stack(
            [2 * y[..., 1], torch.minimum(2 * y[..., 0], 2 * y[..., 2]), 2 * y[..., 3], y[..., 3]], 2
        ),
    ),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_statistics_in_two_spellings(name):
    one, other = STATISTICS[name]
    y = OTHER.expand(2, 3, 4)
    torch.testing.assert_close(one(y), other(y))
    maps = [explained(f) for f in (one, other)]
    assert maps[0].relevance["it"].abs().max() > 0
    assert_equal(maps[0].relevance["it"], maps[1].relevance["it"], 1e-9)
    assert maps[0].ledger["it"].error < 1e-12
    alone = explained(one, batch=1)
    if math.isfinite(float(alone.ledger["it"].error)):
        assert_equal(alone.relevance["it"], explained(other, batch=1).relevance["it"], 1e-9)


def test_of_equal_scattered_ones_the_first_takes_all():
    """What stood there comes first, and then the terms in their order."""
    index = torch.tensor([3, 3, 3, 0])

    def op(y):
        terms = torch.stack([y[..., 2] + 99, y[..., 3], y[..., 2] + 99, y[..., 1]], 2)
        tied, places = y[..., [0, 0, 0, 1]], index.expand(len(y), 3, 4)
        one = tied.scatter_reduce(2, places, terms, "amax")
        two = tied.scatter_reduce(2, torch.zeros_like(places), tied[..., [0, 0, 1, 1]], "amin")
        return torch.stack([one, two], 2)

    def expected(y, R):
        below = torch.zeros_like(y)
        for row in range(3):
            one, two = R[0, row]
            y0, y1, y2, _ = y[0, row]
            below[0, row, 0] += one[1] + one[2] + two[1] + two[2]
            below[0, row, 1 if y1 > y0 else 0] += one[0]
            below[0, row, 2] += one[3] * y2 / (y2 + 99)
            below[0, row, 0] += two[0]
            below[0, row, 1] += two[3]
        return below

    assert_definition(op, expected, rtol=1e-9)


def test_what_is_put_in_is_lost():
    places, numbers = torch.tensor([1, 5]), torch.tensor([0.3, -0.2], dtype=D)
    assert_definition(
        lambda y: torch.stack([each.put(places, numbers) for each in y]),
        lambda y, R: R.flatten(1).index_fill(1, places, 0.0).view_as(R),
    )
    with pytest.raises(rp.UnsupportedOp, match="written to one place"):
        explained(lambda y: y.put(torch.tensor([1, 1]), numbers), batch=1)


def test_what_is_filled_carries_nothing_and_what_is_written_after_does():
    def f(y):
        z = y.clone()
        z.zero_()
        z[..., :2] = y[..., 2:]
        return z

    assert_definition(f, lambda y, R: moved_back(lambda t: F.pad(t[..., 2:], (0, 2)), y, R))
    with pytest.raises(rp.UnsupportedOp, match="it stops at fill"):
        explained(lambda y: y.clone().fill_(2.0))
    with pytest.raises(rp.UnsupportedOp, match="y \\* 0"):
        explained(lambda y: y.clone().fill_(y[0, 0, 0]), batch=1)


def test_what_is_no_number_is_no_inputs():
    e = explained(lambda y: y.sqrt().nan_to_num())
    below, above = e.inside["it"]["before"], e.inside["it"]["op"]

    y = Around(lambda y: y.sqrt().nan_to_num()).before(inputs())
    assert bool((y < 0).any())
    assert_equal(below, above * (y >= 0), 1e-12)
    assert_equal(e.ledger["it"].sum("lost"), (above * (y < 0)).flatten(2).sum(2), 1e-12)
    with pytest.raises(rp.UnsupportedOp, match="nan_to_num"):
        explained(lambda y: y.sqrt().nansum(2))
    assert explained(lambda y: y.sqrt().nan_to_num().sum(2)).ledger["it"].error < 1e-12


REFUSED = {
    "sorted along the batch": (lambda y: y.msort(), "mixes the pictures"),
    "a quantile of all": (lambda y: y - y.quantile(0.5), "mixes the pictures"),
    "scattered products": (
        lambda y: y.scatter_reduce(2, INDEX.expand(2, 3, 4), y, "prod"),
        "its products have no rule",
    ),
    "scattered along the batch": (
        lambda y: y.scatter_reduce(0, INDEX.new_zeros(2, 3, 4), y, "amax"),
        "mixes the pictures",
    ),
    "a weight of one picture": (lambda y: F.linear(y, y[0]), "mixes the pictures"),
    "a constant and a weight that is a value": (
        lambda y: F.linear(OTHER, y[0])[None].expand(2, 3, 3) + y[..., :3],
        "x @ weight.T",
    ),
    "matrices that are wider": (lambda y: y[:, 0] @ BATCH, "repeat the value first"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REFUSED)
def test_what_stays_refused(name):
    f, message = REFUSED[name]
    with pytest.raises(rp.UnsupportedOp, match=message):
        explained(f)


def test_the_remedies_work():
    weight = lambda y: y[0, :, :4]  # noqa: E731
    assert explained(lambda y: (OTHER @ weight(y).T)[None] + y[..., :3], batch=1).ledger["it"].error < 1e-10

    def layer(y):
        kernel = y[0, :2].reshape(1, 2, 2, 2)
        return kernel.flatten(1) @ F.unfold(y[:, :, None].expand(-1, -1, 2, -1)[:, :2], 2)

    assert explained(layer, batch=1).ledger["it"].error < 1e-10
