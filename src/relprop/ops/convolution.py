"""Convolutions and transposed convolutions as linear maps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from relprop.rules.division import divide
from relprop.tape.arguments import per_axis
from relprop.tape.tape import Node


@dataclass(frozen=True)
class Conv:
    """Convolutions and transposed convolutions in 1 to 3 dimensions, with a batch in front."""

    stride: list[int]
    padding: list[int]
    dilation: list[int]
    transposed: bool
    output_padding: list[int]
    groups: int
    extra: tuple[int, ...] = ()
    """More zeros behind each axis than before it, as padding='same' needs for even kernels (F.pad order)."""

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        """sum_i x_i w_ij + b_j."""
        x = F.pad(x, self.extra) if self.extra else x
        return torch.convolution(
            x,
            w,
            None if b is None else b.flatten(),
            self.stride,
            self.padding,
            self.dilation,
            self.transposed,
            self.output_padding,
            self.groups,
        )

    def backward(self, s: Tensor, w: Tensor, shape: torch.Size) -> Tensor:
        """sum_j w_ij s_j; (T, *shape)."""
        maps, batch = s.shape[0], shape[0]
        padded = self._padded(shape)
        below: Tensor = torch.ops.aten.convolution_backward(
            s.flatten(0, 1),
            s.new_empty(maps * batch, *padded[1:]),
            w,
            None,
            self.stride,
            self.padding,
            self.dilation,
            self.transposed,
            self.output_padding,
            self.groups,
            [True, False, False],
        )[0]
        if self.extra:
            below = F.pad(below, [-p for p in self.extra])
        return below.view(maps, *shape)

    def _padded(self, shape: torch.Size) -> list[int]:
        added = list(self.extra[1::2])[::-1] if self.extra else [0] * (len(shape) - 2)
        return [*shape[:2], *(n + a for n, a in zip(shape[2:], added, strict=True))]

    def scale(self, w: Tensor, factor: Tensor) -> Tensor:
        """The weights with each output channel scaled."""
        if not self.transposed:
            return w * factor.view(-1, *[1] * (w.ndim - 1))
        # (in, out / groups, ...): the inputs of group g make the outputs of group g
        grouped = w.view(self.groups, -1, *w.shape[1:]) * factor.view(self.groups, 1, -1, *[1] * (w.ndim - 2))
        return grouped.flatten(0, 1)

    def channels(self, ndim: int) -> tuple[int, ...]:
        """The shape in which a number per output channel is broadcast to the output."""
        return (-1, *[1] * (ndim - 2))

    def area(self, w: Tensor) -> int:
        """The number of inputs of an output that no padding touches."""
        inputs = w.shape[0] // self.groups if self.transposed else w.shape[1]
        return int(inputs * math.prod(w.shape[2:]))

    # The flat rule: all channels of a group are alike, so one channel each is enough.

    def count(self, x: Tensor, w: Tensor, real: Tensor | None = None) -> Tensor:
        """The number of real inputs of each output, (1, 1, ...), or as many as `real` tells apart."""
        if real is not None and real.shape[1] > 1:
            return self.forward(real.to(x.dtype).expand(x.shape), torch.ones_like(w)).round_()
        per_position = w.shape[0] // self.groups if self.transposed else w.shape[1]
        shown = x.new_ones(()) if real is None else real.to(x.dtype)
        shown = shown.expand(shown.shape[0] if shown.ndim else 1, 1, *x.shape[2:])
        return self._one_channel().forward(shown, w.new_ones(1, 1, *w.shape[2:])).round_() * per_position

    def spread(self, R: Tensor, d: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """sum_j R_j / d_j over the outputs that each input is connected with; (T, *x.shape)."""
        maps, batch, groups = R.shape[0], x.shape[0], self.groups
        alike = d.shape[:2] == (1, 1)  # else constants among the inputs tell pictures or channels apart
        s = R if alike else divide(R, d)
        per_group = s.reshape(maps, batch * groups, 1, -1, *R.shape[3:]).sum(3)  # (T, N groups, 1, ...)
        per_group = divide(per_group, d) if alike else per_group
        shape = torch.Size([batch * groups, 1, *x.shape[2:]])
        below = self._one_channel().backward(per_group, w.new_ones(1, 1, *w.shape[2:]), shape)
        below = below.view(maps, batch, groups, 1, *x.shape[2:])
        return below.expand(-1, -1, -1, x.shape[1] // groups, *x.shape[2:]).reshape(maps, *x.shape)

    def _one_channel(self) -> Conv:
        return Conv(self.stride, self.padding, self.dilation, self.transposed, self.output_padding, 1, self.extra)


def convolution_of(node: Node) -> Conv:
    """The convolution that a call makes, with settings as torch takes them."""
    weight: Tensor = node.argument("weight", 1)
    axes = weight.ndim - 2

    stride = per_axis(node.argument("stride", 3, 1), axes)
    if "transpose" in node.op.name:
        padding, output_padding = (
            per_axis(node.argument(n, p, 0), axes) for n, p in (("padding", 4), ("output_padding", 5))
        )
        groups, dilation = node.argument("groups", 6, 1), per_axis(node.argument("dilation", 7, 1), axes)
        return Conv(stride, padding, dilation, True, output_padding, groups)
    padding, dilation = node.argument("padding", 4, 0), per_axis(node.argument("dilation", 5, 1), axes)
    groups, extra = node.argument("groups", 6, 1), tuple[int, ...]()
    if isinstance(padding, str):
        total = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, weight.shape[2:], strict=True)]
        padding = [t // 2 for t in total]
        if any(t % 2 for t in total):
            extra = tuple(n for t in reversed(total) for n in (0, t % 2))
    return Conv(stride, per_axis(padding, axes), dilation, False, [0] * axes, groups, extra)
