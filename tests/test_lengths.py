"""Norms, deviations, determinants and the like: Euler's identity, and what they are when they are written out."""

import pytest
import torch
import torch.nn.functional as F

import relprop as rp
from more_ops import D, assert_bounds, assert_definition, assert_equal, explained

OTHER = torch.randn(3, 4, dtype=D, generator=torch.Generator().manual_seed(5))


def of_squares(y, R):
    """Of |y| along the last axis: y_i^2 / sum y^2."""
    return y.square() / y.square().sum(-1, keepdim=True) * R.reshape(*y.shape[:-1], 1)


def of_deviations(y, R):
    """y_i (y_i - mean) / sum (y - mean)^2."""
    d = y - y.mean(-1, keepdim=True)
    return y * d / d.square().sum(-1, keepdim=True) * R.reshape(*y.shape[:-1], 1)


DEFINED = {
    "norm": (lambda y: y.norm(dim=2), of_squares),
    "norm of torch": (lambda y: torch.norm(y, 2, 2, keepdim=True), of_squares),
    "vector_norm": (lambda y: torch.linalg.vector_norm(y, dim=2), of_squares),
    "linalg.norm": (lambda y: torch.linalg.norm(y, dim=-1, keepdim=True), of_squares),
    "of one": (lambda y: y.norm(1, 2), lambda y, R: y.abs() / y.abs().sum(2, keepdim=True) * R[..., None]),
    "of three": (
        lambda y: torch.linalg.vector_norm(y, 3, dim=2),
        lambda y, R: y.abs() ** 3 / (y.abs() ** 3).sum(2, keepdim=True) * R[..., None],
    ),
    "the largest": (
        lambda y: torch.linalg.vector_norm(y, torch.inf, dim=2),
        lambda y, R: (y.abs() == y.abs().amax(2, keepdim=True)) * R[..., None],
    ),
    "matrix_norm": (
        lambda y: torch.linalg.matrix_norm(y)[:, None],
        lambda y, R: y.square() / y.square().sum((1, 2), keepdim=True) * R[..., None],
    ),
    "var": (lambda y: y.var(2), of_deviations),
    "var, of all": (lambda y: torch.var(y, 2, correction=0), of_deviations),
    "std": (lambda y: y.std(2, keepdim=True), of_deviations),
    "var_mean": (
        lambda y: torch.stack(torch.var_mean(y, 2), 2),
        lambda y, R: of_deviations(y, R[..., 0]) + y / y.sum(2, keepdim=True) * R[..., 1:],
    ),
    "std_mean": (
        lambda y: torch.stack(torch.std_mean(y, 2), 2),
        lambda y, R: of_deviations(y, R[..., 0]) + y / y.sum(2, keepdim=True) * R[..., 1:],
    ),
    "hypot": (
        lambda y: torch.hypot(y, OTHER),
        lambda y, R: R * y.square() / (y.square() + OTHER.square()),
    ),
}


@pytest.mark.parametrize("name", DEFINED)
def test_each_number_gets_what_it_gives(name):
    f, expected = DEFINED[name]
    assert_definition(f, expected, rtol=1e-12)


def test_of_a_whole_picture():
    def expected(y, R):
        return y.square() / y.square().sum() * R.reshape(1, 1, 1)

    assert_definition(lambda y: torch.linalg.vector_norm(y, dim=(1, 2))[:, None], expected, rtol=1e-12)
    assert_definition(lambda y: y.norm(dim=(1, 2), keepdim=True), expected, rtol=1e-12)


def along_singular_vectors(A, R):
    """A_ij u_i v_j / s of every singular value s = u^T A v."""
    U, S, V = torch.linalg.svd(A[0])
    return sum(A * torch.outer(u, v) / s * r for u, v, s, r in zip(U.T, V, S, R[0], strict=True))


def square(y):
    return y @ y.transpose(1, 2) + torch.eye(3, dtype=D)


OF_MATRICES = {
    "det": (
        lambda A: torch.linalg.det(A)[:, None],
        lambda A, R: A * torch.linalg.inv(A).mT / 3 * R[..., None],
    ),
    "svdvals": (
        torch.linalg.svdvals,
        lambda A, R: along_singular_vectors(A, R),
    ),
}


@pytest.mark.parametrize("name", OF_MATRICES)
def test_of_matrices(name):
    f, expected = OF_MATRICES[name]
    assert_definition(f, expected, (3, 3), rtol=1e-11)


def test_a_cholesky_factor_hands_on_all():
    """Of a matrix of one number it is a root, through which relevance passes."""
    one = explained(lambda y: torch.linalg.cholesky((y.abs() + 1)[:, :, None]), (1,))
    root = explained(lambda y: torch.sqrt((y.abs() + 1)[:, :, None]), (1,))
    assert_equal(one.relevance["it"], root.relevance["it"], 1e-12)
    e = explained(lambda y: torch.linalg.cholesky(square(y)))
    row = next(row for row in e.ledger["it"] if row.op == "cholesky")
    assert_equal(row.relevance_out, row.relevance_in)


PAIRS = {
    "norm": (lambda y: y.norm(dim=2), lambda y: y.square().sum(2).sqrt()),
    "of three": (lambda y: y.norm(3, 2), lambda y: (y.abs() ** 3).sum(2) ** (1 / 3)),
    "std": (lambda y: y.std(2), lambda y: ((y - y.mean(2, keepdim=True)).square().sum(2) / 3).sqrt()),
    "var": (lambda y: y.var(2), lambda y: (y - y.mean(2, keepdim=True)).square().sum(2) / 3),
    "hypot": (lambda y: torch.hypot(y, y.flip(1)), lambda y: (y.square() + y.flip(1).square()).sqrt()),
    "cdist": (
        lambda y: torch.cdist(y, y.flip(2).tanh()),
        lambda y: (y[:, :, None] - y.flip(2).tanh()[:, None]).norm(dim=-1),
    ),
    "cdist of one": (
        lambda y: torch.cdist(y, OTHER.expand(len(y), 3, 4), 1.0),
        lambda y: (y[:, :, None] - OTHER).abs().sum(-1),
    ),
    "pairwise": (
        lambda y: F.pairwise_distance(y, y.flip(1), keepdim=True),
        lambda y: (y - y.flip(1) + 1e-6).square().sum(-1, keepdim=True).sqrt(),
    ),
    "normalised": (lambda y: F.normalize(y, dim=2), lambda y: y / y.square().sum(2, keepdim=True).sqrt()),
}


@pytest.mark.parametrize("name", PAIRS)
def test_written_out_they_give_the_same_maps(name):
    one, other = (explained(f) for f in PAIRS[name])
    assert one.relevance["it"].abs().max() > 0
    assert_equal(one.relevance["it"], other.relevance["it"], 1e-8)
    assert one.ledger["it"].error < 1e-12


def test_a_length_that_divides_takes_none():
    one = explained(lambda y: y / (y.std(2, keepdim=True) + 1e-5))
    other = explained(lambda y: y / (y.std(2, keepdim=True) + 1e-5).detach())
    assert_equal(one.relevance["it"], other.relevance["it"], 1e-12)


def test_of_nothing_there_is_nothing_to_hand_on():
    e = explained(lambda y: (0 * y).norm(dim=2))
    assert not e.relevance["it"].any()
    assert e.ledger["it"].error < 1e-12


REFUSED = {
    "a count": (lambda y: y.norm(0, 2), "counts the numbers"),
    "along the batch": (lambda y: y - y.std(0), "mixes the pictures"),
    "matrices of a batch": (lambda y: torch.linalg.svdvals(y[:, 0]) + y[:, 0, :1], "mixes the pictures"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_stays_refused(name):
    f, message = REFUSED[name]
    with pytest.raises(rp.UnsupportedOp, match=message):
        explained(f)


@pytest.mark.parametrize("f", [lambda y: y.norm(dim=2), lambda y: y.var(2), lambda y: y.std(2)])
@pytest.mark.parametrize("dtype", [D, torch.float32])
def test_bounds_hold(f, dtype):
    assert_bounds(f, dtype)


# -- products along axes ---------------------------------------------------------------------------------


def test_factors_of_a_product_share_alike():
    assert_definition(lambda y: y.prod(2), lambda y, R: (R[..., None] / 4).expand_as(y), rtol=1e-12)
    assert_definition(lambda y: torch.prod(y, 1, keepdim=True), lambda y, R: (R / 3).expand_as(y), rtol=1e-12)


def test_a_product_of_two_is_the_product_of_two():
    one, other = explained(lambda y: y[:, :2].prod(1)), explained(lambda y: y[:, 0] * y[:, 1])
    assert_equal(one.relevance["it"], other.relevance["it"], 1e-12)


def test_factors_of_running_products_share_alike():
    def expected(y, R):
        below = torch.zeros_like(y)
        for j in range(4):
            below[..., : j + 1] += R[..., j : j + 1] / (j + 1)
        return below

    assert_definition(lambda y: y.cumprod(2), expected, rtol=1e-12)
    assert_definition(lambda y: y.clone().cumprod_(-1), expected, rtol=1e-12)


@pytest.mark.parametrize("f", [torch.sigmoid, torch.tanh, torch.exp, lambda y: 3 * torch.sigmoid(y), lambda y: y])
@pytest.mark.parametrize("along", [lambda y: y.prod(2), lambda y: y.cumprod(1)])
def test_bounds_of_products_hold(f, along):
    assert_bounds(lambda y: along(f(y)))
