"""Means, intervals and bins, by hand."""

import time

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from relprop.study import statistics
from relprop.study.accuracy import average_precision, mean_average_precisions, top_hits
from relprop.study.statistics import Resamples, bin_of, binned, deviations, interval, merged, share, stops

NAN = float("nan")


def test_means_are_over_what_is_defined_and_say_how_much_that_is():
    values = np.array([[1.0, NAN], [2.0, NAN], [6.0, 5.0], [np.inf, 7.0]])
    means = Resamples(3).means(values, np.array([0, 0, 1, 2]))
    assert means.mean.tolist() == [3.0, 6.0]
    assert means.defined.tolist() == [3, 2]
    assert means.total.tolist() == [4, 4]
    among = Resamples(3).means(values, np.array([0, 0, 1, 2]), np.array([True, False, False, True]))
    assert among.mean[0] == 1.0
    assert np.isnan(among.estimates()[0].low)  # one picture says nothing of others
    assert among.total.tolist() == [2, 2]


def test_nothing_defined_is_no_number_and_no_warning():
    estimate = Resamples(2).means(np.array([[NAN], [NAN]]), np.array([0, 1])).estimates()[0]
    assert np.isnan([estimate.mean, estimate.low, estimate.high]).all()
    assert (estimate.defined, estimate.total) == (0, 2)
    empty = Resamples(0).means(np.empty((0, 1)), np.empty(0, dtype=int)).estimates()[0]
    assert np.isnan(empty.mean)


def test_a_resample_is_of_pictures_and_counts_each_ones_rows_together():
    resamples = Resamples(3, seed=1, times=50)
    assert (resamples.counts.sum(0) == 3).all()
    values, picture = np.array([[1.0], [3.0], [10.0], [4.0]]), np.array([0, 0, 1, 2])
    draws = resamples.means(values, picture).draws[:, 0]
    for count, draw in zip(resamples.counts.T.astype(float), draws, strict=True):
        a, b, c = count
        assert draw == pytest.approx((4 * a + 10 * b + 4 * c) / (2 * a + b + c))


def test_an_interval_needs_most_of_the_draws():
    draws = np.array([[1.0, 1.0], [2.0, 2.0], [NAN, 3.0], [NAN, NAN], [NAN, NAN]])
    low, high = interval(draws)
    assert np.isnan(low[0])
    assert np.isnan(high[0])
    assert 1.0 <= low[1] <= high[1] <= 3.0


def test_resamples_of_many_pictures_count_all_of_them():
    pictures = statistics._CHUNK + 7
    values = np.random.default_rng(0).normal(size=(pictures, 1))
    resamples = Resamples(pictures, times=5)
    counts = resamples.counts.T.astype(float)
    expected = counts @ values / counts.sum(1, keepdims=True)
    np.testing.assert_allclose(resamples.means(values, np.arange(pictures)).draws, expected, rtol=1e-9)


def test_the_same_seed_gives_the_same_interval_and_another_nearly_the_same():
    values = np.random.default_rng(0).normal(size=(300, 1))
    picture = np.arange(300) // 2
    one, again, other = (Resamples(150, seed).means(values, picture).estimates()[0] for seed in (3, 3, 4))
    assert one == again
    assert one != other
    assert one.low == pytest.approx(other.low, abs=0.03)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    generator = np.random.default_rng(0)
    picture = np.repeat(np.arange(60), 3)
    hits, narrow = 0, 0
    for trial in range(200):
        values = np.repeat(generator.normal(size=60), 3)[:, None] + 0.3 * generator.normal(size=(180, 1))
        estimate = Resamples(60, trial, 400).means(values, picture).estimates()[0]
        naive = Resamples(180, trial, 400).means(values, np.arange(180)).estimates()[0]
        hits += estimate.low <= 0 <= estimate.high
        narrow += naive.low <= 0 <= naive.high
    assert 0.88 <= hits / 200 <= 0.99
    assert narrow / 200 < 0.85  # what resampling rows would have claimed


def test_differences_are_on_the_same_pictures():
    generator = np.random.default_rng(0)
    ease = generator.normal(0, 5, size=100)
    values = np.stack([ease, ease + 0.5 + generator.normal(0, 0.1, 100)], 1)
    resamples = Resamples(100)
    gap = resamples.means((values[:, 1] - values[:, 0])[:, None], np.arange(100)).estimates()[0]
    assert gap.low > 0.4
    both = resamples.means(values, np.arange(100)).draws
    assert np.percentile(both[:, 1] - both[:, 0], 2.5) == pytest.approx(gap.low)


def test_bins_hold_their_upper_end_and_no_rounding_moves_it():
    s_tot = np.full(101, 300)
    s_in = np.arange(101) * 3
    assert bin_of(s_in, s_tot).tolist() == [-1, *range(100)]
    assert bin_of(s_in + 1, s_tot)[:3].tolist() == [0, 1, 2]
    assert bin_of(np.array([5, 0]), np.array([0, 0])).tolist() == [-1, -1]
    assert np.array_equal(share(np.array([1, 0, 0]), np.array([4, 4, 0])), [0.25, NAN, NAN], equal_nan=True)


def test_binned_means_are_those_of_each_bin_alone():
    values, picture = np.array([[1.0], [3.0], [8.0]]), np.array([0, 1, 1])
    bins = binned(Resamples(2), [(values, picture, np.array([4, 4, 99]))])
    assert [k for k, means in enumerate(bins) if means is not None] == [4, 99]
    assert bins[4].mean[0] == 2.0
    assert bins[99].mean[0] == 8.0


def test_neighbouring_bins_join_until_each_holds_enough_pictures():
    where = np.array([0, 0, 2, 3, 5, 5, 9, -1])
    ends = stops([(where, np.arange(8))], least=2, bins=10)
    assert merged(where, ends).tolist() == [0, 0, 1, 1, 2, 2, 2, -1]  # the last picture alone joins those before it
    assert ends == [1, 4, 10]
    same = stops([(where, np.zeros(8, dtype=int))], least=2, bins=10)  # rows of one picture are not two
    assert merged(where, same).tolist() == [*[0] * 7, -1]


def test_deviations_are_those_of_each_bin():
    mean, deviation = deviations([(np.array([1.0, 3.0, NAN, 8.0, 5.0]), np.array([0, 0, 0, 2, -1]))], 3)
    assert np.array_equal(mean, [2.0, NAN, 8.0], equal_nan=True)
    assert np.array_equal(deviation, [1.0, NAN, NAN], equal_nan=True)


def test_top_hits_need_any_class_shown():
    hits = top_hits([[3, 1, 0, 2, 4], [9, 8, 7, 6, 3], [1, 2], [], [1]], [[3, 5], [3], [7], [1], [-1]])
    assert np.array_equal(hits, [[1, 1], [0, 1], [0, 0], [NAN, NAN], [NAN, NAN]], equal_nan=True)


def test_average_precision_by_hand():
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    truth = np.array([True, False, True, True, False])
    # precision 1, 1/2, 2/3, 3/4 at recall 1/3, 1/3, 2/3, 1: the highest to the right is 1, 3/4, 3/4
    assert average_precision(scores, truth) == pytest.approx((1 + 0.75 + 0.75) / 3)
    assert average_precision(scores, truth, eleven_points=True) == pytest.approx((4 * 1 + 7 * 0.75) / 11)
    assert np.isnan(average_precision(scores, np.zeros(5, dtype=bool)))
    both = np.stack([truth, np.zeros(5, dtype=bool)], 1)
    new, old = mean_average_precisions([(scores, shown) for shown in both.T])
    assert new == average_precision(scores, truth)
    assert old == average_precision(scores, truth, eleven_points=True)


def test_equal_scores_mean_the_same_in_any_order():
    truth = np.array([True, False, False, True])
    assert average_precision(np.zeros(4), truth) == average_precision(np.zeros(4), truth[::-1]) == 0.5


def test_average_precision_is_scikit_learns_but_for_the_envelope():
    generator = np.random.default_rng(0)
    truth = generator.random(400) < 0.2
    scores = truth + generator.normal(0, 0.7, 400)
    theirs = average_precision_score(truth, scores)
    assert theirs <= average_precision(scores, truth) <= theirs + 0.02


def test_fifty_thousand_pictures_take_seconds():
    generator = np.random.default_rng(0)
    values = generator.normal(size=(50_000, 12))
    start = time.perf_counter()
    Resamples(50_000).means(values, np.arange(50_000))
    assert time.perf_counter() - start < 10
