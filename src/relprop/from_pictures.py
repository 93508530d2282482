"""Pictures in the place of x: a path or a picture becomes what the model's own preprocessing makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from relprop.data.pictures import as_rgb, open_picture
from relprop.record.acceptance import Model
from relprop.support.errors import InputError


def as_input(model: Model, x: Any) -> Any:
    """X as it is; or (B, ...) where it is a picture, or a list of pictures.

    Args:
        model: with `.preprocess`, a picture (Pillow's, RGB) to a tensor (C, H, W), as `relprop.models.load` gives it.
        x: a path, a picture of Pillow's, or a list of these; whatever else it is, it is returned.

    Raises:
        InputError: the model has no `.preprocess`, or that gives no tensors of one shape.
        PictureError: a file cannot be read; an InputError's sibling, that names it.
    """
    several = isinstance(x, list) and bool(x) and all(map(_is_picture, x))
    if not several and not _is_picture(x):
        return x
    pictures = x if several else [x]
    preprocess = getattr(model, "preprocess", None)
    if not callable(preprocess):
        raise InputError(_unprepared(model, pictures[0]))
    tensors = [preprocess(as_rgb(each) if isinstance(each, Image.Image) else open_picture(each)) for each in pictures]
    for t in tensors:
        if not isinstance(t, Tensor):
            raise InputError(f"the model's .preprocess gives {type(t).__name__}, and a tensor (C, H, W) is needed")
    if len({t.shape for t in tensors}) > 1:
        shapes = ", ".join(str(tuple(t.shape)) for t in tensors)
        raise InputError(f"the model's .preprocess gives tensors of several shapes, {shapes}; explain them one by one")
    batch = torch.stack(tensors)
    weights = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    if weights is None or not weights.is_floating_point():
        return batch
    return batch.to(weights.device, weights.dtype)


def _is_picture(x: Any) -> bool:
    return isinstance(x, (str, Path, Image.Image))


def _unprepared(model: Model, picture: Any) -> str:
    """What is to be done where a model prepares no pictures."""
    shown = f"{str(picture)!r:.80}"
    if callable(getattr(model, "encode", None)):
        return f"x must be a tensor, not {shown}; the model reads texts: pass model.encode([...])"
    return (
        f"x must be a tensor (B, ...), not {shown}: the model has no .preprocess that makes one of a picture; pass a "
        f"tensor, or set it: model.preprocess = lambda picture: ..., from a picture of Pillow's to (C, H, W)"
    )
