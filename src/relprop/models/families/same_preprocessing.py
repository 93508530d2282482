"""Whether our preprocessing is another library's: not assumed from names of options, but tried on a picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from relprop.data.preprocess import Preprocess


def differ(ours: Preprocess, theirs: Callable[[Image.Image], Tensor], shift: int = 0) -> float:
    """Return by how much two ways to preprocess differ on a picture of noise, which shows every detail of rescaling.

    Args:
        ours: one way.
        theirs: the other: picture to (3, crop, crop).
        shift: by how many pixels the other may cut further to the left and the top: libraries round the middle of
            an odd margin up, down, or to even.

    Returns:
        The largest difference of a number, where white less black is 255; infinite where the shapes differ.
    """
    picture = _noise(ours)
    given, expected = ours(picture), theirs(picture)
    if given.shape != expected.shape:
        return float("inf")
    level = torch.tensor(ours.std)[:, None, None] * 255 / ours.scale
    side = ours.crop
    shifts = [(down, right) for down in range(shift + 1) for right in range(shift + 1)]
    return min(
        float(((given[:, : side - down, : side - right] - expected[:, down:, right:]).abs() * level).max())
        for down, right in shifts
    )


def _noise(ours: Preprocess) -> Image.Image:
    """A picture a little larger than what it is rescaled to, wider than high, the same each time."""
    shorter = ours.resize if isinstance(ours.resize, int) else min(ours.resize)
    size = (shorter * 3 // 2 + 1, shorter * 9 // 8 + 1, 3)
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8).swapaxes(0, 1))
