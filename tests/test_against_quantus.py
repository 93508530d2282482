"""Quantus beside ours: equal where its formulas follow their papers; where they do not, how they differ."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import relprop as rp
from conftest import randomised

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    quantus = pytest.importorskip("quantus", reason="quantus is not installed: uv pip install quantus")

pytestmark = pytest.mark.filterwarnings("ignore")


def network(channels):
    return randomised(
        nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)), torch.float32
    )


def by_quantus(model, x, R, target, at_once):
    metric = quantus.PixelFlipping(
        features_in_step=at_once, abs=False, normalise=False, perturb_baseline=0.0, disable_warnings=True
    )
    found = metric(
        model=model, x_batch=x.numpy(), y_batch=target.numpy(), a_batch=R.numpy(), channel_first=True, softmax=False
    )
    return torch.from_numpy(np.stack(found)).double()


@pytest.mark.parametrize("at_once", [1, 4])
def test_the_curve_of_one_channel_is_quantus_s(at_once):
    model, x, target = network(1), torch.randn(3, 1, 8, 8), torch.tensor([0, 2, 1])
    R = torch.randn(3, 1, 8, 8)
    steps = 64 // at_once
    ours = rp.metrics.flip(model, x, R, target, steps=steps, replace=0.0)
    assert torch.allclose(ours.morf[:, 1:], by_quantus(model, x, R, target, at_once), atol=1e-5)
    assert torch.allclose(ours.lerf[:, 1:], by_quantus(model, x, -R, target, at_once), atol=1e-5)


def test_of_three_channels_quantus_flips_numbers_where_papers_flip_pixels():
    model, x, target = network(3), torch.randn(1, 3, 8, 8), torch.tensor([1])
    R = torch.randn(1, 3, 8, 8)
    ours = rp.metrics.flip(model, x, R, target, steps=64, replace=0.0)
    theirs = by_quantus(model, x, R, target, 1)[:, 2::3]  # where as many numbers are gone
    assert torch.allclose(ours.morf[:, -1], theirs[:, -1], atol=1e-5)
    assert float((ours.morf[:, 1:-1] - theirs[:, :-1]).abs().max()) > 0.01


def test_sparseness_and_complexity_are_quantus_s():
    model, x, target = network(1), torch.randn(3, 1, 8, 8), np.array([0, 2, 1])
    R = torch.randn(3, 1, 8, 8, dtype=torch.float64)
    given = {"x_batch": x.numpy(), "y_batch": target, "a_batch": R.numpy()}
    for metric, ours in (
        (quantus.Sparseness(abs=True, normalise=False, disable_warnings=True), rp.metrics.sparseness),
        (quantus.Complexity(abs=True, normalise=False, disable_warnings=True), rp.metrics.complexity),
    ):
        theirs = metric(model=model, **{key: value.copy() for key, value in given.items()})
        assert ours(R).tolist() == pytest.approx(theirs, abs=1e-6)  # they add 1e-7 and 1e-12 to every pixel


def localised(R, mask, *, weighted=False, **options):
    """By Quantus, of maps and masks (B, H, W) beside pictures of three channels."""
    x = np.ones((len(R), 3, *R.shape[1:]), dtype=np.float32)
    metric = quantus.AttributionLocalisation(
        weighted=weighted, normalise=False, disable_warnings=True, max_size=10.0, **options
    )
    found = metric(
        model=network(3),
        x_batch=x,
        y_batch=np.zeros(len(R), dtype=int),
        a_batch=R[:, None].numpy().copy(),
        s_batch=mask[:, None].numpy(),
        channel_first=True,
    )
    return torch.tensor(np.array(found, dtype=np.float64))


@pytest.fixture
def maps():
    """Five maps of both signs, and masks of different sizes."""
    mask = torch.zeros(5, 8, 8, dtype=torch.bool)
    for k in range(5):
        mask[k, : k + 2, : k + 3] = True
    return torch.randn(5, 8, 8, dtype=torch.float64), mask


def test_the_inside_total_ratio_is_quantus_s_once_it_leaves_out_absolute_values(maps):
    R, mask = maps
    ours = rp.metrics.inside_total_ratio(R, mask)
    assert torch.allclose(localised(R, mask, abs=False, positive_attributions=True), ours, atol=1e-6)
    by_default = localised(R, mask)  # |R|: negative relevance counts as much as positive
    assert torch.allclose(by_default, rp.metrics.inside_total_ratio(R.abs(), mask), atol=1e-6)
    assert float((by_default - ours).abs().max()) > 0.01


def test_the_weighted_ratio_is_not_quantus_s_which_depends_on_the_batch_and_multiplies_by_the_area(maps):
    R, mask = maps
    options = {"abs": False, "positive_attributions": True, "weighted": True}
    mu, area = rp.metrics.inside_total_ratio(R, mask), mask.sum((1, 2)).double()
    values = (len(R) - 2) * 3 * 64  # of the batch without its first two pictures, all channels
    assert torch.allclose(localised(R, mask, **options), mu * area / values, atol=1e-6)
    ours = rp.metrics.weighted_inside_total_ratio(R, mask)
    assert torch.allclose(ours, mu * 64 / area, atol=1e-12)
    assert torch.equal(rp.metrics.weighted_inside_total_ratio(R[:3], mask[:3]), ours[:3])  # whatever the batch
    assert not torch.allclose(localised(R[:3], mask[:3], **options), localised(R, mask, **options)[:3])
    uniform = 1 + 1e-6 * R  # as good as: Quantus takes none that is
    assert torch.allclose(rp.metrics.weighted_inside_total_ratio(uniform, mask), torch.ones(5).double(), atol=1e-5)
    assert float(localised(uniform, mask, **options).std()) > 0.001  # it is not the same for every box


def test_its_metrics_call_our_explain_func():
    model, x, target = network(3), torch.randn(2, 3, 8, 8), np.array([0, 2])
    R = rp.attribute(model, x, torch.tensor(target), "lrp-alpha1").sum(1)
    metric = quantus.Sparseness(abs=True, normalise=False, disable_warnings=True)
    found = metric(
        model=model,
        x_batch=x.numpy(),
        y_batch=target,
        a_batch=None,
        explain_func=rp.quantus.explain_func,
        explain_func_kwargs={"method": "lrp-alpha1", "channels": "sum"},
    )
    assert found == pytest.approx(rp.metrics.sparseness(R).tolist(), abs=1e-3)  # of small maps 1e-7 is not nothing
    whole = rp.quantus.explain_func(model, x.numpy(), None, method="lrp-alpha1", softmax=False)
    assert whole.shape == (2, 3, 8, 8)
    assert np.allclose(whole, rp.attribute(model, x, None, "lrp-alpha1").numpy())
