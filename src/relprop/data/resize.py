"""How a picture is brought to a network's size: rescaled, then its centre cut out. All of relprop does it here.

The same pixels, to the bit, as torchvision's presets give, whose import would take longer than the work.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from relprop.data.pictures import PictureError

Box = tuple[float, float, float, float]
LARGEST = 1 << 27
"""Pixels of a picture that is rescaled: half a gigabyte in RGB."""


@dataclass(frozen=True)
class Resize:
    """Rescale, then cut out the centre.

    Args:
        resize: length of the shorter side before the cut, in pixels, proportions kept; or height and width, not kept.
        crop: height and width after it, in pixels; what it has beyond the picture is black.
        interpolation: ``"bilinear"``, ``"bicubic"`` or ``"nearest"``; the first two smooth when they shrink.
    """

    resize: int | tuple[int, int]
    crop: int
    interpolation: str

    def picture(self, image: Image.Image) -> Image.Image:
        """Return a picture as RGB, crop x crop pixels."""
        scaled = image.convert("RGB").resize(self._scaled(image.size), Image.Resampling[self.interpolation.upper()])
        left, top = (offset(side, self.crop) for side in scaled.size)
        return scaled.crop((left, top, left + self.crop, top + self.crop))

    def mask(self, mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
        """Return a mask, (height, width), where the picture's pixels are brought: each gets its nearest one's.

        Args:
            mask: of the whole picture, in its proportions or stretched as it was annotated.
            size: width and height of the picture.
        """
        scaled = self._scaled(size)
        left, top = (offset(side, self.crop) for side in scaled)
        image = Image.fromarray(np.asarray(mask, np.uint8)).resize(scaled, Image.Resampling.NEAREST)
        return np.array(image.crop((left, top, left + self.crop, top + self.crop))) > 0

    def box(self, box: Box, size: tuple[int, int]) -> Box:
        """Return where a box of a picture comes to lie, less what is cut off; without area if all of it is.

        Args:
            box: ``x0, y0, x1, y1`` in pixels.
            size: width and height of the picture.
        """
        scaled = self._scaled(size)
        left, top = (offset(side, self.crop) for side in scaled)
        x0, y0, x1, y1 = scaled_box(clamped(box, size), size, scaled)  # clamped, as the cut may reach beyond it too
        return clamped((x0 - left, y0 - top, x1 - left, y1 - top), (self.crop, self.crop))

    def _scaled(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the width and height that a picture of some width and height is rescaled to.

        Raises:
            PictureError: it is so thin that its longer side would have to be of millions of pixels.
        """
        if isinstance(self.resize, int):
            width, height = (self.resize * side // min(size) for side in size)
        else:
            height, width = self.resize
        if width * height > LARGEST:
            raise PictureError(
                f"a picture of {size[0]} x {size[1]} pixels is too thin to have its shorter side brought to "
                f"{self.resize}; cut out what matters of it"
            )
        return width, height


def offset(side: int, crop: int) -> int:
    """Return where a cut of the centre begins on a side of some length: negative where the cut is longer."""
    return round((side - crop) / 2) if side >= crop else -((crop - side) // 2)


def scaled_box(box: Box, old: tuple[int, int], new: tuple[int, int]) -> Box:
    """Return a box after the picture's width and height became others."""
    # Rounded, as what floating point adds to an edge would let a box that is cut off just there stay.
    x0, x1 = (round(edge * new[0] / old[0], 9) for edge in box[::2])
    y0, y1 = (round(edge * new[1] / old[1], 9) for edge in box[1::2])
    return x0, y0, x1, y1


def clamped(box: Box, size: tuple[int, int]) -> Box:
    """Return what of a box lies within a width and height; without area if nothing does."""
    x0, x1 = (min(max(edge, 0.0), size[0]) for edge in box[::2])
    y0, y1 = (min(max(edge, 0.0), size[1]) for edge in box[1::2])
    return x0, y0, x1, y1
