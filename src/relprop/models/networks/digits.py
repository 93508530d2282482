"""Two small networks for the digits of `relprop.data.clutter`.

``digits-shallow`` has CaffeNet's shape (5 convolutions with large kernels first, 3 linear layers),
``digits-deep`` has VGG-16's (13 convolutions of 3x3 in five blocks, 3 linear layers with dropout). Both take
RGB pictures of 64x64 pixels, scaled to 0..1 and normalised with `MEAN` and `STD`, and give ten logits, each
for a class being present, whatever else is. ``docs/model-card.md`` tells how well;
``scripts/train_embedded.py`` trained them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from relprop.data.clutter import CLASSES, SIDE
from relprop.data.preprocess import Preprocess
from relprop.support.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

NAMES = ("digits-shallow", "digits-deep")
MEAN = (0.45, 0.45, 0.45)
"""Subtracted from red, green and blue in 0..1."""
STD = (0.25, 0.25, 0.25)
"""Divides red, green and blue after that."""
PREPROCESS = Preprocess(SIDE, SIDE, MEAN, STD)
"""What they were trained with."""


class Network(nn.Module):
    """Convolutions, then linear layers: (B, 3, 64, 64) normalised pictures to (B, 10) logits."""

    def __init__(self, features: nn.Sequential, classifier: nn.Sequential) -> None:
        super().__init__()
        self.features = features
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, 10) of the pictures x (B, 3, 64, 64)."""
        logits: Tensor = self.classifier(self.features(x).flatten(1))
        return logits


def architecture(name: str) -> Network:
    """Build a network of `NAMES` with fresh random weights, in training mode.

    Raises:
        InputError: there is no such network.
    """
    if name == "digits-shallow":
        return Network(nn.Sequential(*_shallow()), nn.Sequential(*_linear(64 * 7 * 7, 128, 0.2)))
    if name == "digits-deep":
        return Network(nn.Sequential(*_deep()), nn.Sequential(*_linear(64 * 2 * 2, 128, 0.2)))
    raise InputError(f"no embedded model {name!r}: choose one of {', '.join(NAMES)}")


def _shallow() -> Iterator[nn.Module]:
    yield from _convolution(3, 16, 5)
    yield nn.MaxPool2d(3, 2)
    yield from _convolution(16, 32, 5)
    yield nn.MaxPool2d(3, 2)
    yield from _convolution(32, 64, 3)
    yield from _convolution(64, 64, 3)
    yield from _convolution(64, 64, 3)
    yield nn.MaxPool2d(3, 2)


def _deep() -> Iterator[nn.Module]:
    channels = 3
    for width, depth in ((16, 2), (32, 2), (48, 3), (64, 3), (64, 3)):
        for _ in range(depth):
            yield from _convolution(channels, width, 3)
            channels = width
        yield nn.MaxPool2d(2, 2)


def _convolution(channels: int, width: int, kernel: int) -> Iterator[nn.Module]:
    """A convolution that keeps height and width, and its ReLU."""
    yield nn.Conv2d(channels, width, kernel, padding=kernel // 2)
    yield nn.ReLU(inplace=True)


def _linear(inputs: int, width: int, dropout: float) -> Iterator[nn.Module]:
    for n in (inputs, width):
        yield nn.Linear(n, width)
        yield nn.ReLU(inplace=True)
        yield nn.Dropout(dropout)
    yield nn.Linear(width, len(CLASSES))
