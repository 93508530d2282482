"""The networks that are timed, with random weights, and what their layers really hold while they run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Network:
    """A network by name.

    Attributes:
        build: makes it, weights not yet set.
        side: height and width of its pictures in pixels.
        residual: whether it adds values outside of modules, which Captum cannot see.
        classes: the number of its outputs.
    """

    build: Callable[[], nn.Module]
    side: int = 224
    residual: bool = False
    classes: int = 1000


def _torchvision(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from torchvision import models  # type: ignore[import-untyped]  # noqa: PLC0415 - seconds; --list needs none

        module: nn.Module = getattr(models, name)()
        return module

    return build


def _tiny() -> nn.Module:
    """A network of milliseconds that has every kind of layer of the others: it warms the libraries up."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 16),
        nn.ReLU(),
        nn.Linear(16, 10),
    )


NETWORKS: dict[str, Network] = {
    "vgg16": Network(_torchvision("vgg16")),
    "resnet50": Network(_torchvision("resnet50"), residual=True),
    "resnet18": Network(_torchvision("resnet18"), residual=True),
    "squeezenet1_0": Network(_torchvision("squeezenet1_0")),
    "tiny": Network(_tiny, side=16, classes=10),
}
"""`tiny` is for warming up and for tests; a run without a filter leaves it out."""


def network(name: str, seed: int = 0) -> nn.Module:
    """Return a network in eval mode with random weights, the same ones for the same seed.

    Its parameters need no gradient: the gradient that LRP is compared with is that of the input alone, and
    autograd computes none of the weights' then.
    """
    with torch.device("meta"):
        model = NETWORKS[name].build()
    model = model.to_empty(device="cpu").eval().requires_grad_(requires_grad=False)
    numbers = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=numbers)  # keeps activations near 1
            if module.bias is not None:
                nn.init.normal_(module.bias, 0, 0.1, generator=numbers)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0, generator=numbers)
            nn.init.normal_(module.bias, 0, 0.2, generator=numbers)
            for buffer, values in (("running_mean", (0, 0.2)), ("running_var", (1.5, 0.2))):
                getattr(module, buffer).normal_(*values, generator=numbers).clamp_(min=-1)
            module.get_buffer("num_batches_tracked").zero_()
    return model


def pictures(name: str, batch: int, seed: int = 1) -> Tensor:
    """Return random pictures in the range of ImageNet's normalised ones, (batch, 3, side, side) float32."""
    side = NETWORKS[name].side
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 4.7 - 2.1


@dataclass
class Stage:
    """What a contender gets: a network and pictures, and the classes to explain.

    Attributes:
        name: the network's.
        model: in eval mode, on the pictures' device. Contenders that change a model make a copy.
        x: pictures, (B, 3, side, side).
        target: class indices, (B,).
        copy: whether a contender that changes the model must copy it first.
        recorded: its layers, once they were asked for.
    """

    name: str
    model: nn.Module
    x: Tensor
    target: Tensor
    copy: bool = True
    recorded: list[Layer] | None = field(default=None, init=False, repr=False)


def stage(name: str, batch: int, model: nn.Module, device: str, dtype: torch.dtype) -> Stage:
    """Return a network's stage on a device in a precision; the model must be there already."""
    x = pictures(name, batch).to(device, dtype)
    return Stage(name, model, x, torch.arange(batch, device=device) % NETWORKS[name].classes)


@dataclass
class Layer:
    """A convolution or linear layer with the tensors of one real pass.

    Attributes:
        path: its module path.
        module: itself.
        x: its input.
        g: the gradient of its output, zero where relevance is zero: behind a dead ReLU, beside a pool's winner.
        z: the shape of its output.
    """

    path: str
    module: Any
    x: Tensor
    g: Tensor
    z: torch.Size

    @property
    def nonneg(self) -> bool:
        """Whether the input holds no negative number."""
        return bool((self.x >= 0).all())

    @property
    def flops(self) -> int:
        """Floating-point operations of one forward pass, an addition and a multiplication being two."""
        return 2 * self.z.numel() * int(self.module.weight[0].numel())


def layers(it: Stage) -> list[Layer]:
    """Return the weighted layers in order of execution; the first time, the network runs forward and back for it."""
    if it.recorded is None:
        it.recorded = _recorded(it)
    return it.recorded


def _recorded(it: Stage) -> list[Layer]:
    found: list[Layer] = []
    handles = []

    def hook(path: str) -> Callable[[Any, Any, Tensor], None]:
        def keep(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            layer = Layer(path, module, inputs[0].detach(), torch.empty(0), output.shape)
            found.append(layer)
            output.register_hook(lambda g: setattr(layer, "g", g.detach()))

        return keep

    for path, module in it.model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            handles.append(module.register_forward_hook(hook(path)))
    try:
        x = it.x.clone().requires_grad_()
        logits = it.model(x)
        torch.autograd.grad(logits.gather(1, it.target[:, None]).sum(), x)
    finally:
        for handle in handles:
            handle.remove()
    return found
