"""Train the two networks that come with relprop, and measure them on held-out digits.

    python scripts/train_embedded.py --network both

writes ``<network>.safetensors`` into ``src/relprop/models/weights`` after every epoch, and at the end
``<network>.json`` into ``docs``: the figures of ``docs/model-card.md``. The deep network's 30 epochs took 41
minutes, the shallow one's 20 (``--epochs 20``) 22, both at once on two cores that others used as well.
The seed fixes the pictures and the first weights; the order of floating-point sums is the machine's, so that
another run gives weights as good, not the same.
"""  # noqa: INP001 - a script beside the package, no part of one

from __future__ import annotations

import argparse
import json
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save
from sklearn.metrics import average_precision_score
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.data import DataLoader, Dataset

from relprop.data.clutter import CLASSES, SIDE, Clutter, Sample
from relprop.models.families.embedded import trained
from relprop.models.networks.digits import MEAN, NAMES, STD, Network, architecture
from relprop.support.files import file_sha256, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "src/relprop/models/weights"
EDGES = (0, 0.05, 0.1, 0.25, 0.5, 1)  # edges of the classes of S_in/S_tot that accuracy is told by


class Pictures(Dataset[tuple["Tensor", "Tensor"]]):
    """The training pictures of an epoch, new ones each time: half with one digit, half with up to three.

    The easy epochs have large single digits only: of three pictures the one whose digit is the largest (some
    of these pictures come back later). Without them it takes a network long to find that there are digits.
    """

    def __init__(self, seed: int, epoch: int, size: int, easy: bool) -> None:
        self.sources = (Clutter("train", "single", seed), Clutter("train", "multi", seed))
        self.start, self.size, self.easy = epoch * size, size, easy

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        """Return picture i, (3, 64, 64) uint8, and which classes are on it, (10,) float32 of 0 and 1."""
        number = self.start + i
        if self.easy:
            three = [self.sources[0].sample(3 * number + k) for k in range(3)]
            sample = three[areas(three).argmax()]
        else:
            sample = self.sources[number % 2].sample(number // 2)
        return torch.from_numpy(sample.image).permute(2, 0, 1), multi_hot([sample])[0]


def areas(samples: list[Sample]) -> np.ndarray:
    """The share of its picture that each digit's box takes up."""
    boxes = np.concatenate([sample.boxes for sample in samples])
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) / SIDE**2


def multi_hot(samples: list[Sample]) -> Tensor:
    """Which classes are on each picture: (B, 10) float32 of 0 and 1."""
    present = torch.zeros(len(samples), len(CLASSES))
    for row, sample in zip(present, samples, strict=True):
        row[list(sample.labels)] = 1
    return present


def normalize(images: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) uint8 as the networks take them: float32, channels last in memory."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return ((images / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def with_batchnorm(network: Network) -> Network:
    """A copy of the network with a BatchNorm after each convolution."""
    layers: list[nn.Module] = []
    for layer in network.features:
        layers.append(layer)
        if isinstance(layer, nn.Conv2d):
            layers.append(nn.BatchNorm2d(layer.out_channels))
    return Network(nn.Sequential(*layers), network.classifier)


def without_batchnorm(network: Network) -> Network:
    """The network in eval mode, each BatchNorm folded into the convolution before it."""
    layers: list[nn.Module] = []
    for layer in network.features.eval():
        if isinstance(layer, nn.BatchNorm2d):
            layers.append(fuse_conv_bn_eval(layers.pop(), layer))
        else:
            layers.append(layer)
    return Network(nn.Sequential(*layers), network.classifier).eval()


def train(name: str, settings: argparse.Namespace) -> float:
    """Train a network, save its folded weights after every epoch, and return the seconds it took."""
    torch.manual_seed(settings.seed)
    network = with_batchnorm(architecture(name)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.rate, weight_decay=0.05)
    steps = -(-settings.images // settings.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.rate, total_steps=settings.epochs * steps, pct_start=0.1
    )
    began = time.monotonic()
    for epoch in range(settings.epochs):
        network.train()
        pictures = Pictures(settings.seed, epoch, settings.images, epoch < settings.easy)
        loss = 0.0
        for images, present in DataLoader(pictures, settings.batch, num_workers=settings.workers):
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(normalize(images))
            objective = functional.binary_cross_entropy_with_logits(logits.float(), present)
            optimizer.zero_grad()
            objective.backward()
            optimizer.step()
            schedule.step()
            loss += objective.item() * len(images) / settings.images
        store(network.eval(), WEIGHTS / f"{name}.safetensors")
        seconds = time.monotonic() - began
        report(f"{name} epoch {epoch + 1}/{settings.epochs}: loss {loss:.4f}, {seconds:.0f} s")
    return time.monotonic() - began


def report(text: str) -> None:
    """Tell how far the training is."""
    sys.stderr.write(text + "\n")


def store(network: Network, path: Path) -> None:
    """Write the folded weights; the file is whole at any time."""
    state = {key: value.contiguous() for key, value in without_batchnorm(network).state_dict().items()}
    write_whole(path, save(state))


@torch.inference_mode()
def outputs(network: Network, samples: list[Sample]) -> Tensor:
    """The logits of the pictures: (len(samples), 10)."""
    images = torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2)
    return torch.cat([network(normalize(part)) for part in images.split(256)])


def measure(name: str, pictures: int) -> dict[str, Any]:
    """Measure the saved network on `pictures` held-out pictures of each variant."""
    network = trained(name)
    single = [Clutter("test", "single").sample(i) for i in range(pictures)]
    multi = [Clutter("test", "multi").sample(i) for i in range(pictures)]
    labels = torch.tensor([sample.labels[0] for sample in single])
    ranking = outputs(network, single).argsort(dim=1, descending=True)
    hits = (ranking == labels[:, None]).double().numpy()
    precision = average_precision_score(multi_hot(multi).numpy(), outputs(network, multi).numpy(), average=None)
    return {
        "sha256": file_sha256(WEIGHTS / f"{name}.safetensors"),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "pictures": pictures,
        "top1": hits[:, 0].mean(),
        "top5": hits[:, :5].sum(axis=1).mean(),
        "top1_by_area": dict(by_area(single, hits[:, 0])),
        "mean_average_precision": precision.mean(),
        "average_precision": dict(zip(CLASSES, precision.tolist(), strict=True)),
    }


def by_area(samples: list[Sample], right: np.ndarray) -> Iterator[tuple[str, dict[str, float]]]:
    """How many of the pictures, by the share of the picture that the digit's box takes up, are right."""
    area = areas(samples)
    for low, high in pairwise(EDGES):
        chosen = (low < area) & (area <= high)
        yield f"{low}-{high}", {"pictures": int(chosen.sum()), "top1": float(right[chosen].mean())}


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--network", choices=["shallow", "deep", "both"], default="both", help="(%(default)s)")
    add("--epochs", type=int, default=30, help="epochs in all (%(default)s)")
    add("--easy", type=int, default=2, help="of these, epochs with large single digits (%(default)s)")
    add("--images", type=int, default=20_000, help="pictures an epoch (%(default)s)")
    add("--batch", type=int, default=32, help="pictures a step (%(default)s)")
    add("--rate", type=float, default=2e-3, help="highest learning rate (%(default)s)")
    add("--seed", type=int, default=0, help="of pictures and first weights (%(default)s)")
    add("--threads", type=int, default=1, help="threads that train (%(default)s)")
    add("--workers", type=int, default=1, help="processes that draw pictures (%(default)s)")
    add("--pictures", type=int, default=5000, help="held-out pictures to measure on (%(default)s)")
    return parser.parse_args()


def main() -> None:
    """Train, measure, write."""
    settings = options()
    torch.set_num_threads(settings.threads)
    recipe = {key: vars(settings)[key] for key in ("epochs", "easy", "images", "batch", "rate", "seed")}
    for name in NAMES:
        if settings.network in ("both", name.removeprefix("digits-")):
            seconds = round(train(name, settings))
            figures = {
                "network": name,
                "recipe": recipe,
                "seconds": seconds,
                **measure(name, settings.pictures),
            }
            text = json.dumps(figures, indent=2) + "\n"
            write_whole(ROOT / "docs" / f"{name}.json", text.encode())
            sys.stdout.write(text)


if __name__ == "__main__":
    main()
