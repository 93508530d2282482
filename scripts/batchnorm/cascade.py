"""Does a map depend on the weights: similarity to itself as more and more layers, from the last, are shuffled.

Adebayo et al., "Sanity Checks for Saliency Maps" (2018), cascading. A layer's weights are permuted among themselves, a
BatchNorm's numbers among its channels, which keeps their distribution; so the network is untrained and still active.
`relprop.metrics.randomise` draws new numbers instead and leaves BatchNorm's statistics as they are, which are the
question here; maps are compared as it compares them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relprop.metrics import spearman

SHARES = (0.0, 0.25, 0.5, 1.0)
"""Of the layers that are shuffled, from the last; at 0 it is the last layer alone."""


def shuffled(model: nn.Module, share: float, seed: int = 0) -> nn.Module:
    """A copy whose last layers are shuffled."""
    copied = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    layers = [m for m in copied.modules() if isinstance(m, (nn.Conv2d, nn.Linear, nn.BatchNorm2d))][::-1]
    with torch.no_grad():
        for layer in layers[: max(round(share * len(layers)), 1)]:
            if isinstance(layer, nn.BatchNorm2d):
                order = torch.randperm(layer.num_features, generator=generator)
                for t in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                    if t is not None:
                        t.copy_(t[order.to(t.device)])
            else:
                for t in (layer.weight, layer.bias):
                    if t is not None:
                        t.copy_(t.flatten()[torch.randperm(t.numel(), generator=generator).to(t.device)].view_as(t))
    return copied


def similarities(
    model: nn.Module, trained: Mapping[str, Tensor], maps: Callable[[nn.Module], Mapping[str, Tensor]], region: int
) -> Iterator[dict[str, Tensor]]:
    """For every share the similarity of each method's maps to the trained network's, (B,).

    Args:
        model: the trained network.
        trained: each method's maps of it (B, H, W), and so on:
        maps: gives them of a network, times the sign of its logit, which is no matter of where relevance lies.
        region: side of the squares over which maps are summed before they are compared.
    """
    for share in SHARES:
        found = maps(shuffled(model, share))
        yield {name: spearman(_summed(R, region), _summed(found[name], region)) for name, R in trained.items()}


def _summed(R: Tensor, region: int) -> Tensor:
    return F.avg_pool2d(R[:, None].double(), region, ceil_mode=True, count_include_pad=False)[:, 0]
