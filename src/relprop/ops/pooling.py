"""Pools. Averages, means and sums are linear layers with fixed weights; a maximum is won by one input."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from relprop.ops.layer import LinearOp
from relprop.ops.linear import passed
from relprop.ops.table import Op, having, kept, register, spellings
from relprop.ops.vjp import vjp
from relprop.rules.division import divide
from relprop.rules.layer import Own, Rule, Share
from relprop.rules.lrp import Epsilon, Flat, Pass
from relprop.support.errors import RuleError
from relprop.tape.tape import per_axis

if TYPE_CHECKING:
    from relprop.ops.context import Context
    from relprop.tape.tape import Node

WINNER = Own("winner takes all")


@dataclass(frozen=True)
class Average:
    """A linear op with fixed weights that are alike within a window; `w` scales all of them."""

    node: Node

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        """sum_i x_i w_ij."""
        del b  # there is none
        out: Tensor = self.node.call([x])
        return out * w

    def backward(self, s: Tensor, w: Tensor, shape: torch.Size) -> Tensor:
        """sum_j w_ij s_j; (T, *shape)."""
        below = vjp(lambda x: [self.forward(x, w)], [s.new_zeros(shape)], [s])[0]
        return below.contiguous()  # a sum hands one number to all its inputs, as one place in memory

    # The weights of a window are alike, so 1 / (number of inputs) is w_ij / sum_i w_ij.

    def count(self, x: Tensor, w: Tensor) -> Tensor:
        """sum_i w_ij: the number of real inputs, up to the factor that `spread` has too."""
        return self.forward(torch.ones_like(x), torch.ones_like(w))

    def spread(self, R: Tensor, d: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """sum_j w_ij R_j / d_j; (T, *x.shape)."""
        return self.backward(divide(R, d), torch.ones_like(w), x.shape)


def average(node: Node, rule: Rule, R: list[Tensor], context: Context) -> Share:
    """Hand relevance through an average by any rule, as through a layer with those weights."""
    (value,), (out,) = node.inputs, node.outputs
    if isinstance(rule, Pass):
        return passed(node, R)
    if isinstance(rule, Flat):
        rule = Flat(eps=rule.eps)  # the window's own weights know its real inputs
    x = context.data(value)
    layer = LinearOp(
        x=x,
        held=context.data(out),
        w=x.new_ones(()),
        b=None,
        kind=Average(node),
        nonneg=value.nonneg,
        context=context,
        rows=context.rows(out),
        total=lambda R: context.total(R, out),
    )
    return rule.share(layer, R[0])


def maximum(node: Node, rule: Rule, R: list[Tensor], context: Context) -> Share:
    """The first winner of each window takes all; under flat all its inputs share, as winners do if ties split."""
    if isinstance(rule, Pass):
        return passed(node, R)
    x = context.data(node.inputs[0])
    if isinstance(rule, Flat):
        return Share((_shared(node, x, R[0], ties=False) if sliding(node) else _averaged(node, x, R[0]),))
    if context.ties == "split":
        if not sliding(node):
            raise RuleError(f"{node.where}: the profile splits ties, which is defined for sliding windows alone")
        return Share((_shared(node, x, R[0], ties=True),))
    if node.noted is not None:
        return Share((_to_winners(node, R[0]),), proportional=None)
    return Share(vjp(lambda leaf: [values(node.call([leaf]))], [x], R[:1]), proportional=None)


@dataclass(frozen=True)
class Winners:
    """Who won, and where: the arguments of torch's own way back through a max-pool of images."""

    settings: tuple[Any, ...]
    indices: Tensor


def pooled_with_winners(node: Node, args: Any, kwargs: Any) -> Any:
    """Make the call of a max-pool of images so that the winners are known, who need not be looked for again."""
    input, kernel, stride, padding, dilation, ceil = (  # noqa: A001  (torch's name)
        _given(name, k, args, kwargs, default) for k, (name, default) in enumerate(SETTINGS.items())
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


def _given(name: str, position: int, args: Any, kwargs: Any, default: Any) -> Any:
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


def values(result: Any) -> Tensor:
    """The pooled values in what a max-pool returned, without the indices."""
    pooled: Tensor = result if isinstance(result, Tensor) else result[0]
    return pooled


def sliding(node: Node) -> bool:
    """Whether the pool has a kernel that slides."""
    return "max_pool" in node.op.name and "adaptive" not in node.op.name


def _averaged(node: Node, x: Tensor, R: Tensor) -> Tensor:
    """Spread relevance evenly over windows that do not slide: through the mean over the same windows."""
    if node.op.name == "max":
        axis, keep = node.argument("dim", 1), node.argument("keepdim", 2, False)
        return vjp(lambda leaf: [leaf.mean(axis, keepdim=keep)], [x], [R])[0]
    mean = getattr(F, node.op.name.replace("max", "avg"))
    size = node.argument("output_size", 1)
    return vjp(lambda leaf: [mean(leaf, size)], [x], [R])[0]


def _shared(node: Node, x: Tensor, R: Tensor, *, ties: bool) -> Tensor:
    """Spread the relevance of each window evenly over its real inputs, or over its winners; (T, *x.shape)."""
    out = values(node.call([x]))
    axes, slices = _windows(node, x, out)
    padded = F.pad(x, axes, value=-torch.inf)
    chosen = [(padded[at] == out) if ties else padded[at].isfinite() for at in slices]
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


def interpolation(node: Node, rule: Rule, R: list[Tensor], context: Context) -> Share:
    """Nearest neighbours are copies; the other modes are averages whose weights differ within a window."""
    if "nearest" in str(node.argument("mode", 3, "nearest")):
        return Share(vjp(lambda leaf: [node.call([leaf])], [context.data(node.inputs[0])], R[:1]))
    if not isinstance(rule, (Epsilon, Pass)):
        raise RuleError(f"{rule} on {node.where}: interpolation takes the epsilon rule alone")
    return average(node, rule, R, context)


def _needs_an_axis(node: Node) -> str | None:
    if isinstance(node.argument("dim", 1), int) and len(node.inputs) == 1:
        return None
    return "a maximum over everything, or of two values; use torch.max(x, dim) or a max-pool"


def _averages_kept(node: Node) -> bool:
    divisor = node.kwargs.get("divisor_override", node.args[6] if len(node.args) > 6 else None)
    return kept(node) and (divisor is None or divisor > 0)


_dims = ("1d", "2d", "3d")
register(
    Op("avg_pool", "avg_pool", average, Epsilon(), samples="image", positive=_averages_kept),
    *spellings(*(f"avg_pool{d}" for d in _dims), *(f"adaptive_avg_pool{d}" for d in _dims)),
)
for _name in ("mean", "sum"):
    register(Op(_name, "avg_pool", average, Epsilon(), samples="reduced", positive=kept), *spellings(_name))
for _d in _dims:
    for _name in (f"max_pool{_d}", f"adaptive_max_pool{_d}"):
        register(
            Op(
                _name,
                "max_pool",
                maximum,
                WINNER,
                samples="image",
                positive=kept,
                run=pooled_with_winners if _name == "max_pool2d" else None,
            ),
            *spellings(_name, *having(f"{_name}_with_indices")),
        )
register(
    Op("max", "max_pool", maximum, WINNER, samples="reduced", positive=kept, refuse=_needs_an_axis),
    *spellings("max"),
)
register(
    Op("interpolate", "avg_pool", interpolation, Epsilon(), samples="image"),
    *spellings("interpolate", "upsample"),
)
