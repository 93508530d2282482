"""How alike two maps of a picture are, beside their cosine: as pictures (SSIM) and in the order of their pixels.

Sources: Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity" (2004); Adebayo et al.,
"Sanity Checks for Saliency Maps" (2018), who compare maps of randomised networks by both.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from relprop.metrics.arrays import Array
from relprop.metrics.localization import checked_plane, precision
from relprop.support.errors import InputError

WINDOW, WIDTH = 11, 1.5
"""Side of SSIM's window in pixels, and the deviation of the Gaussian in it: Wang et al.'s."""


def ssim(R_a: Array, R_b: Array) -> Tensor:
    """Return the structural similarity of maps, (B,), at most 1, each scaled to a largest absolute value of 1 first.

    Signs count. The mean is over all places where a window of 11 x 11 pixels fits.

    Args:
        R_a: relevance, (B, C, H, W), summed over channels first, or (B, H, W).
        R_b: relevance of the same pictures, of the same height and width.

    Returns:
        NaN where a map is zero everywhere or not finite, or narrower than 11 pixels.

    Raises:
        InputError: the shapes do not fit.

    Example:
        >>> import torch, relprop as rp
        >>> R = torch.rand(1, 3, 16, 16)
        >>> round(rp.metrics.ssim(R, 2 * R).item(), 5)
        1.0
    """
    a, b = (plane / plane.abs().amax((1, 2), keepdim=True) for plane in _two(R_a, R_b))
    if min(a.shape[1:]) < WINDOW:
        return torch.full((len(a),), torch.nan, dtype=precision(R_a), device=a.device)
    small, smaller = (0.03 * 2) ** 2, (0.01 * 2) ** 2  # of values that reach from -1 to 1
    mean_a, mean_b = _smoothed(a), _smoothed(b)
    var_a, var_b = _smoothed(a * a) - mean_a**2, _smoothed(b * b) - mean_b**2
    both = _smoothed(a * b) - mean_a * mean_b
    light = (2 * mean_a * mean_b + smaller) / (mean_a**2 + mean_b**2 + smaller)
    found = light * (2 * both + small) / (var_a + var_b + small)
    means = [picture.mean() for picture in found]  # one by one: a sum's order may not depend on the batch
    return torch.stack(means).to(precision(R_a)) if means else found.new_zeros(0)


def spearman(R_a: Array, R_b: Array) -> Tensor:
    """Return the correlation of the ranks of two maps' pixels, (B,), in -1..1; equal pixels share their mean rank.

    Args:
        R_a: relevance, (B, C, H, W), summed over channels first, or (B, H, W).
        R_b: relevance of the same pictures, of the same height and width.

    Returns:
        NaN where a map is the same everywhere or not finite.

    Raises:
        InputError: the shapes do not fit.

    Example:
        >>> import torch, relprop as rp
        >>> R = torch.rand(1, 3, 8, 8)
        >>> round(rp.metrics.spearman(R, 2 * R).item(), 5)
        1.0
    """
    pairs = zip(*_two(R_a, R_b), strict=True)
    found = [_correlation(_ranks(a.flatten()), _ranks(b.flatten())) for a, b in pairs]
    return torch.stack(found).to(precision(R_a)) if found else torch.zeros(0, dtype=precision(R_a))


def _two(R_a: Array, R_b: Array) -> tuple[Tensor, Tensor]:
    a, b = checked_plane(R_a), checked_plane(R_b)
    if a.shape != b.shape:
        raise InputError(f"maps of shapes {tuple(R_a.shape)} and {tuple(R_b.shape)}: give two of the same pictures")
    return a, b.to(a.device)


def _smoothed(planes: Tensor) -> Tensor:
    """Weighted means in each whole window, along one axis and then the other."""
    at = torch.arange(WINDOW, dtype=planes.dtype, device=planes.device) - WINDOW // 2
    bell = torch.exp(-(at**2) / (2 * WIDTH**2))
    bell = bell / bell.sum()
    down = F.conv2d(planes[:, None], bell[None, None, :, None])
    return F.conv2d(down, bell[None, None, None, :])[:, 0]


def _ranks(values: Tensor) -> Tensor:
    """Ranks from 0, float64; NaN everywhere where a value is not finite."""
    if not values.isfinite().all():
        return torch.full_like(values, torch.nan)
    _, which, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double() - 1
    mean: Tensor = last - (counts.double() - 1) / 2
    return mean[which]


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """NaN where one of them is constant."""
    a, b = a - a.mean(), b - b.mean()
    return (a @ b / ((a @ a) * (b @ b)).sqrt()).clamp(-1, 1)
