"""Successive halving: who sees how many pictures, and in which order candidates leave."""

from itertools import pairwise

import numpy as np
import pytest

from relprop.tools.halving import LEAST, Round, ranking, rounds, work


@pytest.mark.parametrize("candidates", [1, 2, 3, 12, 90, 512])
@pytest.mark.parametrize("pictures", [1, 7, 30, 125, 4000])
@pytest.mark.parametrize("eta", [2, 3])
def test_rounds_grow_in_pictures_shrink_in_candidates_and_end_on_all(candidates, pictures, eta):
    plan = rounds(candidates, pictures, last=3, eta=eta)
    assert plan[0].candidates == candidates
    assert plan[-1].pictures == pictures
    assert len(plan) == 1 or plan[-1].candidates == 3
    assert all(a.pictures < b.pictures and a.candidates > b.candidates for a, b in pairwise(plan))
    assert plan[0].pictures >= min(LEAST, pictures)
    assert work(plan) <= candidates * pictures


def test_a_search_of_ninety_costs_a_sixteenth_of_looking_at_all():
    plan = rounds(90, 1080, last=3)
    assert plan == [Round(90, 14), Round(30, 40), Round(10, 120), Round(4, 360), Round(3, 1080)]
    assert work(plan) == 90 * 14 + 30 * 26 + 10 * 80 + 4 * 240 + 3 * 720 < 90 * 1080 / 16


def test_candidates_are_ordered_by_the_mean_of_their_places():
    first, second = [[1.0, 2.0, 3.0]] * 4, [[3.0, 9.0, 2.0]] * 4
    assert ranking(np.array(first)[..., None]) == [2, 1, 0]
    assert ranking(np.stack([first, second], 2)) == [1, 2, 0]  # places 3 2 1 and 2 1 3: means 2.5, 1.5, 2


def test_one_that_defines_too_little_comes_last_and_takes_no_row_from_others():
    values = np.array([[9.0, 1.0, 2.0], [np.nan, 1.0, 2.0], [np.nan, 1.0, 2.0], [np.nan, 9.0, 2.0]])[..., None]
    assert ranking(values) == [1, 2, 0]  # over all four rows: 3 against 2


def test_means_are_over_the_rows_that_all_define():
    values = np.full((20, 2, 1), 1.0)
    values[:, 1] = 2.0
    values[0, 0], values[0, 1] = 1000.0, np.nan  # 19 of 20 is enough, and this row is no one's
    assert ranking(values) == [1, 0]
