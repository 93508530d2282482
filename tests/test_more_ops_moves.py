"""Moves and sums that torch has functions of their own for, written out in float64."""

import pytest
import torch
import torch.nn.functional as F

import relprop as rp
from more_ops import (
    Around,
    D,
    assert_bounds,
    assert_definition,
    assert_equal,
    by_gradient,
    explained,
    inputs,
    moved_back,
)

INDEX = torch.tensor([[0, 2, 1, 0], [1, 1, 0, 2], [2, 0, 2, 1]])
ROWS = torch.tensor([2, 0, 2])
GRID = F.affine_grid(torch.tensor([[[0.7, 0.3, 0.1], [-0.2, 0.9, 0.05]]], dtype=D), [1, 1, 3, 5], align_corners=False)
QUARTER = rp.Composite([(rp.on.any, rp.rules.Epsilon(0.25))])


def grid_of(y):
    return GRID.to(y).expand(len(y), -1, -1, -1)


def onto(y):
    return y.new_zeros(len(y), 3, 4)


SUMS = {
    "cumsum": (lambda y: y.cumsum(2), (3, 4)),
    "cumsum along another axis": (lambda y: torch.cumsum(y, dim=1), (3, 4)),
    "fold": (lambda y: F.fold(y, (4, 5), 2, padding=1), (8, 30)),
    "fold with strides": (lambda y: F.fold(y, (5, 5), 3, stride=2), (9, 4)),
    "scatter_add": (lambda y: onto(y).scatter_add(2, INDEX.expand(len(y), -1, -1), y), (3, 4)),
    "scatter_add onto itself": (lambda y: y.scatter_add(2, INDEX.expand(len(y), -1, -1), y), (3, 4)),
    "scatter_add in place": (lambda y: onto(y).scatter_add_(1, INDEX.expand(len(y), -1, -1), y), (3, 4)),
    "index_add": (lambda y: onto(y).index_add(1, ROWS, y), (3, 4)),
    "index_add in place": (lambda y: onto(y).index_add_(1, ROWS, y, alpha=0.5), (3, 4)),
    "index_add onto itself": (lambda y: torch.index_add(y, 1, ROWS, y, alpha=2), (3, 4)),
    "index_add onto itself, less": (lambda y: y.index_add(1, ROWS, y, alpha=-2), (3, 4)),
    "grid_sample": (lambda y: F.grid_sample(y, grid_of(y), align_corners=False), (2, 4, 4)),
    "grid_sample at the border": (
        lambda y: F.grid_sample(y, 2 * grid_of(y), padding_mode="border", align_corners=True),
        (2, 4, 4),
    ),
    "grid_sample, bicubic": (lambda y: F.grid_sample(y, grid_of(y), "bicubic", align_corners=False), (2, 4, 4)),
    "interpolate, bicubic": (lambda y: F.interpolate(y, size=(2, 7), mode="bicubic"), (2, 3, 4)),
    "interpolate, area": (lambda y: F.interpolate(y, size=(2, 3), mode="area"), (2, 3, 4)),
    "interpolate, linear": (lambda y: F.interpolate(y, size=7, mode="linear"), (3, 4)),
    "interpolate, trilinear": (lambda y: F.interpolate(y, scale_factor=2, mode="trilinear"), (1, 2, 3, 2)),
    "interpolate, antialias": (lambda y: F.interpolate(y, size=(2, 3), mode="bilinear", antialias=True), (2, 3, 4)),
}


@pytest.mark.parametrize("name", SUMS)
def test_each_term_takes_its_share(name):
    f, shape = SUMS[name]
    assert_definition(f, lambda y, R: by_gradient(f, y, R), shape, rtol=1e-8)
    assert_definition(f, lambda y, R: by_gradient(f, y, R, 0.25), shape, rtol=1e-8, method=QUARTER)


@pytest.mark.parametrize("name", SUMS)
def test_bounds_of_sums_hold(name):
    f, shape = SUMS[name]
    for dtype in (D, torch.float32):
        assert_bounds(lambda y: f(torch.sigmoid(y)), dtype, shape)
        assert_bounds(lambda y: f(-torch.sigmoid(y)), dtype, shape)
        assert_bounds(lambda y: f(torch.tanh(y)), dtype, shape)


def test_bounds_of_sums_with_constants_hold():
    for sign in (1.0, -1.0):
        assert_bounds(lambda y, sign=sign: (sign * torch.sigmoid(y)).index_add(1, ROWS, torch.full_like(y, -3 * sign)))
        assert_bounds(lambda y, sign=sign: torch.full_like(y, -sign).index_add(1, ROWS, sign * torch.sigmoid(y)))


def test_a_running_sum_written_out():
    def expected(y, R):
        out = torch.zeros_like(y)
        for j in range(4):
            z = y[..., : j + 1].sum(-1, keepdim=True)
            out[..., : j + 1] += y[..., : j + 1] * R[..., j : j + 1] / z
        return out

    assert_definition(lambda y: y.cumsum(-1), expected)


def test_a_constant_that_terms_are_added_to_is_bias():
    def f(y):
        return torch.full_like(y, 0.5).index_add(1, ROWS, y)

    e = explained(f)
    net = Around(f)
    y, above = net.before(inputs()), e.inside["it"]["op"]
    z = f(y)
    bias = above * 0.5 / z
    row = [r for r in e.ledger["it"].rows if r.op == "index_add"]
    assert_equal(row[0].bias, bias.flatten(2).sum(2), 1e-8)


MOVES = {
    "scatter": (lambda y: onto(y).scatter(2, INDEX.argsort(1)[:, :1].expand(len(y), 3, 1), y[..., :1]), (3, 4)),
    "scatter onto itself": (
        lambda y: y.scatter(1, ROWS[:2].view(1, 2, 1).expand(len(y), 2, 4), y[:, 1:].flip(2)),
        (3, 4),
    ),
    "scatter of a number": (lambda y: y.scatter(2, INDEX.expand(len(y), -1, -1), 0.5), (3, 4)),
    "index_put": (lambda y: y.index_put((torch.arange(len(y))[:, None], ROWS[:2]), y[:, 1:]), (3, 4)),
    "index_put in place": (lambda y: onto(y).index_put_((torch.arange(len(y))[:, None], ROWS[:2]), y[:, 1:]), (3, 4)),
    "masked_scatter": (lambda y: y.masked_scatter(torch.arange(4) > 1, y[..., :2].flip(1)), (3, 4)),
    "take": (lambda y: torch.take(y, torch.arange(6 * len(y)).view(len(y), 6) // 6 * 12 + ROWS.repeat(2)), (3, 4)),
    "index_fill": (lambda y: y.index_fill(1, ROWS, 0.3), (3, 4)),
    "select_scatter": (lambda y: y.select_scatter(y[:, :, 0], 2, 1), (3, 4)),
    "slice_scatter": (lambda y: y.slice_scatter(y[:, :, :2].flip(1), 2, 1, 3), (3, 4)),
    "diag_embed": (torch.diag_embed, (3, 4)),
    "max_unpool2d": (lambda y: F.max_unpool2d(*F.max_pool2d(y, 2, return_indices=True), 2), (2, 4, 6)),
    "max_unpool1d": (lambda y: F.max_unpool1d(*F.max_pool1d(y, 2, return_indices=True), 2), (2, 6)),
    "nearest of a grid": (lambda y: F.grid_sample(y, 1.5 * grid_of(y), "nearest", align_corners=False), (2, 4, 4)),
    **{
        f"pad by {mode}, pictures folded": (
            lambda y, mode=mode: F.pad(y.reshape(-1, 1, 3, 4), (1, 1, 0, 1), mode=mode).reshape(len(y), -1),
            (2, 3, 4),
        )
        for mode in ("constant", "reflect", "replicate", "circular")
    },
    "where, pictures folded": (
        lambda y: torch.where(torch.arange(4) > 1, y.reshape(-1, 4), 0.0).reshape(len(y), -1),
        (3, 4),
    ),
}


@pytest.mark.parametrize("name", MOVES)
def test_relevance_goes_back_the_way_the_numbers_came(name):
    f, shape = MOVES[name]
    assert_definition(f, lambda y, R: moved_back(f, y, R), shape)


@pytest.mark.parametrize("name", MOVES)
def test_bounds_of_moves_hold(name):
    f, shape = MOVES[name]
    for dtype in (D, torch.float32):
        assert_bounds(lambda y: f(1 + torch.sigmoid(y)), dtype, shape)


@pytest.mark.parametrize("name", [*MOVES, *SUMS])
def test_the_record_is_the_model(name):
    f, shape = {**MOVES, **SUMS}[name]
    assert rp.check(Around(f, shape), inputs(), target=0).ok


MIXING = {
    "cumsum": lambda y: y.cumsum(0),
    "scatter_add": lambda y: torch.zeros_like(y).scatter_add(0, INDEX.clamp(max=1).expand(2, 3, 4), y),
    "index_add": lambda y: y.index_add(0, torch.tensor([1, 0]), y),
    "index_add of the other picture's": lambda y: onto(y).index_add(1, ROWS, y.flip(0)),
    "matrices, one over the pictures and one of them": lambda y: (y.flatten(1).T @ y.flatten(1)[:, : len(y)].T).T,
    "index_put": lambda y: y.index_put((torch.tensor([0]),), y[1]),
    "masked_scatter": lambda y: y.masked_scatter(y > 0, y.flip(0)),
    "pad along the pictures": lambda y: F.pad(y, (0, 0, 0, 0, 1, 0))[1:],
    "pad along folded pictures": lambda y: F.pad(y.reshape(1, -1, 4), (0, 0, 1, 0))[:, 1:].reshape(len(y), 3, 4),
    "where": lambda y: torch.where(torch.arange(4) > 1, y, y.flip(0)),
}


@pytest.mark.parametrize("name", MIXING)
def test_pictures_that_mix_are_refused(name):
    with pytest.raises(rp.UnsupportedOp, match="mixes the pictures"):
        explained(MIXING[name])


def test_terms_of_pictures_in_other_axes_keep_their_owners():
    """Pictures that are folded into other axes, as graphs and windows have them."""
    places = torch.tensor([1, 1, 0, 4, 4, 3])

    def f(y):
        rows = y.reshape(-1, 4)
        return rows.new_zeros(len(rows), 4).index_add(0, places[: len(rows)], rows).reshape(len(y), 3, 4)

    with pytest.raises(rp.UnsupportedOp, match="mixes the pictures"):  # rows that get nothing belong to nobody
        explained(f)

    def g(y):
        rows = y.reshape(-1, 4)
        return rows.index_add(0, places[: len(rows)], rows).reshape(len(y), 3, 4)

    assert_definition(g, lambda y, R: by_gradient(g, y, R), rtol=1e-8)


def test_terms_of_another_shape_than_their_places_are_refused():
    index = INDEX.argsort(1)[:, :1]
    for f in (
        lambda y: y.scatter(2, index.expand(len(y), 3, 1), y),
        lambda y: y.scatter_add(2, index.expand(len(y), 3, 1), y),
    ):
        with pytest.raises(rp.UnsupportedOp, match="cut it to the shape of the index"):
            explained(f)


TWICE = {
    "scatter": lambda y: y.scatter(2, INDEX.expand(len(y), -1, -1), y),
    "index_put": lambda y: y.index_put((torch.tensor([0, 0]), torch.tensor([1, 1])), y[0, :2]),
}


@pytest.mark.parametrize("name", TWICE)
def test_two_numbers_for_one_place_are_refused(name):
    with pytest.raises(rp.UnsupportedOp, match="written to one place"):
        explained(TWICE[name], batch=1)


def test_what_adds_while_it_writes_is_refused():
    for f in (
        lambda y: y.index_put((torch.arange(len(y)),), y, accumulate=True),
        lambda y: y.scatter(2, INDEX.expand(len(y), -1, -1), 2.0, reduce="multiply"),
    ):
        with pytest.raises(rp.UnsupportedOp, match="use scatter_add or index_add"):
            explained(f)


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_a_grid_that_depends_on_the_input_is_a_gate(mode, detached):
    def grid(y):
        return y.mean(1)[:, :3, :4].unsqueeze(-1).expand(-1, -1, -1, 2)

    def f(y, places=None):
        own = grid(y).detach() if detached else grid(y)
        return F.grid_sample(y, own if places is None else places, mode, align_corners=False)

    def expected(y, R):
        places = grid(y)
        back = moved_back if mode == "nearest" else by_gradient
        return back(lambda leaf: f(leaf, places), y, R)

    assert_definition(f, expected, (2, 4, 4), rtol=1e-8)


def test_a_constant_that_is_sampled_where_the_input_says_is_refused():
    picture = torch.randn(2, 2, 4, 4, dtype=D)

    def f(y):
        return F.grid_sample(picture[: len(y)], y[:, :2].permute(0, 2, 3, 1).tanh(), align_corners=False)

    with pytest.raises(rp.UnsupportedOp, match="it samples a constant"):
        explained(f, (2, 4, 4))


FLAT = rp.Composite([(rp.on.pool | rp.on.add, rp.rules.Flat()), (rp.on.any, rp.rules.Z())])
EVENLY = {name: SUMS[name] for name in SUMS if "grid" not in name and "interpolate" not in name}


@pytest.mark.parametrize("name", EVENLY)
def test_under_flat_all_terms_share_evenly(name):
    f, shape = EVENLY[name]

    def expected(y, R):
        leaf = torch.ones_like(y, requires_grad=True)
        terms = f(leaf)
        return torch.autograd.grad(terms, leaf, torch.where(terms == 0, 0.0, R / terms.detach()))[0]

    if "in place" in name or "onto itself" in name:  # with factors, which flat does not see
        assert explained(f, shape, FLAT).ledger["it"].error < 1e-10
    else:
        assert_definition(f, expected, shape, method=FLAT, rtol=1e-9)


def test_under_flat_factors_do_not_count():
    def expected(y, R):
        at = R.unbind(1)  # y_0 + 2 y_1, y_1, y_2 + 2 y_0 + 2 y_2
        return torch.stack([at[0] / 2 + at[2] / 3, at[0] / 2 + at[1], at[2] / 3 * 2], 1)

    assert_definition(lambda y: torch.index_add(y, 1, ROWS, y, alpha=2), expected, method=FLAT)


def test_under_flat_constants_take_nothing_and_what_comes_to_them_alone_is_lost():
    def f(y):
        rows = F.pad(y, (0, 0, 0, 1), value=-3.0)
        return torch.full_like(y, 0.5).index_add(1, torch.tensor([2, 0, 2, 0]), rows)

    e = explained(f, method=FLAT)
    above = e.inside["it"]["op"]
    assert above.abs().min() > 0
    assert_equal(e.inside["it"]["before"], torch.stack([above[:, :, 2] / 2, above[:, :, 0], above[:, :, 2] / 2], 2))
    assert_equal(e.ledger["it"].sum("lost"), above[:, :, 1].sum(-1))
    assert e.ledger["it"].error < 1e-9


def test_what_comes_to_places_outside_of_a_picture_is_lost():
    def sampled(y):
        return F.grid_sample(y, 2 * grid_of(y), "nearest", align_corners=False)

    passing = rp.Composite([(rp.on.add, rp.rules.Flat()), (rp.on.any, rp.rules.Z())])
    e = explained(lambda y: sampled(y) + 1.0, (2, 4, 4), passing)
    above, below = e.inside["it"]["op"], e.inside["it"]["before"]
    y = Around(sampled, (2, 4, 4)).before(inputs())
    for t in range(2):
        assert_equal(below[t], moved_back(sampled, y, above[t]))
    lost = (above * (sampled(torch.ones_like(y)) == 0)).flatten(2).sum(2)
    assert lost.abs().min() > 0
    assert_equal(e.ledger["it"].sum("lost"), lost)
    assert e.ledger["it"].error < 1e-9


def test_padding_that_is_scattered_counts_like_padding_that_is_picked():
    def added(y):
        return F.pad(y, (0, 0, 0, 1)).index_add(1, torch.tensor([2, 0, 3, 1]), F.pad(y, (0, 0, 0, 1)), alpha=-1) * 2

    def picked(y):
        rows = F.pad(y, (0, 0, 0, 1))
        return (rows - rows[:, [1, 3, 0, 2]]) * 2

    def placed(y):
        return y.new_zeros(len(y), 6, 4).index_add(1, torch.tensor([5, 0, 3, 1]), F.pad(y, (0, 0, 0, 1)))

    def joined(y):
        none = torch.zeros_like(y[:, :1])
        return torch.cat([y[:, 1:2], none, none, y[:, 2:3], none, y[:, :1]], 1)

    method = rp.Composite([(rp.on.last(1), rp.rules.WSquare()), (rp.on.any, rp.rules.Z())])
    for one, other in ((added, picked), (placed, joined)):
        a, b = explained(one, method=method), explained(other, method=method)
        assert_equal(a.outputs, b.outputs)
        assert_equal(a.relevance["it"], b.relevance["it"], 1e-9)
