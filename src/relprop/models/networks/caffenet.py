"""CaffeNet, the network of the paper's PASCAL VOC study.

It is the reference network of Jia et al., "Caffe: Convolutional Architecture for Fast Feature Embedding" (2014):
AlexNet (Krizhevsky et al. 2012) with pooling before normalisation. `files.caffe_weights` gives it weights.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from relprop.data.preprocess import Preprocess

SIDE = 227
"""Height and width of the network's input, in pixels."""
MEAN = (104.00698793, 116.66876762, 122.67891434)
"""Of ImageNet's pictures, blue, green and red in 0..255: the mean pixel published with the reference network."""
PREPROCESS = Preprocess(SIDE, (SIDE, SIDE), MEAN, (1.0, 1.0, 1.0), channels="BGR", scale=255.0)
"""The whole picture, warped to the input's size as in the paper's VOC study, blue first, less the mean pixel."""


class CaffeNet(nn.Module):
    """Five convolutions and three linear layers: (B, 3, 227, 227) to (B, classes) logits.

    The input is blue, green and red in 0..255, a mean subtracted. Layers are called as in Caffe: conv1, relu1,
    pool1, norm1, ... fc8. Pools round up; normalisation stands after the pool; conv2, conv4 and conv5 are in two
    groups.

    Args:
        classes: number of logits.
    """

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        for name, module in _layers(classes):
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, classes) of the pictures x (B, 3, 227, 227)."""
        for module in self.children():
            x = module(x)
        return x


def _layers(classes: int) -> Iterator[tuple[str, nn.Module]]:
    convolutions = (
        (1, nn.Conv2d(3, 96, 11, stride=4)),
        (2, nn.Conv2d(96, 256, 5, padding=2, groups=2)),
        (3, nn.Conv2d(256, 384, 3, padding=1)),
        (4, nn.Conv2d(384, 384, 3, padding=1, groups=2)),
        (5, nn.Conv2d(384, 256, 3, padding=1, groups=2)),
    )
    for n, convolution in convolutions:
        yield f"conv{n}", convolution
        yield f"relu{n}", nn.ReLU(inplace=True)
        if n in (1, 2, 5):
            yield f"pool{n}", nn.MaxPool2d(3, 2, ceil_mode=True)
        if n in (1, 2):
            yield f"norm{n}", nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
    yield "flatten", nn.Flatten()
    for n, inputs in ((6, 256 * 6 * 6), (7, 4096)):
        yield f"fc{n}", nn.Linear(inputs, 4096)
        yield f"relu{n}", nn.ReLU(inplace=True)
        yield f"drop{n}", nn.Dropout()
    yield "fc8", nn.Linear(4096, classes)


def build(classes: int) -> CaffeNet:
    """Build CaffeNet with random weights, the same each time, leaving the caller's random numbers alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CaffeNet(classes)
