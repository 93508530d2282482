"""From a picture to what a network expects: rescale, crop, normalise.

The same numbers, to the bit, as torchvision's presets give, whose import would take longer than the work.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image


@dataclass(frozen=True)
class Preprocess:
    """Scale the shorter side, cut out the centre, bring to 0..1, subtract the mean, divide by the deviation.

    Calling it does all of this; `picture` stops after the cut, at what a person can look at: a map of
    relevance lies on it pixel by pixel.

    Args:
        crop: height and width, in pixels, of what the network sees.
        resize: length of the shorter side before the cut, in pixels; at least `crop`.
        mean: per channel (RGB), of values in 0..1.
        std: likewise; positive.
        interpolation: ``"bilinear"``, ``"bicubic"`` or ``"nearest"``.

    Raises:
        ValueError: `crop` is larger than `resize`.
    """

    crop: int
    resize: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if self.crop > self.resize:
            raise ValueError(f"crop {self.crop} does not fit into pictures of {self.resize} pixels")

    def picture(self, image: Image.Image) -> Image.Image:
        """Cut out what the network sees: RGB, crop x crop pixels, 0..255."""
        shorter = min(image.size)
        width, height = (self.resize * side // shorter for side in image.size)
        scaled = image.convert("RGB").resize((width, height), Image.Resampling[self.interpolation.upper()])
        left, top = round((width - self.crop) / 2), round((height - self.crop) / 2)
        return scaled.crop((left, top, left + self.crop, top + self.crop))

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Turn a picture into the network's input: (3, crop, crop) float32, within `bounds`."""
        pixels = torch.from_numpy(np.array(self.picture(image))).permute(2, 0, 1).float() / 255
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (pixels - mean) / std

    @property
    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """What black (0) and white (255) become, a value per channel: the box that the zB rule needs."""
        low = tuple((0 - mean) / std for mean, std in zip(self.mean, self.std, strict=True))
        high = tuple((1 - mean) / std for mean, std in zip(self.mean, self.std, strict=True))
        return low, high
