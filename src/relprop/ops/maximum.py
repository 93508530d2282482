"""A maximum is won by one input, which takes all."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from relprop.ops.call import vjp
from relprop.ops.weighted import passed
from relprop.rules.division import divide
from relprop.rules.layer import Rule, Share, Zero
from relprop.rules.lrp import Flat, Pass
from relprop.support.errors import RuleError
from relprop.tape.arguments import per_axis
from relprop.tape.tape import Node
from relprop.tape.visit import Visit


def maximum(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """The first winner of each window takes all; under flat all its inputs share, as winners do if ties split."""
    if isinstance(rule, Pass):
        return passed(node, R)
    x = node.inputs[0].data.to(visit.dtype)
    if isinstance(rule, Flat):
        below = _shared(node, x, R[0], ties=False) if sliding(node) else _averaged(node, x, R[0])
        value, out = node.inputs[0], node.outputs[0]  # windows of constants alone have nobody to hand it to
        lost = 0.0 if value.real is None else out.owners.total(R[0]) - value.owners.total(below)
        return Share((below,), lost=lost)
    if visit.conventions.ties == "split":
        if not sliding(node):
            raise RuleError(f"{node.where}: the profile splits ties, which is defined for sliding windows alone")
        return Share((_shared(node, x, R[0], ties=True),))
    if node.noted is not None:
        return Share((_to_winners(node, R[0]),), zero=Zero.AS_ABOVE)
    return Share(vjp(lambda leaf: [pooled_values(node.call([leaf]))], [x], R[:1]), zero=Zero.AS_ABOVE)


@dataclass(frozen=True)
class Winners:
    """Who won, and where: the arguments of torch's own way back through a max-pool of images."""

    settings: tuple[Any, ...]
    indices: Tensor


def pooled_with_winners(node: Node, args: Any, kwargs: Any) -> Any:
    """Make the call of a max-pool of images so that the winners are known, who need not be looked for again."""
    input, kernel, stride, padding, dilation, ceil = (  # noqa: A001  (torch's name)
        _setting(name, k, args, kwargs, default) for k, (name, default) in enumerate(SETTINGS.items())
    )
    named = getattr(node.func, "__name__", "")
    wants_indices = len(args) > 6 or kwargs.get("return_indices") or "indices" in named
    if wants_indices or kernel is None or input.is_quantized or input.ndim < 3:
        return node.func(*args, **kwargs)
    settings = (*(per_axis(each, 2) for each in (kernel, stride or kernel, padding, dilation)), ceil)
    pooled, indices = torch.ops.aten.max_pool2d_with_indices(input, *settings)
    node.noted = Winners(settings, indices)
    return pooled


SETTINGS = {"input": None, "kernel_size": None, "stride": None, "padding": 0, "dilation": 1, "ceil_mode": False}


def _setting(name: str, position: int, args: Any, kwargs: Any, default: Any) -> Any:
    return kwargs.get(name, args[position] if position < len(args) else default)


def _to_winners(node: Node, R: Tensor) -> Tensor:
    """Relevance to the first winner of each window; (T, *x.shape)."""
    winners: Winners = node.noted
    below = R.new_empty(len(R), *node.inputs[0].shape)
    x = torch.empty_like(below[0])  # only its shape is read
    for upper, lower in zip(R.contiguous(), below, strict=True):
        torch.ops.aten.max_pool2d_with_indices_backward.grad_input(
            upper, x, *winners.settings, winners.indices, grad_input=lower
        )
    return below


def pooled_values(result: Any) -> Tensor:
    """The pooled values in what a max-pool returned, without the indices."""
    pooled: Tensor = result if isinstance(result, Tensor) else result[0]
    return pooled


def sliding(node: Node) -> bool:
    """Whether the pool has a kernel that slides."""
    return "max_pool" in node.op.name and "adaptive" not in node.op.name


def _averaged(node: Node, x: Tensor, R: Tensor) -> Tensor:
    """Spread relevance evenly over windows that do not slide: through the mean over the real inputs of each."""
    real = node.inputs[0].real
    if real is None:
        return vjp(lambda leaf: [_mean(node, leaf)], [x], [R])[0]
    shown = real.to(x.dtype).expand(x.shape).contiguous()
    return vjp(lambda leaf: [_mean(node, leaf * shown)], [x], [divide(R, _mean(node, shown))])[0]


def _mean(node: Node, x: Tensor) -> Tensor:
    """Over the windows of a maximum that do not slide."""
    pool: Callable[..., Tensor] = getattr(F, node.op.name.replace("max", "avg"))
    return pool(x, node.argument("output_size", 1))


def _shared(node: Node, x: Tensor, R: Tensor, *, ties: bool) -> Tensor:
    """Spread the relevance of each window evenly over its real inputs, or over its winners; (T, *x.shape)."""
    out = pooled_values(node.call([x]))
    axes, slices = _windows(node, x, out)
    padded = F.pad(x, axes, value=-torch.inf)
    real = node.inputs[0].real
    shown = None if real is None else F.pad(real.expand(x.shape).to(x.dtype), axes) > 0
    inside = [padded[at].isfinite() if shown is None else padded[at].isfinite() & shown[at] for at in slices]
    chosen = [padded[at] == out for at in slices] if ties else inside
    s = divide(R, sum(chosen[1:], start=chosen[0].to(x.dtype)))
    below = R.new_zeros(R.shape[0], *padded.shape)
    for at, mask in zip(slices, chosen, strict=True):
        below[at] += s * mask
    return F.pad(below, [-a for a in axes])


def _windows(node: Node, x: Tensor, out: Tensor) -> tuple[list[int], list[Any]]:
    """The padding of x (as F.pad takes it), and for each place in the kernel the inputs that stand there."""
    d = int(node.op.name[-2])

    def setting(name: str, position: int, default: Any) -> list[int]:
        value = node.argument(name, position, default)
        none = value is None or (isinstance(value, (list, tuple)) and not value)
        return per_axis(default if none else value, d)

    kernel = setting("kernel_size", 1, None)
    stride, padding = setting("stride", 2, kernel), setting("padding", 3, 0)
    dilation = setting("dilation", 4, 1)
    last = [(o - 1) * s for o, s in zip(out.shape[-d:], stride, strict=True)]  # where the last window begins
    axes: list[int] = []
    for n, p, k, dil, at in reversed(list(zip(x.shape[-d:], padding, kernel, dilation, last, strict=True))):
        axes += [p, at + dil * (k - 1) + 1 - n - p]
    slices = [
        (
            ...,
            *(slice(o * dil, o * dil + at + 1, s) for o, dil, at, s in zip(place, dilation, last, stride, strict=True)),
        )
        for place in itertools.product(*map(range, kernel))
    ]
    return axes, slices
