"""Pixel flipping as Quantus has it: the same curve of one channel; of several it flips single numbers, not pixels."""

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
