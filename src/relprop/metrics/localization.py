"""Whether relevance lies on the object: mu, mu_w and their kin.

Maps and masks are tensors or NumPy arrays, what is returned is a tensor. Everywhere a map is summed over its
colour channels first. What is undefined is NaN, never zero: `statuses` says why. Sums are taken in float64,
picture by picture, so that a picture's result is the same to the bit in whatever batch it comes; results are as
precise as R, float32 at least.

Source of mu and mu_w: Kohlbrenner et al., "Towards Best Practice in Explaining Neural Network Decisions with
LRP" (2020), section III.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from relprop.metrics.arrays import Array, as_tensor
from relprop.support.errors import InputError


def inside_total_ratio(R: Array, mask: Array) -> Tensor:
    """Return mu (B,), in 0..1: the share of the positive relevance that lies inside the mask.

    With S the areas, a uniform positive map has mu = S_in / S_tot.

    Args:
        R: relevance, (B, C, H, W) or (B, H, W).
        mask: (B, H, W) bool, the union of the class's boxes.

    Returns:
        NaN where there is no positive relevance, the mask is empty, or R is not finite.

    Raises:
        InputError: the shapes do not fit, or the mask is neither bool nor made of 0 and 1.

    Example:
        >>> import torch, relprop as rp
        >>> R = torch.tensor([[[4.0, -9.0], [1.0, 0.0]]])
        >>> mask = torch.tensor([[[True, True], [False, False]]])
        >>> rp.metrics.inside_total_ratio(R, mask)
        tensor([0.8000])
    """
    plane, mask = _checked(R, mask)
    positive = plane.clamp(min=0)
    mu = _sums(positive * mask) / _sums(positive)
    return _defined(mu, plane, mask).to(precision(R))


def weighted_inside_total_ratio(R: Array, mask: Array) -> Tensor:
    """Return mu_w (B,), at least 0: mu times S_tot / S_in, so 1 for a uniform map whatever the box's size.

    Args:
        R: relevance, (B, C, H, W) or (B, H, W).
        mask: (B, H, W) bool, the union of the class's boxes.

    Returns:
        NaN where `inside_total_ratio` is.

    Raises:
        InputError: as `inside_total_ratio`.

    Example:
        >>> import torch, relprop as rp
        >>> R = torch.tensor([[[4.0, -9.0], [1.0, 0.0]]])
        >>> mask = torch.tensor([[[True, True], [False, False]]])
        >>> rp.metrics.weighted_inside_total_ratio(R, mask)
        tensor([1.6000])
    """
    plane, mask = _checked(R, mask)
    return weighted_by_area(inside_total_ratio(plane, mask), mask).to(precision(R))


def weighted_by_area(mu: Array, mask: Array) -> Tensor:
    """Return mu S_tot / S_in (B,), for those who have mu already.

    Args:
        mu: (B,), as `inside_total_ratio` returns it.
        mask: (B, H, W) bool, the union of the class's boxes.

    Example:
        >>> import torch, relprop as rp
        >>> mask = torch.tensor([[[True, True], [False, False]]])
        >>> rp.metrics.weighted_by_area(torch.tensor([0.8]), mask)
        tensor([1.6000])
    """
    mu, mask = as_tensor(mu, "mu"), as_tensor(mask, "mask")
    height, width = mask.shape[1:]  # never the batch's size: two implementations in use divide by it
    return mu * (height * width / mask.sum(dim=(1, 2)).double()).to(mu)


def statuses(R: Array, mask: Array) -> list[str]:
    """Return for each picture ``"ok"``, or why its measures are undefined.

    ``"box_cropped_out"``: the mask is empty, whatever R is. ``"non_finite"``: R has NaN or infinite values, or
    sums to such. ``"no_positive_relevance"``: no pixel has any after the sum over channels.

    Args:
        R: relevance, (B, C, H, W) or (B, H, W).
        mask: (B, H, W) bool, the union of the class's boxes.

    Raises:
        InputError: as `inside_total_ratio`.

    Example:
        >>> import torch, relprop as rp
        >>> mask = torch.tensor([[[True, False]], [[False, False]]])
        >>> rp.metrics.statuses(torch.ones(2, 1, 2), mask)
        ['ok', 'box_cropped_out']
    """
    plane, mask = _checked(R, mask)
    total = _sums(plane.clamp(min=0))
    reasons = zip(mask.flatten(1).any(dim=1).tolist(), _finite(plane).tolist(), total.tolist(), strict=True)
    return [_status(inside, finite, positive) for inside, finite, positive in reasons]


def _status(inside: bool, finite: bool, positive: float) -> str:
    if not inside:
        return "box_cropped_out"
    if not finite:
        return "non_finite"
    return "ok" if positive > 0 else "no_positive_relevance"


def top_k(R: Array, mask: Array, k: int) -> Tensor:
    """Return (B,), in 0..1: the share of the k most relevant pixels that lies inside the mask.

    Among pixels of equal relevance chance decides, and the value expected of it is returned: a uniform map
    scores S_in / S_tot, and no corner of the picture is preferred.

    Args:
        R: relevance, (B, C, H, W) or (B, H, W).
        mask: (B, H, W) bool, the union of the class's boxes.
        k: from 1 to H x W.

    Returns:
        NaN where `inside_total_ratio` is.

    Raises:
        InputError: as `inside_total_ratio`, or there are fewer than k pixels or k is below 1.

    Example:
        >>> import torch, relprop as rp
        >>> R, mask = torch.tensor([[[5.0, 1.0, 3.0]]]), torch.tensor([[[True, True, False]]])
        >>> rp.metrics.top_k(R, mask, k=1).item()
        1.0
    """
    plane, mask = _checked(R, mask)
    if not 1 <= k <= mask[0].numel():
        raise InputError(f"top_k of k={k} pixels: choose k from 1 to {mask[0].numel()}, the number of pixels")
    return _highest(plane, mask, [k] * len(mask)).to(precision(R))


def relevance_rank_accuracy(R: Array, mask: Array) -> Tensor:
    """Return (B,), in 0..1: `top_k` with k the number of pixels inside the mask.

    The map's positive and negative values are ranked as they are. Source: Arras et al., "CLEVR-XAI" (2022).

    Args:
        R: relevance, (B, C, H, W) or (B, H, W).
        mask: (B, H, W) bool, the union of the class's boxes.

    Returns:
        NaN where `inside_total_ratio` is.

    Raises:
        InputError: as `inside_total_ratio`.

    Example:
        >>> import torch, relprop as rp
        >>> R, mask = torch.tensor([[[5.0, 1.0, 3.0]]]), torch.tensor([[[True, True, False]]])
        >>> rp.metrics.relevance_rank_accuracy(R, mask).item()  # of the two most relevant pixels one lies inside
        0.5
    """
    plane, mask = _checked(R, mask)
    return _highest(plane, mask, mask.sum(dim=(1, 2)).tolist()).to(precision(R))


def pointing_game(R: Array, mask: Array) -> Tensor:
    """Return (B,): 1 where the most relevant pixel lies inside the mask, 0 where outside.

    Several pixels of the same highest relevance: the share of them inside. No tolerance around the box.
    Source: Zhang et al., "Top-down Neural Attention by Excitation Backprop" (2016), who allow 15 pixels.

    Args:
        R: relevance, (B, C, H, W) or (B, H, W).
        mask: (B, H, W) bool, the union of the class's boxes.

    Returns:
        NaN where `inside_total_ratio` is.

    Raises:
        InputError: as `inside_total_ratio`.

    Example:
        >>> import torch, relprop as rp
        >>> rp.metrics.pointing_game(torch.tensor([[[5.0, 1.0]]]), torch.tensor([[[True, False]]])).item()
        1.0
    """
    return top_k(R, mask, 1)


def negative_share_inside(R: Array, other_mask: Array, own_mask: Array) -> tuple[Tensor, Tensor]:
    """Return how much of a map's negative relevance lies on other classes, and how much of the picture they are.

    The region is the other classes' boxes less what the explained class's own boxes overlap. Where the first
    number is larger than the second, the map holds those classes against the explained one (claim 11).

    Args:
        R: relevance, (B, C, H, W) or (B, H, W).
        other_mask: (B, H, W) bool, the union of the other classes' boxes.
        own_mask: (B, H, W) bool, the union of the explained class's boxes.

    Returns:
        Two of (B,), in 0..1: the share of the negative relevance inside the region, NaN where there is no negative
        relevance, the region is empty, or R is not finite; and the region's share of the picture's area.

    Raises:
        InputError: as `inside_total_ratio`.

    Example:
        >>> import torch, relprop as rp
        >>> R = torch.tensor([[[4.0, -3.0], [1.0, -1.0]]])
        >>> right = torch.tensor([[[False, True], [False, False]]])
        >>> left = torch.tensor([[[True, False], [True, False]]])
        >>> share, area = rp.metrics.negative_share_inside(R, other_mask=right, own_mask=left)
        >>> share.item(), area.item()
        (0.75, 0.25)
    """
    plane, explained = _checked(R, own_mask)
    _, other = _checked(R, other_mask)
    region = other & ~explained
    height, width = region.shape[1:]
    area = region.sum(dim=(1, 2)).double() / (height * width)
    return inside_total_ratio(-plane, region).to(precision(R)), area.to(precision(R))


def similarity(R_a: Array, R_b: Array) -> Tensor:
    """Return (B,), in -1..1: the cosine between two maps of a picture, of two classes for instance (claim 8).

    Signs count: 1 for maps that differ by a positive factor alone, -1 for opposite ones.

    Args:
        R_a: relevance, (B, C, H, W) or (B, H, W).
        R_b: relevance of the same pictures, of the same height and width.

    Returns:
        NaN where a map is zero everywhere or not finite.

    Raises:
        InputError: the shapes do not fit.

    Example:
        >>> import torch, relprop as rp
        >>> R = torch.rand(1, 3, 8, 8)
        >>> round(rp.metrics.similarity(R, -2 * R).item(), 5)
        -1.0
    """
    R_a, R_b = as_tensor(R_a, "R_a"), as_tensor(R_b, "R_b")
    a, b = _plane(R_a), _plane(R_b).to(R_a.device)
    if a.shape != b.shape:
        raise InputError(f"maps of shapes {tuple(R_a.shape)} and {tuple(R_b.shape)}: give two of the same pictures")
    a, b = (map_ / map_.abs().amax(dim=(1, 2), keepdim=True) for map_ in (a, b))  # no square over- or underflows
    cosine = _sums(a * b) / (_sums(a * a) * _sums(b * b)).sqrt()
    return cosine.clamp(-1, 1).to(precision(R_a))


# What they share


def checked_plane(R: Array) -> Tensor:
    """Return a map summed over channels, (B, H, W) float64.

    Raises:
        InputError: it is none.
    """
    return _plane(as_tensor(R, "R"))


def _plane(R: Tensor) -> Tensor:
    """Sum over channels: (B, H, W) float64."""
    if R.ndim not in (3, 4):
        raise InputError(f"R of shape {tuple(R.shape)}: give (B, C, H, W) or (B, H, W)")
    R = R.detach().double()
    return (R.sum(dim=1) if R.ndim == 4 else R).contiguous()


def _checked(R: Array, mask: Array) -> tuple[Tensor, Tensor]:
    """Return the map's plane and the mask as bool beside it, both (B, H, W)."""
    R, mask = as_tensor(R, "R"), as_tensor(mask, "mask")
    plane = _plane(R)
    if mask.shape != plane.shape:
        expected = tuple(plane.shape)
        raise InputError(f"mask of shape {tuple(mask.shape)} with R of {tuple(R.shape)}: give a mask of {expected}")
    if mask.dtype != torch.bool and not ((mask == 0) | (mask == 1)).all():
        raise InputError("a mask with values other than 0 and 1: a pixel is inside the box or not")
    return plane, mask.to(R.device, torch.bool)


def _sums(values: Tensor) -> Tensor:
    """Sum (B, H, W) to (B,). One picture at a time: a sum over a batch adds in an order that depends on its size."""
    return torch.stack([picture.sum() for picture in values]) if len(values) else values.new_zeros(0)


def _finite(plane: Tensor) -> Tensor:
    """Return (B,) bool: all values are finite, and so are their sums."""
    return plane.abs().sum(dim=(1, 2)).isfinite()  # an infinity or a NaN in any of them makes it so


def _defined(values: Tensor, plane: Tensor, mask: Tensor) -> Tensor:
    """Put NaN where a measure of `plane` inside `mask` means nothing."""
    means = _finite(plane) & (plane > 0).flatten(1).any(dim=1) & mask.flatten(1).any(dim=1)
    return values.where(means, values.new_tensor(torch.nan))


def _highest(plane: Tensor, mask: Tensor, ks: list[int]) -> Tensor:
    """Return (B,) float64: of each picture's k highest pixels the share inside, as expected where they tie."""
    pictures = zip(plane.flatten(1), mask.flatten(1), ks, strict=True)
    shares = [_share(values, inside, k) if k else torch.nan for values, inside, k in pictures]
    return _defined(plane.new_tensor(shares), plane, mask)


def _share(values: Tensor, inside: Tensor, k: int) -> float:
    """Do it for one picture: values and inside are (H x W,)."""
    lowest = values.amax() if k == 1 else values.topk(k, sorted=False).values.amin()
    above, tied = values > lowest, values == lowest
    left = k - int(above.sum())
    expected = left * int((tied & inside).sum()) / max(int(tied.sum()), 1)  # no pixel ties with NaN
    return (int((above & inside).sum()) + expected) / k


def precision(R: Array) -> torch.dtype:
    """Return what a measure of a map is given back in: as precise as the map, float32 at least."""
    return torch.float64 if R.dtype in (torch.float64, np.float64) else torch.float32
