"""Sparseness, complexity and likeness of maps against their definitions, scikit-image, SciPy and what theory says."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity

import relprop as rp
from relprop import metrics

S = 40  # side of a map


@pytest.fixture(scope="module")
def mask():
    mask = torch.zeros(1, S, S, dtype=torch.bool)
    mask[0, 5:25, 10:26] = True
    return mask


def random_maps(number=16):
    """Absolute values of an exponential distribution, of random sign: theory says what they give."""
    generator = torch.Generator().manual_seed(0)
    sizes = torch.empty(number, S, S, dtype=torch.float64).exponential_(generator=generator)
    return sizes * (2 * torch.randint(2, sizes.shape, generator=generator) - 1)


def test_a_uniform_map_has_what_theory_says(mask):
    R, share, pixels = torch.ones(1, S, S, dtype=torch.float64), 320 / S**2, S * S
    assert float(metrics.inside_total_ratio(R, mask)) == pytest.approx(share)
    assert float(metrics.weighted_inside_total_ratio(R, mask)) == pytest.approx(1)
    assert float(metrics.pointing_game(R, mask)) == pytest.approx(share)
    assert float(metrics.relevance_rank_accuracy(R, mask)) == pytest.approx(share)
    assert float(metrics.top_k(R, mask, 100)) == pytest.approx(share)
    assert float(metrics.sparseness(R)) == pytest.approx(0, abs=1e-12)
    assert float(metrics.complexity(R)) == pytest.approx(math.log(pixels))
    assert (float(metrics.similarity(R, R)), float(metrics.ssim(R, R))) == pytest.approx((1, 1))
    assert metrics.spearman(R, R).isnan().all()  # it orders nothing


def test_the_mask_itself_as_map_has_what_theory_says(mask):
    R, inside, pixels = mask.double(), 320, S * S
    assert float(metrics.inside_total_ratio(R, mask)) == 1
    assert float(metrics.weighted_inside_total_ratio(R, mask)) == pytest.approx(pixels / inside)
    assert (float(metrics.pointing_game(R, mask)), float(metrics.relevance_rank_accuracy(R, mask))) == (1, 1)
    assert float(metrics.top_k(R, mask, 100)) == 1
    assert float(metrics.top_k(R, mask, 2 * inside)) == 0.5  # no other pixel is inside
    assert float(metrics.sparseness(R)) == pytest.approx(1 - inside / pixels)
    assert float(metrics.complexity(R)) == pytest.approx(math.log(inside))
    assert float(metrics.spearman(R, R)) == pytest.approx(1)


def test_random_maps_have_what_theory_says(mask):
    R, masks, share = random_maps(), mask.expand(16, -1, -1), 320 / S**2
    assert float(metrics.inside_total_ratio(R, masks).mean()) == pytest.approx(share, abs=0.01)
    assert float(metrics.weighted_inside_total_ratio(R, masks).mean()) == pytest.approx(1, abs=0.05)
    assert float(metrics.relevance_rank_accuracy(R, masks).mean()) == pytest.approx(share, abs=0.02)
    assert float(metrics.sparseness(R).mean()) == pytest.approx(1 / 2, abs=0.01)  # Gini index of exponential sizes
    assert float(metrics.complexity(R).mean()) == pytest.approx(math.log(S * S) - 1 + np.euler_gamma, abs=0.01)
    for likeness in (metrics.similarity, metrics.spearman):
        assert float(likeness(R[:8], R[8:]).mean()) == pytest.approx(0, abs=0.03)


def test_likeness_is_scikit_image_s_and_scipy_s():
    a, b = random_maps(2)[:, None], random_maps(3)[1:, None] + 0.3
    b[0, 0, :20] = a[0, 0, :20].round()  # with ties
    scaled = [(R / R.abs().amax((1, 2, 3), keepdim=True))[:, 0].numpy() for R in (a, b)]
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 2}
    wanted = [structural_similarity(*pair, **options) for pair in zip(*scaled, strict=True)]
    assert metrics.ssim(a, b).tolist() == pytest.approx(wanted, abs=1e-9)
    ranks = [spearmanr(one.numpy().ravel(), two.numpy().ravel()).statistic for one, two in zip(a, b, strict=True)]
    assert metrics.spearman(a, b).tolist() == pytest.approx(ranks, abs=1e-12)


def test_what_is_undefined_is_nan():
    R = torch.zeros(2, 12, 12)
    R[1, 0, 0] = torch.inf
    other = torch.rand(2, 12, 12)
    for found in (metrics.sparseness(R), metrics.complexity(R), metrics.ssim(R, other), metrics.spearman(R, other)):
        assert found.isnan().all()
    assert metrics.ssim(other[:, :5], other[:, :5]).isnan().all()
    with pytest.raises(rp.InputError, match="two of the same pictures"):
        metrics.spearman(R, other[:1])


def test_flipping_a_sum_over_the_mask_has_the_areas_of_theory():
    """By the mask itself, MoRF of a mean over S of N pixels falls to 0 after S, LeRF stays 1 until N - S are gone."""
    side, inside = 8, 16
    mask = torch.zeros(1, side, side)
    mask[0, 2:6, 2:6] = 1
    x, n = torch.ones(1, 3, side, side), side * side

    def model(x):
        return ((x[:, 0] * mask).sum((1, 2)) / inside)[:, None]

    found = metrics.flip(model, x, mask, 0, steps=n, replace=0.0)
    assert float(found.morf_area) == pytest.approx(inside / n / 2)
    assert float(found.lerf_area) == pytest.approx(1 - inside / n / 2)
    assert float(found.srg) == pytest.approx(1 - inside / n)
    assert float(found.abpc) == pytest.approx((1 - inside / n) * n / (n + 1))
    chance = metrics.flip(model, x.expand(200, -1, -1, -1), torch.rand(200, side, side), 0, steps=8, replace=0.0)
    assert float(chance.srg.mean()) == pytest.approx(0, abs=0.03)
    assert metrics.flip(model, x, torch.ones(1, side, side), 0).srg.isnan().all()  # the same everywhere: no order
