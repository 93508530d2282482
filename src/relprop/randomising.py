"""Whether a map depends on what the network has learned: it is explained again with its layers randomised.

Source: Adebayo et al., "Sanity Checks for Saliency Maps" (2018). A method whose map stays as it was when the weights
are drawn by chance explains the picture, not the network. `relprop.metrics.randomise` is the way to it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from relprop import metrics
from relprop.catalogue.names import Function, Method
from relprop.propagate import attribute
from relprop.record.logits import logits_of
from relprop.support.errors import InputError
from relprop.support.suggest import did_you_mean

ORDERS = ("top", "bottom", "independent")
"""From the output down, from the input up, each layer alone."""


@dataclass(frozen=True, eq=False)
class Randomised:
    """How alike the maps of a network and of its randomised copies are: 1 is the same.

    Cosine and rank correlation of what has nothing in common are around 0; structural similarity is above 0 where both
    maps are empty in most places, so compare it between methods.

    Attributes:
        layers: (L,) module paths, in the order in which they were randomised. With the orders "top" and "bottom" all
            layers up to each of them are random, with "independent" each alone.
        cosine: (L, B), between the maps; signs count, in all three.
        spearman: (L, B), correlation of the ranks of their pixels.
        ssim: (L, B), structural similarity; NaN for pictures below 11 pixels.
    """

    layers: tuple[str, ...]
    cosine: Tensor
    spearman: Tensor
    ssim: Tensor

    def __repr__(self) -> str:
        lines = [
            f"  {layer:<30} {row[0]:>8.3f} {row[1]:>8.3f} {row[2]:>8.3f}"
            for layer, row in zip(self.layers, self._means().tolist(), strict=True)
        ]
        return "\n".join([f"  {'randomised':<30} {'cosine':>8} {'spearman':>8} {'ssim':>8}", *lines])

    def _means(self) -> Tensor:
        """Over pictures, (L, 3)."""
        return torch.stack([self.cosine.mean(1), self.spearman.mean(1), self.ssim.mean(1)], 1)


def randomise(
    model: nn.Module,
    x: Tensor,
    target: Any = None,
    method: Method | Function | None = None,
    *,
    order: str = "top",
    steps: int | None = None,
    seed: int = 0,
    profile: str = "paper",
) -> Randomised:
    """Randomise a copy of the network layer by layer, explain it, and compare its maps with those of the network.

    Args:
        model: a module in eval mode. It is not touched: what is randomised is a copy.
        x: pictures, (B, C, H, W).
        target: as for `relprop.attribute`. None: the class that the network itself predicts, of its copies too.
        method: likewise.
        order: "top" (cascading from the output down, as Adebayo et al. do), "bottom" (from the input up), or
            "independent" (one layer at a time, the others as learned).
        steps: explain after so many layers, spread evenly over the network, the last always among them; None: after
            each layer.
        seed: of the weights drawn. A layer gets the same ones in every order.
        profile: numeric conventions.

    Returns:
        Similarities by layer and picture.

    Raises:
        InputError: the model is no module or has no weights, there is no such order, or as `relprop.attribute`.

    Example:
        >>> import torch, relprop as rp
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(432, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
        >>> found = rp.metrics.randomise(net, torch.rand(2, 3, 12, 12), 1, "lrp-epsilon")
        >>> found.layers, found.spearman.shape  # by layer, from the output down, and picture
        (('3', '1'), torch.Size([2, 2]))
    """
    if x.ndim != 4:
        raise InputError(f"x of shape {tuple(x.shape)}: give pictures (B, C, H, W)")
    if target is None:
        with torch.no_grad():
            target = logits_of(model(x)).argmax(1)

    def explained(network: nn.Module) -> Tensor:
        R: Tensor = attribute(network, x, target, method, profile=profile)
        return R

    before = explained(model)
    layers, found = [], []
    for layer, network in copies(model, x[:1], order=order, steps=steps, seed=seed):
        layers.append(layer)
        found.append(likeness(before, explained(network)))
    cosine, spearman, ssim = (torch.stack([each[name] for each in found]) for name in ("cosine", "spearman", "ssim"))
    return Randomised(tuple(layers), cosine, spearman, ssim)


def likeness(R_a: Tensor, R_b: Tensor) -> dict[str, Tensor]:
    """Return how alike two maps of each picture are, by three names, (B,) each."""
    return {
        "cosine": metrics.similarity(R_a, R_b),
        "spearman": metrics.spearman(R_a, R_b),
        "ssim": metrics.ssim(R_a, R_b),
    }


def copies(
    model: nn.Module, x: Tensor, *, order: str = "top", steps: int | None = None, seed: int = 0
) -> Iterator[tuple[str, nn.Module]]:
    """Yield the last layer that was randomised, and the network with it; it is one copy, which changes as it goes on.

    Every number of a layer is drawn from a normal distribution around 0 that is as wide as the layer's own numbers are
    on the quadratic mean, tensor by tensor: what was learned is gone, the scale of activations stays. What is zero
    throughout, as an untrained bias, stays so; buffers stay too.

    Args:
        model: a module; it is not touched.
        x: what it can be run on once, to see in which order its layers come.
        order: as for `randomise`.
        steps: likewise.
        seed: likewise.

    Raises:
        InputError: as `randomise`.
    """
    if order not in ORDERS:
        raise InputError(f"no order {order!r}{did_you_mean(order, ORDERS) or ': ' + ', '.join(ORDERS)}")
    if steps is not None and steps < 1:
        raise InputError(f"steps={steps}: explain at least once, after the last layer")
    if not isinstance(model, nn.Module):
        raise InputError(f"the model is of type {type(model).__name__}; only the weights of a module can be randomised")
    network = copy.deepcopy(model)
    layers = _layers(network, x)
    if not layers:
        raise InputError("the model has no weights that could be randomised")
    numbered = list(enumerate(layers.items()))
    numbered = numbered if order == "bottom" else numbered[::-1]
    stops = {round(k * len(layers) / (steps or len(layers))) for k in range(1, (steps or len(layers)) + 1)}
    for place, (number, (path, tensors)) in enumerate(numbered, start=1):
        if order == "independent" and place not in stops:
            continue
        learned = [tensor.detach().clone() for tensor in tensors]
        _draw(tensors, torch.Generator().manual_seed(seed * 100_003 + number))
        if place in stops:
            yield path, network
        if order == "independent":
            _write(tensors, learned)


def _layers(network: nn.Module, x: Tensor) -> dict[str, list[nn.Parameter]]:
    """The floating-point parameters of each module that has some of its own, in order of execution, each tensor once.

    A module that is not called itself, as the parts of PyTorch's attention, comes where what it is a part of does.
    """
    called: dict[str, int] = {}
    hooks = [module.register_forward_pre_hook(partial(_note, called, path)) for path, module in network.named_modules()]
    try:
        with torch.no_grad():
            network(x)
    finally:
        for hook in hooks:
            hook.remove()
    held: set[int] = set()
    found: list[tuple[int, str, list[nn.Parameter]]] = []
    for path, module in network.named_modules():
        own = [p for p in module.parameters(recurse=False) if p.is_floating_point() and id(p) not in held]
        held |= {id(p) for p in own}
        if own:
            found.append((_when(path, called), path, own))
    return {path: own for _, path, own in sorted(found, key=lambda each: each[0])}


def _note(called: dict[str, int], path: str, *_: Any) -> None:
    """Note that a module was called; what it is called with stays as it is."""
    called.setdefault(path, len(called))


def _when(path: str, called: dict[str, int]) -> int:
    """When a module was called first, or the nearest that it is a part of."""
    while path and path not in called:
        path = path.rpartition(".")[0]
    return called.get(path, 0)


def _draw(tensors: list[nn.Parameter], generator: torch.Generator) -> None:
    """Put normal numbers of the same quadratic mean in the place of each tensor's; drawn on the CPU, for any device."""
    _write(
        tensors,
        [torch.randn(p.shape, generator=generator) * p.detach().double().square().mean().sqrt().cpu() for p in tensors],
    )


def _write(tensors: list[nn.Parameter], numbers: list[Tensor]) -> None:
    with torch.no_grad():
        for tensor, new in zip(tensors, numbers, strict=True):
            tensor.copy_(new)
