"""How boxes and masks follow a picture through rescaling and cropping, to masks on what the network sees.

Picture and boxes go through the same `relprop.data.resize`, so that they cannot part. Boxes that a crop cuts are
cut; a box that it leaves nothing of is gone.

A box ``[x0, x1) x [y0, y1)`` covers the pixels whose centre lies inside: pixel i spans [i, i + 1), its centre
is i + 0.5, so along each axis these are the i with ``x0 <= i + 0.5 < x1``. Edges are rounded to 1/1024 of a
pixel first: which side of a centre they lie on is then not for floating point to decide. Where an axis has no
such pixel, the one that the middle of the box lies in is covered: whatever has area covers a pixel at least.
Boxes that adjoin share no pixel, unless one of them is thinner than a pixel.

Of a mask each pixel of the network's input has the nearest one: no value between inside and outside comes about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import BoolTensor, Tensor

from relprop.data.entries import Thing
from relprop.data.pictures import OrientationError
from relprop.data.preprocess import Preprocess
from relprop.data.resize import Resize, scaled_box

_GRID = 1024  # edges of boxes are rounded to this fraction of a pixel


@dataclass(frozen=True)
class Framed:
    """A picture as the network sees it, and where its classes are.

    Attributes:
        image: RGB, of the network's input size.
        masks: for each class, (H, W) bool: the union of its boxes in pixels of `image`, or of its objects' own masks
            where these are known; never empty.
        dropped: the classes of which nothing is left after the crop.
        rescaled: the picture's size was not the one that the boxes referred to; they were scaled to it, unless only
            width and height were interchanged.
        size: width and height of the picture before.
    """

    image: Image.Image
    masks: dict[str, BoolTensor]
    dropped: tuple[str, ...]
    rescaled: bool
    size: tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """Rescale, then cut out the centre. Made by `warp`, `shortest_side` or `like`.

    Args:
        resize: the shorter side after rescaling, in pixels, proportions kept; or height and width, not kept.
        crop: height and width of the network's input, in pixels.
        interpolation: ``"bilinear"``, ``"bicubic"`` or ``"nearest"``; the first two smooth when they shrink.
    """

    resize: int | tuple[int, int]
    crop: int
    interpolation: str = "bilinear"

    def __call__(
        self, image: Image.Image, things: Sequence[Thing] = (), annotated_size: tuple[int, int] | None = None
    ) -> Framed:
        """Bring a picture and its objects to the network's input.

        Args:
            image: the picture, any size and mode.
            things: its objects.
            annotated_size: width and height that their boxes refer to; None: the picture's. Those of the picture
                interchanged are taken for a slip of whoever wrote them, as nothing would stretch a picture so.

        Raises:
            OrientationError: width and height are interchanged, and the boxes only fit so: they are of the picture
                turned.
            PictureError: an object's mask cannot be read.
        """
        size = annotated_size or image.size
        if size != image.size and size == image.size[::-1]:
            _demand_not_turned(image.size, things)
            size = image.size
        resize = Resize(self.resize, self.crop, self.interpolation)
        masks: dict[str, BoolTensor] = {}
        for thing in things:
            if thing.mask is not None:
                covered = torch.from_numpy(resize.mask(thing.mask(), image.size))
                if covered.any():
                    masks[thing.name] = BoolTensor(covered | masks.get(thing.name, covered))
                continue
            box = thing.box if size == image.size else scaled_box(thing.box, size, image.size)
            x0, y0, x1, y1 = resize.box(box, image.size)
            if x0 < x1 and y0 < y1:
                union = masks.setdefault(thing.name, BoolTensor(torch.zeros(self.crop, self.crop, dtype=torch.bool)))
                _cover(union, x0, y0, x1, y1)
        dropped = dict.fromkeys(thing.name for thing in things if thing.name not in masks)
        rescaled = annotated_size not in (None, image.size)
        return Framed(resize.picture(image), masks, tuple(dropped), rescaled, image.size)

    def identity(self) -> dict[str, Any]:
        """Describe the geometry so that another run can tell whether it has the same; fit for JSON."""
        resize = self.resize if isinstance(self.resize, int) else list(self.resize)
        return {"resize": resize, "crop": self.crop, "interpolation": self.interpolation}


def warp(size: int) -> Geometry:
    """Rescale to size x size pixels without keeping proportions, crop nothing: the paper's way with VOC."""
    return Geometry((size, size), size)


def shortest_side(size: int) -> Geometry:
    """Rescale the shorter side to `size` itself, cut out the centre: the paper's way with ImageNet."""
    return Geometry(size, size)


def like(preprocess: Preprocess) -> Geometry:
    """Rescale and crop as a model's own `preprocess` does, to the bit."""
    return Geometry(preprocess.resize, preprocess.crop, preprocess.interpolation)


def around(mask: Tensor) -> tuple[int, int, int, int]:
    """Return the least box that holds all of a mask (H, W) that is not empty: x0, y0, x1, y1, half-open.

    Example:
        >>> around(torch.eye(4, dtype=torch.bool)[:, 1:])
        (0, 1, 3, 4)
    """
    down, across = (mask.any(axis).nonzero()[:, 0].tolist() for axis in (1, 0))
    return across[0], down[0], across[-1] + 1, down[-1] + 1


def normalise(picture: Image.Image | Tensor, preprocess: Preprocess) -> Tensor:
    """Return the network's input (3, H, W), float32, from a framed picture.

    Args:
        picture: RGB; or (3, H, W) in 0..1, such as a mean image.
        preprocess: whose `normalise` does the work.
    """
    pixels = picture if isinstance(picture, Tensor) else to_pixels(picture)
    return preprocess.normalise(pixels.float())


def to_pixels(image: Image.Image) -> Tensor:
    """Return an RGB picture as (3, H, W) float32 in 0..1."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def _demand_not_turned(size: tuple[int, int], things: Sequence[Thing]) -> None:
    """Refuse boxes that reach beyond a picture of this width and height, where width and height are in question."""
    width, height = size
    if any(thing.box[2] > width + 1 or thing.box[3] > height + 1 for thing in things):
        raise OrientationError(
            f"its boxes are of a picture of {height}x{width} pixels, and it has {width}x{height}; turn it as it was "
            "annotated, or correct the annotation"
        )


def _cover(mask: Tensor, x0: float, y0: float, x1: float, y1: float) -> None:
    """Set the pixels of `mask` (H, W) that the box covers, in place."""
    left, right = _span(x0, x1)
    top, bottom = _span(y0, y1)
    mask[top:bottom, left:right] = True


def _span(low: float, high: float) -> tuple[int, int]:
    """Return the half-open range of pixels that [low, high) covers: see the module's docstring."""
    first, stop = (ceil(round(edge * _GRID) / _GRID - 0.5) for edge in (low, high))
    middle = floor((low + high) / 2)
    return (first, stop) if first < stop else (middle, middle + 1)
