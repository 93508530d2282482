"""The mean picture of a data set, pixel by pixel: what hides an object in the paper's test by occlusion."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from relprop.data.entries import DataError, Dataset
from relprop.data.geometry import Geometry, to_pixels
from relprop.data.pictures import PictureError
from relprop.data.prefetch import PIECE, read_ahead
from relprop.support.files import write_whole

_VERSION = 1  # to be raised when what is computed changes


@dataclass(frozen=True)
class MeanImage:
    """A mean picture and what went into it.

    Attributes:
        pixels: (3, H, W) float32 in 0..1, RGB, of the network's input size, not normalised.
        number: how many pictures it is the mean of.
        skipped: how many could not be read.
    """

    pixels: Tensor
    number: int
    skipped: int


def mean_image(dataset: Dataset, geometry: Geometry, cache: str | Path | None = None, workers: int = 0) -> MeanImage:
    """Return the mean of all framed pictures, whatever is on them; those that cannot be read are skipped.

    Args:
        dataset: the pictures.
        geometry: frames each.
        cache: a folder in which the result is stored for the next time, and found again if data set (by its
            `identity`) and geometry are the same; None: computed anew. A damaged file is replaced.
        workers: processes that read ahead; the result is the same to the bit.

    Raises:
        DataError: no picture can be read.
        WriteError: the folder cannot be written to.
    """
    file = Path(cache) / f"mean-image-{_key(dataset, geometry)}.safetensors" if cache is not None else None
    earlier = _read(file) if file else None
    if earlier is not None:
        return earlier
    mean = _compute(dataset, geometry, workers)
    if file:
        counts = {"number": str(mean.number), "skipped": str(mean.skipped)}
        write_whole(file, save({"pixels": mean.pixels}, metadata=counts))
    return mean


def _compute(dataset: Dataset, geometry: Geometry, workers: int) -> MeanImage:
    total = torch.zeros(3, geometry.crop, geometry.crop, dtype=torch.float64)
    skipped = 0
    parts = [range(k, min(k + PIECE, len(dataset))) for k in range(0, len(dataset), PIECE)]
    for images in read_ahead(partial(_framed, dataset, geometry), parts, workers):
        for image in images:
            if image is None:
                skipped += 1
            else:
                total += to_pixels(image).double()
    number = len(dataset) - skipped
    if not number:
        raise DataError(f"{dataset.name}: none of its {skipped} pictures can be read; check its folder")
    return MeanImage((total / number).float(), number, skipped)


def _framed(dataset: Dataset, geometry: Geometry, index: int) -> Image.Image | None:
    """Return a picture as the network sees it; None where it cannot be read."""
    try:
        return geometry(dataset[index].open()).image
    except PictureError:
        return None


def _key(dataset: Dataset, geometry: Geometry) -> str:
    about = [_VERSION, dataset.identity(), geometry.identity()]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


def _read(file: Path) -> MeanImage | None:
    try:
        with safe_open(file, framework="pt") as stored:
            counts = stored.metadata()
            return MeanImage(stored.get_tensor("pixels"), int(counts["number"]), int(counts["skipped"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
