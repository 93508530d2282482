"""What a network answers to one fixed picture, as a fingerprint of weights and preprocessing together.

The same weights, whatever file they came in, must give the same answer. The network computes in float64, where the
order in which a machine adds up moves the logits of VGG-16 by less than 1e-14 of the largest one (measured with every
channel shuffled), and logits are rounded to a millionth of the largest. So the fingerprint does not depend on the
number of threads, and hardly on the machine: a logit must lie that close to where rounding turns, which of networks
with a thousand logits befalls one in a hundred thousand. Weights whose logits differ by less than that millionth are
not told apart.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from PIL import Image

from relprop.data.preprocess import Preprocess
from relprop.models.errors import ModelError
from relprop.models.files.cards import Check

INPUT = "ramps from 0 to 255: red along x, green along y, blue against both; as large as pictures are rescaled to"
"""The picture, in words; so large, it is not interpolated."""
STEPS = 1_000_000
"""Into which the largest logit is divided before rounding."""
TOP = 3
"""How many of the highest logits are told."""


def ramps(preprocess: Preprocess) -> Image.Image:
    """Draw the picture that `INPUT` describes."""
    size = preprocess.resize
    height, width = (size, size) if isinstance(size, int) else size
    down = np.arange(height)[:, None] * 255 // max(height - 1, 1) + np.zeros((1, width), int)
    across = np.arange(width)[None] * 255 // max(width - 1, 1) + np.zeros((height, 1), int)
    return Image.fromarray(np.stack([across, down, 255 - (across + down) // 2], axis=2).astype(np.uint8))


def self_check(model: torch.nn.Module, preprocess: Preprocess, source: str) -> Check:
    """Ask a network.

    Args:
        model: in eval mode, on the CPU; it is turned to float64, and is not fit for other use thereafter.
        preprocess: of its pictures.
        source: where the weights are from, for the error.

    Raises:
        ModelError: it cannot take such a picture, or logits are not finite.
    """
    x = preprocess(ramps(preprocess))[None].double()
    try:
        with torch.no_grad():
            logits = model.double()(x)[0]
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"{source}: fails on pictures of {x.shape[2]}x{x.shape[3]} pixels ({reason}); see --crop"
        ) from None
    if not logits.isfinite().all():
        raise ModelError(f"{source}: gives logits that are not finite; check the weights")
    largest = logits.abs().max()
    steps = (logits / largest * STEPS).round().long() if largest else torch.zeros_like(logits).long()
    stated = f"{float(largest):.6e} {' '.join(map(str, steps.tolist()))}"
    highest = logits.topk(min(TOP, len(logits)))
    top = tuple(
        (int(index), float(f"{logit:.6g}"))
        for index, logit in zip(highest.indices.tolist(), highest.values.tolist(), strict=True)
    )
    return Check(INPUT, hashlib.sha256(stated.encode()).hexdigest(), top)
