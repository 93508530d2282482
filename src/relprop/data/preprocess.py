"""From a picture to what a network expects: rescale, crop, order the channels, normalise.

The same numbers, to the bit, as torchvision's presets give.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from relprop.data.resize import Resize, offset


@dataclass(frozen=True)
class Preprocess:
    """Rescale, cut out the centre, bring to 0..scale, subtract the mean, divide by the deviation.

    Calling it does all of this; `picture` stops after the cut, at what a person can look at: a map of
    relevance lies on it pixel by pixel.

    Args:
        crop: height and width, in pixels, of what the network sees.
        resize: length of the shorter side before the cut, in pixels, proportions kept; or height and width,
            not kept; at least `crop`.
        mean: per channel, in the order of `channels`, of values in 0..scale.
        std: likewise; positive.
        interpolation: ``"bilinear"``, ``"bicubic"`` or ``"nearest"``.
        channels: the order in which the network takes the colours, ``"RGB"`` or ``"BGR"`` (Caffe, and Keras'
            VGG).
        scale: what white is before the mean is subtracted: 1, or 255 (likewise).
        mean_image: a mean per position instead of `mean`, (3, height, width), at least crop x crop, of which
            the centre is cut out; channels and values as those of `mean`.

    Raises:
        ValueError: `crop` is larger than `resize` or `mean_image`, or `channels` is none of the two.
    """

    crop: int
    resize: int | tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"
    channels: str = "RGB"
    scale: float = 1.0
    mean_image: Tensor | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        sides = (self.resize,) if isinstance(self.resize, int) else self.resize
        if self.crop > min(sides):
            raise ValueError(f"crop {self.crop} does not fit into pictures of {min(sides)} pixels")
        if self.channels not in ("RGB", "BGR"):
            raise ValueError(f"channels are {self.channels!r}, and must be 'RGB' or 'BGR'")
        if self.mean_image is not None and (self.mean_image.ndim != 3 or min(self.mean_image.shape[1:]) < self.crop):
            raise ValueError(f"a mean image of shape {tuple(self.mean_image.shape)} for a crop of {self.crop} pixels")

    def picture(self, image: Image.Image) -> Image.Image:
        """Cut out what the network sees: RGB, crop x crop pixels, 0..255."""
        return Resize(self.resize, self.crop, self.interpolation).picture(image)

    def __call__(self, image: Image.Image) -> Tensor:
        """Turn a picture into the network's input: (3, crop, crop) float32, within `bounds`."""
        return self.normalise(torch.from_numpy(np.array(self.picture(image))).permute(2, 0, 1).float() / 255)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Turn what `picture` gives, (..., 3, crop, crop) RGB in 0..1, into the network's input."""
        pixels = pixels if self.channels == "RGB" else pixels.flip(-3)
        pixels = pixels if self.scale == 1 else pixels * self.scale
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (pixels - (mean if self.mean_image is None else self._centre(self.mean_image))) / std

    def pixels(self, x: Tensor) -> Tensor:
        """Turn the network's input (..., 3, crop, crop) back into RGB, 0..1: what `normalise` was given."""
        mean, std = (torch.tensor(values, device=x.device)[:, None, None] for values in (self.mean, self.std))
        mean = mean if self.mean_image is None else self._centre(self.mean_image).to(x.device)
        pixels = ((x.float() * std + mean) / self.scale).clamp(0, 1)
        return pixels if self.channels == "RGB" else pixels.flip(-3)

    def _centre(self, image: Tensor) -> Tensor:
        top, left = (offset(side, self.crop) for side in image.shape[1:])
        return image[:, top : top + self.crop, left : left + self.crop].float()

    @property
    def bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """What black (0) and white become at most, a value per channel: the box that the zB rule needs."""
        least, most = self.mean, self.mean
        if self.mean_image is not None:
            means = self._centre(self.mean_image).flatten(1)
            least, most = tuple(means.amin(1).tolist()), tuple(means.amax(1).tolist())
        low = tuple((0 - mean) / std for mean, std in zip(most, self.std, strict=True))
        high = tuple((self.scale - mean) / std for mean, std in zip(least, self.std, strict=True))
        return low, high

    def as_data(self) -> dict[str, Any]:
        """All but the mean image, fit for JSON; `from_data` reads it."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "mean_image"}

    @classmethod
    def from_data(cls, data: dict[str, Any], mean_image: Tensor | None = None) -> Preprocess:
        """Read what `as_data` gave, with the mean image that belongs to it.

        Raises:
            ValueError: it is not that.
        """
        wanted = {f.name for f in fields(cls)} - {"mean_image"}
        if not isinstance(data, dict) or set(data) != wanted:
            raise ValueError(f"preprocessing must say {', '.join(sorted(wanted))}")
        numbers = {name: _numbers(name, data[name]) for name in ("mean", "std")}
        resize, crop = data["resize"], data["crop"]
        sides = tuple(resize) if isinstance(resize, list) else (resize,)
        if not all(isinstance(side, int) and 0 < side <= 1 << 14 for side in (crop, *sides)) or len(sides) > 2:
            raise ValueError(f"crop {crop!r} and resize {resize!r} are not sizes in pixels")
        if data["interpolation"] not in ("bilinear", "bicubic", "nearest"):
            raise ValueError(f"interpolation is {data['interpolation']!r}")
        if not isinstance(data["scale"], (int, float)) or data["scale"] <= 0:
            raise ValueError(f"scale is {data['scale']!r}")
        settled = data | numbers | {"resize": sides[0] if isinstance(resize, int) else sides}
        return cls(**settled, mean_image=mean_image)


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    """Three finite numbers; of a deviation, positive ones."""
    good = isinstance(values, (list, tuple)) and len(values) == 3
    if not good or not all(isinstance(v, (int, float)) and np.isfinite(v) and (name != "std" or v > 0) for v in values):
        raise ValueError(f"{name} is {values!r}, and must be three numbers")
    return tuple(float(v) for v in values)
