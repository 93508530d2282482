"""Whether the network looks at the object: how its output changes when object or context is hidden.

Source: Kohlbrenner et al. (2020), Fig. 2: "hidden" means replaced by the data set's mean image.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from relprop.metrics.arrays import Array, as_tensor
from relprop.support.errors import InputError
from relprop.support.suggest import did_you_mean

PARTS = ("object", "context")


def occlude(x: Array, mask: Array, fill: Array, part: Literal["object", "context"] = "object") -> Tensor:
    """Return x with a part of each picture replaced by the fill; x is left as it is.

    Args:
        x: pictures as the network takes them, normalised: (B, C, H, W).
        mask: (B, H, W) bool, the union of the class's boxes.
        fill: what takes the pixels' place, normalised likewise: (C, H, W), or (B, C, H, W).
        part: ``"object"`` (what lies inside the mask) or ``"context"`` (all else).

    Raises:
        InputError: there is no such part, or the shapes do not fit.

    Example:
        >>> import torch, relprop as rp
        >>> x, mask = torch.ones(1, 1, 1, 3), torch.tensor([[[True, False, False]]])
        >>> rp.metrics.occlude(x, mask, torch.zeros(1, 1, 3)).tolist()
        [[[[0.0, 1.0, 1.0]]]]
    """
    if part not in PARTS:
        raise InputError(f"no part {part!r}{did_you_mean(part, PARTS)}")
    x, mask, fill = as_tensor(x, "x"), as_tensor(mask, "mask"), as_tensor(fill, "fill")
    if mask.shape != x.shape[:1] + x.shape[2:] or fill.shape not in (x.shape, x.shape[1:]):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (x, mask, fill))
        raise InputError(f"x, mask and fill of shapes {shapes}: give (B, C, H, W), (B, H, W) and (C, H, W)")
    inside = mask.to(x.device, torch.bool)[:, None]
    return torch.where(inside if part == "object" else ~inside, fill.to(x), x)


def delta(outputs_before: Array, outputs_after: Array, target: int | Array) -> Tensor:
    """Return (B,), in logits: the target's output after occlusion less the one before, negative where it fell.

    Args:
        outputs_before: the network's outputs (B, classes) on whole pictures.
        outputs_after: those on the occluded ones.
        target: a class for all pictures, or (B,) integers.

    Raises:
        InputError: the shapes do not fit, or there is no such class.

    Example:
        >>> import torch, relprop as rp
        >>> rp.metrics.delta(torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 0.5]]), target=1).tolist()
        [-2.5]
    """
    outputs_before, outputs_after = (
        as_tensor(outputs_before, "outputs_before"),
        as_tensor(outputs_after, "outputs_after"),
    )
    if outputs_before.shape != outputs_after.shape or outputs_before.ndim != 2:
        before, after = tuple(outputs_before.shape), tuple(outputs_after.shape)
        raise InputError(f"outputs of shapes {before} and {after}: give two of (B, classes)")
    batch, classes = outputs_before.shape
    targets = torch.as_tensor(target, device=outputs_before.device).expand(batch)
    if ((targets < 0) | (targets >= classes)).any():
        raise InputError(f"target {target}: the outputs have the classes 0 to {classes - 1}")
    change = outputs_after.double() - outputs_before.double()
    return change.gather(1, targets.long()[:, None])[:, 0]
