"""The pictures that `tune` judges by: each with the outputs that mean its classes, and where these are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from relprop.data.entries import Dataset
from relprop.data.geometry import Geometry, like, normalise
from relprop.data.orientation import framed
from relprop.data.preprocess import Preprocess
from relprop.study.task import class_targets
from relprop.support.errors import InputError
from relprop.support.fingerprint import tensor_hash


@dataclass(frozen=True)
class Sample:
    """A picture.

    Attributes:
        x: (C, H, W), ready for the network.
        outputs: for each class to be explained the outputs that mean it; the highest is.
        masks: (classes, H, W) bool, where each class is; None: not known.
    """

    x: Tensor
    outputs: tuple[tuple[int, ...], ...]
    masks: Tensor | None


class Samples:
    """Data of the user's as samples.

    Args:
        data: with a length and items (x, target), (x, target, mask) or (x, {target: mask, ...}).
    """

    def __init__(self, data: Any) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Sample:
        """Read a picture.

        Raises:
            InputError: the item is none of these.
            PictureError: it cannot be read.
        """
        item = self.data[index]
        if not isinstance(item, (tuple, list)) or len(item) not in (2, 3) or not isinstance(item[0], Tensor):
            raise InputError(
                f"data[{index}] is of type {type(item).__name__}; a triple (x, target, mask) is needed, or "
                f"(x, {{target: mask, ...}}), or for measures without boxes (x, target)"
            )
        x, target, *mask = item
        if isinstance(target, Mapping):
            return Sample(x, tuple((int(t),) for t in target), _masks(list(target.values()), x, index))
        return Sample(x, ((int(target),),), _masks(mask, x, index) if mask else None)

    def identity(self) -> dict[str, Any]:
        """Tell this data from others: by how many there are, and by the first and the last."""
        ends = [self[k].x for k in sorted({0, len(self) - 1})]
        return {"number": len(self), "ends": [tensor_hash(x) for x in ends]}


def _masks(masks: Sequence[Any], x: Tensor, index: int) -> Tensor | None:
    if not masks or any(mask is None for mask in masks):
        return None
    found = torch.stack([torch.as_tensor(mask) for mask in masks])
    if found.shape[1:] != x.shape[1:]:
        raise InputError(
            f"data[{index}]: a mask of {tuple(found.shape[1:])} for a picture {tuple(x.shape)}; both need one size"
        )
    return found.bool()


class Framed:
    """A data set of pictures with boxes as samples.

    Args:
        data: pictures with their objects.
        preprocess: how the network wants its pictures.
        outputs: for each class of the data the network's outputs that mean it; classes without any are left out.
        geometry: how pictures and boxes are brought to the network's input; None: the network's own way.
        limit: so many pictures, from the first; None: all.
    """

    def __init__(
        self,
        data: Dataset,
        preprocess: Preprocess,
        outputs: Mapping[str, tuple[int, ...]],
        geometry: Geometry | None = None,
        limit: int | None = None,
    ) -> None:
        self.data = data
        self.preprocess = preprocess
        self.outputs = outputs
        self.geometry = geometry or like(preprocess)
        self.limit = limit

    def __len__(self) -> int:
        return len(self.data) if self.limit is None else min(self.limit, len(self.data))

    def __getitem__(self, index: int) -> Sample:
        """Read a picture, which may show no class that the network has.

        Raises:
            PictureError: it cannot be read.
        """
        seen = framed(self.data[index], self.geometry)
        names = [name for name in sorted(seen.masks) if self.outputs.get(name)]
        masks = torch.stack([seen.masks[name] for name in names]) if names else None
        return Sample(normalise(seen.image, self.preprocess), tuple(self.outputs[name] for name in names), masks)

    def identity(self) -> dict[str, Any]:
        """Tell this data from others."""
        return {
            "data": self.data.identity(),
            "annotations_sha256": self.data.annotations_sha256(len(self)),
            "geometry": self.geometry.identity(),
            "targets": {name: list(outputs) for name, outputs in self.outputs.items()},
        }


def samples_of(data: Any, model: nn.Module) -> Samples | Framed:
    """What a user gives, as samples: a data set of `relprop.data`, or anything with a length and items.

    Raises:
        InputError: it is neither, is empty, or the network does not say how it wants its pictures.
    """
    found: Samples | Framed
    if isinstance(data, (Samples, Framed)):
        found = data
    elif hasattr(data, "annotations_sha256"):
        preprocess = getattr(model, "preprocess", None)
        if not isinstance(preprocess, Preprocess):
            raise InputError("the model says nothing of its preprocessing; load it with relprop.models.load")
        outputs: Any = getattr(model, "classes", ())
        found = Framed(data, preprocess, class_targets(data.classes, outputs))
    elif hasattr(data, "__len__") and hasattr(data, "__getitem__"):
        found = Samples(data)
    else:
        raise InputError(f"data is of type {type(data).__name__}; something with a length and items is needed")
    if len(found) < 2:
        raise InputError(f"data has {len(found)} pictures; at least one to search on and one to tell on are needed")
    return found
