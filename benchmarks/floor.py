"""The convolution floor: the convolution and matrix calls that a rule cannot do without, and nothing else.

Per layer, in passes over that layer (one forward pass of it is 1):

| rule | input not negative | input of both signs |
|---|---|---|
| epsilon | forward, backward: 2 | the same |
| alpha 1 | forward, z+, backward with w+: 3 | forward; z+ and its backward, of x+ w+ and x- w-: 5 |
| alpha 2 | forward, z+, z-, backward with w+, backward with w-: 5 | forward and twice the four: 9 |
| alpha 2 below a ReLU | the same less z+, which is the output less z-: 4 | 7 |
| flat | forward, and the backward pass of a filter of ones from one channel to one | the same |

What is left out is what the calls are not: ReLUs, pools, additions and BatchNorms of the network, and the
divisions, products and sums of the rule itself. Weights of one sign are made beforehand, as they would be kept.
Inputs of both signs are split beforehand and stacked along the channels, so that each pass stays one call.
The calls work on the inputs that the layers really had, and on the real gradients of their outputs, which are
zero in the same places as relevance.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from benchmarks.networks import Layer

EPSILON, ALPHA1, ALPHA2, FLAT = "epsilon", "alpha1", "alpha2", "flat"


@dataclass(frozen=True)
class Pass:
    """One call of the floor.

    Attributes:
        what: what it computes.
        passes: its work, in forward passes of its layer.
        call: computes it.
    """

    what: str
    passes: float
    call: Callable[[], object]


def rules_of(plan: Iterable[Any]) -> dict[str, str]:
    """Return, by module path, which rule a plan (`relprop.plan`) gives the weighted layers.

    Raises:
        ValueError: for a rule whose floor is not known.
    """
    weighted = [step for step in plan if step.op in ("conv2d", "linear")]
    return {step.path: rule_of(step.rule) for step in weighted}


def rule_of(text: str) -> str:
    """Return the rule of a plan's text, "AlphaBeta(alpha=2)"."""
    name, _, options = text.partition("(")
    if name in ("Epsilon", "Z"):
        return EPSILON
    if name == "Flat":
        return FLAT
    alpha = re.search(r"alpha=([12])(\.0)?\b", options)
    if name == "AlphaBeta" and alpha:
        return ALPHA2 if alpha[1] == "2" else ALPHA1
    raise ValueError(f"the floor of the rule {text} is not known: add it to benchmarks/floor.py")


def floor(layers: Iterable[Layer], rules: Mapping[str, str], four: bool = False) -> list[Pass]:
    """Return every call that these rules need, layer by layer.

    Args:
        layers: with their inputs and gradients.
        rules: by module path.
        four: whether relevance is 0 where outputs are not positive, so that alpha 2 takes four passes.
    """
    return [call for layer in layers for call in passes(layer, rules[layer.path], four)]


def passes(layer: Layer, rule: str, four: bool = False) -> list[Pass]:
    """Return the calls of one layer by its rule."""
    op = _Conv(layer.module) if isinstance(layer.module, nn.Conv2d) else _Linear()
    w, b = layer.module.weight.detach(), layer.module.bias
    forward = Pass("forward", 1, lambda: op.forward(layer.x, w, b))
    if rule == EPSILON:
        return [forward, Pass("backward", 1, lambda: op.backward(layer.g, layer.x, w))]
    if rule == FLAT:
        return [forward, _box(layer, op)]
    plus, minus = w.clamp(min=0), w.clamp(max=0)
    x, share = layer.x, 1
    if not layer.nonneg:  # x+ w+ + x- w- is one call on twice the channels
        x, share = torch.cat([x.clamp(min=0), x.clamp(max=0)], 1), 2
        plus, minus = torch.cat([plus, minus], 1), torch.cat([minus, plus], 1)

    def z(sign: str, weight: Tensor) -> Pass:
        return Pass(f"z{sign}", share, lambda: op.forward(x, weight, None))

    def back(sign: str, weight: Tensor) -> Pass:
        return Pass(f"backward{sign}", share, lambda: op.backward(layer.g, x, weight))

    if rule == ALPHA1:
        return [forward, z("+", plus), back("+", plus)]
    if rule != ALPHA2:
        raise ValueError(f"the floor of {rule!r} is not known")
    backwards = [back("+", plus), back("-", minus)]
    if four:
        return [forward, z("-", minus), *backwards]
    return [forward, z("+", plus), z("-", minus), *backwards]


def cost(layer: Layer, rule: str, four: bool = False) -> float:
    """Return the passes of one layer by its rule: the sum over `passes`, without preparing them."""
    if rule == FLAT:
        return 1 + _box_share(layer)
    if rule == EPSILON:
        return 2
    if rule == ALPHA1:
        return 3 if layer.nonneg else 5
    return (4 if four else 5) if layer.nonneg else (7 if four else 9)


def work(layers: Iterable[Layer], rules: Mapping[str, str], price: Callable[[Layer, str], float] = cost) -> float:
    """Return the passes of a whole network: each layer's, weighted by its floating-point operations."""
    every = list(layers)
    return sum(layer.flops * price(layer, rules[layer.path]) for layer in every) / sum(layer.flops for layer in every)


INNVESTIGATE = {EPSILON: 3, ALPHA1: 5, ALPHA2: 9, FLAT: 3}
"""Passes per layer as iNNvestigate's rules have them, the model's own forward pass included.

Its epsilon rule computes z again (a pass) and its gradient; alpha-beta applies two layers to the two signs of the
input for each side that has a weight, and takes two gradients, whether the input can be negative or not; flat puts
ones through the layer of ones, and its gradient back, over all channels (the other forward pass that its source
has is never fetched from the graph).
"""


def innvestigate(_: Layer, rule: str) -> float:
    """Return iNNvestigate's passes of one layer, for `work`."""
    return INNVESTIGATE[rule]


class _Linear:
    """Matrix products."""

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        return nn.functional.linear(x, w, b)

    def backward(self, g: Tensor, _: Tensor, w: Tensor) -> Tensor:
        return g @ w


class _Conv:
    """Convolutions as one layer has them."""

    def __init__(self, module: nn.Conv2d) -> None:
        if module.groups != 1 or isinstance(module.padding, str):
            raise ValueError(f"the floor of {module} is not known: groups and named paddings are not")
        self.geometry: tuple[Any, ...] = (module.stride, module.padding, module.dilation, False, [0, 0], 1)

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        return torch.convolution(x, w, b, *self.geometry)

    def backward(self, g: Tensor, x: Tensor, w: Tensor) -> Tensor:
        below: Tensor = torch.ops.aten.convolution_backward(g, x, w, None, *self.geometry, [True, False, False])[0]
        return below


def _box(layer: Layer, op: _Conv | _Linear) -> Pass:
    """Return the flat rule's backward pass: a filter of ones, from one channel to one."""
    if isinstance(op, _Linear):
        raise TypeError("the flat rule is not for fully connected layers")
    w = layer.module.weight
    one, x, g = w.new_ones(1, 1, *w.shape[2:]), layer.x[:, :1].contiguous(), layer.g.sum(1, keepdim=True)
    return Pass("box", _box_share(layer), lambda: op.backward(g, x, one))


def _box_share(layer: Layer) -> float:
    """Return what a filter from one channel to one costs, in forward passes of the layer."""
    channels: int = layer.module.weight.shape[0] * layer.module.weight.shape[1]
    return 1 / channels
