"""Every rule on averages, and max-pools: held against the definitions on an explicit matrix (`reference.py`)."""

import pytest
from torch import nn

import reference
import relprop as rp
from relprop import rules
from rule_cases import RULES, assert_same, inputs, over, shares


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


def test_profile_toolbox_splits_ties_of_a_max_pool():
    pool, x = nn.MaxPool2d(3, 2, padding=1), inputs((2, 6, 5), "mixed").round().clamp(-1, 1)
    reads, _ = reference.dense_matrix(pool, (2, 6, 5))
    winners = (x.flatten(1)[:, :, None] == pool(x).flatten(1)[:, None]) * reads
    expected = winners / winners.sum(1, keepdim=True)
    assert_same(shares(pool, x, rules.Z(), profile="toolbox"), expected)
