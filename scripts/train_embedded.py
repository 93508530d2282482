"""Train the two networks that come with relprop, and measure them on held-out digits.

    python scripts/train_embedded.py --network both

writes ``<network>.safetensors`` into ``src/relprop/models/weights`` after every epoch, and at the end
``<network>.json`` into ``docs``: the figures of ``docs/model-card.md``. Networks are trained as the paper's were,
without BatchNorm. What lets a deep one learn is that its first weights are scaled until every layer's output has a
standard deviation of 1 (Mishkin and Matas 2016), that steps are orthogonal matrices (Muon: Jordan 2024), and that there
is no dropout: no picture comes twice. Biases are pulled to zero, so that a decision is made of pixels. ``--batchnorm``
trains them with a BatchNorm after each convolution, folded at the end, by AdamW and with dropout.

Drawing pictures takes most of the time; ``--drawn FILE`` keeps them for the next training of the same seed.
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
from safetensors.torch import load_file, save
from sklearn.metrics import average_precision_score
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.data import DataLoader, Dataset

from relprop.data.clutter import CLASSES, SIDE, Clutter, Sample
from relprop.models.networks.digits import MEAN, NAMES, STD, Network, architecture
from relprop.support.files import file_sha256, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "src/relprop/models/weights"
RECIPE = ("epochs", "easy", "images", "batch", "rate", "bias_decay", "batchnorm", "seed", "device")
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
    mean, std = (torch.tensor(v, device=images.device).view(3, 1, 1) for v in (MEAN, STD))
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


@torch.no_grad()
def normalised(network: Network, images: Tensor) -> Network:
    """The network with no bias, and weights such that each layer's outputs of these pictures have deviation 1."""
    network.eval()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.orthogonal_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type] - all of these have one
            seen: list[Tensor] = []
            hook = layer.register_forward_hook(lambda _, __, output, seen=seen: seen.append(output))
            network(images)
            hook.remove()
            layer.weight /= seen[0].std()
    return network


class Steps:
    """A step of training: by Muon for weights and AdamW for biases, or, with BatchNorm, by AdamW for all.

    Weights decay slowly, biases fast: AdamW moves a number by up to the rate a step, so that it stays below 1 / decay.
    """

    def __init__(self, network: Network, settings: argparse.Namespace) -> None:
        self.weights = [p for p in network.parameters() if p.ndim > 1]
        self.matrices = [matrix(p.detach()) for p in self.weights]
        others = [p for p in network.parameters() if p.ndim == 1]
        if settings.batchnorm:
            every = [*self.weights, *others]
            self.optimizers = [torch.optim.AdamW(every, settings.rate, weight_decay=0.05, fused=True)]
        else:
            # Adjusted to AdamW's rates, so that one rate and one decay serve both.
            muon = torch.optim.Muon(self.matrices, settings.rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
            adam = torch.optim.AdamW(others, settings.rate, weight_decay=settings.bias_decay, fused=True)
            self.optimizers = [muon, adam]
        number = settings.epochs * (settings.images // settings.batch)
        self.schedules = [
            torch.optim.lr_scheduler.OneCycleLR(
                optimizer, settings.rate, total_steps=number, pct_start=0.1, cycle_momentum=settings.batchnorm
            )
            for optimizer in self.optimizers
        ]

    def take(self) -> None:
        """Take one by the gradients there are."""
        for held, weight in zip(self.matrices, self.weights, strict=True):
            held.grad = None if weight.grad is None else matrix(weight.grad)
        for moved in (*self.optimizers, *self.schedules):
            moved.step()


def matrix(weight: Tensor) -> Tensor:
    """A weight that lies channels last in memory as a matrix in the same memory, a row per output."""
    return weight if weight.ndim == 2 else weight.permute(0, 2, 3, 1).view(len(weight), -1)


def epochs(settings: argparse.Namespace) -> Iterator[Iterable[tuple[Tensor, Tensor]]]:
    """The batches of each epoch: drawn as they are needed, or read where they are kept."""
    kept = None if settings.drawn is None else keep(settings)
    for epoch in range(settings.epochs):
        if kept is None:
            pictures = Pictures(settings.seed, epoch, settings.images, epoch < settings.easy)
            yield DataLoader(pictures, settings.batch, num_workers=settings.workers, drop_last=True)
        else:
            start, whole = epoch * settings.images, settings.images // settings.batch * settings.batch
            images, present = (t[start : start + whole].split(settings.batch) for t in kept)
            yield zip(images, (each.float() for each in present), strict=True)


def keep(settings: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """All pictures of all epochs and their classes, drawn once into a file."""
    path, number = Path(settings.drawn), settings.epochs * settings.images
    shape = (number, SIDE * SIDE * 3 + len(CLASSES))
    if not path.exists():
        unfinished = path.with_suffix(".part")
        file = np.memmap(unfinished, np.uint8, "w+", shape=shape)
        for epoch in range(settings.epochs):
            pictures = Pictures(settings.seed, epoch, settings.images, epoch < settings.easy)
            loader = DataLoader(pictures, 500, num_workers=settings.workers)
            for k, (images, present) in enumerate(loader):
                start = epoch * settings.images + 500 * k
                both = (images.permute(0, 2, 3, 1).flatten(1), present.byte())
                file[start : start + len(images)] = torch.cat(both, 1).numpy()
            report(f"drew the pictures of epoch {epoch + 1}/{settings.epochs}")
        file.flush()
        unfinished.replace(path)
    found = torch.from_numpy(np.memmap(path, np.uint8, "c")).view(-1, shape[1])[:number]
    if len(found) < number:
        raise SystemExit(f"{path} holds {len(found)} pictures, and {number} are asked for: remove it, or ask for fewer")
    images = found[:, : -len(CLASSES)].view(-1, SIDE, SIDE, 3).permute(0, 3, 1, 2)
    return images, found[:, -len(CLASSES) :]


def graphed(network: Network, images: Tensor) -> Any:
    """The network as one launch a pass: of layers as small as these a GPU spends its time on being told what to do."""
    return torch.cuda.make_graphed_callables(network, (normalize(images),)) if images.is_cuda else network


def train(name: str, settings: argparse.Namespace) -> float:
    """Train a network, save its weights after every epoch, and return the seconds it took."""
    torch.manual_seed(settings.seed)
    device = torch.device(settings.device)
    began = time.monotonic()
    network = architecture(name)
    for layer in network.modules():
        if isinstance(layer, nn.Dropout) and not settings.batchnorm:
            layer.p = 0.0
    first = torch.stack([Pictures(settings.seed, 0, 256, easy=False)[i][0] for i in range(256)])
    if settings.start is not None:
        network.load_state_dict(load_file(settings.start / f"{name}.safetensors"))
    elif settings.batchnorm:
        network = with_batchnorm(network)
    else:
        network = normalised(network, normalize(first))
    network = network.to(device, memory_format=torch.channels_last).train()
    steps = settings.images // settings.batch
    walk = Steps(network, settings)
    called = graphed(network, first[: settings.batch].to(device))
    for epoch, batches in enumerate(epochs(settings)):
        network.train()
        loss = torch.zeros((), device=device)
        for images, present in batches:
            with torch.autocast("cpu", torch.bfloat16, enabled=device.type == "cpu"):
                logits = called(normalize(images.to(device)))
            objective = functional.binary_cross_entropy_with_logits(logits.float(), present.to(device))
            network.zero_grad()
            objective.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            walk.take()
            loss += objective.detach() / steps
        store(network.eval(), settings.out / f"{name}.safetensors")
        seconds = time.monotonic() - began
        report(f"{name} epoch {epoch + 1}/{settings.epochs}: loss {loss:.4f}, {seconds:.0f} s")
    return time.monotonic() - began


def report(text: str) -> None:
    """Tell how far the training is."""
    sys.stderr.write(text + "\n")


def store(network: Network, path: Path) -> None:
    """Write the weights, each BatchNorm folded; the file is whole at any time."""
    state = {key: value.cpu().contiguous() for key, value in without_batchnorm(network).state_dict().items()}
    write_whole(path, save(state))


@torch.inference_mode()
def outputs(network: Network, samples: list[Sample]) -> Tensor:
    """The logits of the pictures: (len(samples), 10)."""
    images = torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2)
    return torch.cat([network(normalize(part)) for part in images.split(256)])


def measure(name: str, folder: Path, pictures: int) -> dict[str, Any]:
    """Measure the network saved in the folder on `pictures` held-out pictures of each variant."""
    network = architecture(name).eval()
    network.load_state_dict(load_file(folder / f"{name}.safetensors"))
    single = [Clutter("test", "single").sample(i) for i in range(pictures)]
    multi = [Clutter("test", "multi").sample(i) for i in range(pictures)]
    labels = torch.tensor([sample.labels[0] for sample in single])
    ranking = outputs(network, single).argsort(dim=1, descending=True)
    hits = (ranking == labels[:, None]).double().numpy()
    precision = average_precision_score(multi_hot(multi).numpy(), outputs(network, multi).numpy(), average=None)
    return {
        "sha256": file_sha256(folder / f"{name}.safetensors"),
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
    add("--epochs", type=int, default=40, help="epochs in all (%(default)s)")
    add("--easy", type=int, default=1, help="of these, epochs with large single digits (%(default)s)")
    add("--images", type=int, default=20_000, help="pictures an epoch (%(default)s)")
    add("--batch", type=int, default=32, help="pictures a step (%(default)s)")
    add("--bias-decay", type=float, default=10.0, help="how strongly biases are pulled to zero (%(default)s)")
    add("--batchnorm", action="store_true", help="with a BatchNorm after each convolution, folded at the end")
    add("--rate", type=float, default=2e-3, help="highest learning rate (%(default)s)")
    add("--seed", type=int, default=0, help="of pictures and first weights (%(default)s)")
    add("--threads", type=int, default=1, help="threads that train (%(default)s)")
    add("--workers", type=int, default=1, help="processes that draw pictures (%(default)s)")
    add("--device", default="cpu", help="(%(default)s)")
    add("--drawn", type=Path, metavar="FILE", help="where pictures are kept for another training; none: nowhere")
    add("--start", type=Path, metavar="FOLDER", help="go on from the weights there, without BatchNorm")
    add("--out", type=Path, default=WEIGHTS, metavar="FOLDER", help="where weights go (the package's)")
    add("--figures", type=Path, default=ROOT / "docs", metavar="FOLDER", help="where figures go (docs)")
    add("--pictures", type=int, default=5000, help="held-out pictures to measure on (%(default)s)")
    return parser.parse_args()


def main() -> None:
    """Train, measure, write."""
    settings = options()
    torch.set_num_threads(settings.threads)
    recipe = {key: vars(settings)[key] for key in RECIPE}
    for name in NAMES:
        if settings.network in ("both", name.removeprefix("digits-")):
            seconds = round(train(name, settings))
            figures = {
                "network": name,
                "recipe": recipe,
                "seconds": seconds,
                **measure(name, settings.out, settings.pictures),
            }
            text = json.dumps(figures, indent=2) + "\n"
            write_whole(settings.figures / f"{name}.json", text.encode())
            sys.stdout.write(text)


if __name__ == "__main__":
    main()
