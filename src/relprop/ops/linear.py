"""Linear and convolution layers: how numbers go forward with given weights and how relevance comes back with them.

Everything that a rule asks for is made of these two (see `ops.layer`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from relprop.ops.layer import LinearOp, in_parts
from relprop.ops.table import Op, register, spellings
from relprop.rules.division import divide
from relprop.rules.layer import Rule, Share
from relprop.rules.lrp import Pass
from relprop.support.errors import RuleError
from relprop.tape.tape import Slot, per_axis

if TYPE_CHECKING:
    from relprop.ops.context import Context
    from relprop.tape.tape import Node


class Linear:
    """z = x w^T on the last axis: w is (out, in)."""

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        """sum_i x_i w_ij + b_j."""
        return F.linear(x, w, b)

    def backward(self, s: Tensor, w: Tensor, shape: torch.Size) -> Tensor:
        """sum_j w_ij s_j, for s with an axis of maps in front; (T, *shape)."""
        return (s @ w).view(s.shape[0], *shape)

    def scale(self, w: Tensor, factor: Tensor) -> Tensor:
        """The weights with each output scaled, (out,)."""
        return w * factor[:, None]

    def channels(self, ndim: int) -> tuple[int, ...]:
        """The shape in which a number per output is broadcast to the output."""
        del ndim
        return (-1,)


@dataclass(frozen=True)
class Product:
    """Matrix products with a constant: x w (w on the right) or w x (on the left)."""

    right: bool

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        """sum_i x_i w_ij + b_j."""
        z = x @ w if self.right else w @ x
        return z if b is None else z.add_(b)

    def backward(self, s: Tensor, w: Tensor, shape: torch.Size) -> Tensor:
        """sum_j w_ij s_j; (T, *shape)."""
        out = s @ w.mT if self.right else w.mT @ s
        return out.view(s.shape[0], *shape)


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

    def count(self, x: Tensor, w: Tensor) -> Tensor:
        """The number of real inputs of each output, (1, 1, ...)."""
        per_position = w.shape[0] // self.groups if self.transposed else w.shape[1]
        one = self._one_channel()
        area = one.forward(x.new_ones(1, 1, *x.shape[2:]), w.new_ones(1, 1, *w.shape[2:]))
        return area * per_position

    def spread(self, R: Tensor, d: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """sum_j R_j / d_j over the outputs that each input is connected with; (T, *x.shape)."""
        maps, batch, groups = R.shape[0], x.shape[0], self.groups
        per_group = R.reshape(maps, batch * groups, 1, -1, *R.shape[3:]).sum(3)  # (T, N groups, 1, ...)
        shape = torch.Size([batch * groups, 1, *x.shape[2:]])
        below = self._one_channel().backward(divide(per_group, d), w.new_ones(1, 1, *w.shape[2:]), shape)
        below = below.view(maps, batch, groups, 1, *x.shape[2:])
        return below.expand(-1, -1, -1, x.shape[1] // groups, *x.shape[2:]).reshape(maps, *x.shape)

    def _one_channel(self) -> Conv:
        return Conv(self.stride, self.padding, self.dilation, self.transposed, self.output_padding, 1, self.extra)


# -- from a recorded call to a layer -----------------------------------------------------------------


def passed(node: Node, R: list[Tensor]) -> Share:
    """Relevance as it came, where the shapes allow it."""
    x, z = node.inputs[0].shape, node.outputs[0].shape
    if x != z:
        raise RuleError(
            f"Pass on {node.where}: input {tuple(x)} and output {tuple(z)} differ in shape, so relevance cannot be "
            f"handed down unchanged; give this op another rule"
        )
    return Share((R[0],))


def weighted(node: Node, rule: Rule, R: list[Tensor], context: Context) -> Share:
    """Hand relevance through a weighted op by its rule."""
    if isinstance(rule, Pass):
        return passed(node, R)
    (upper,) = R
    if not unbatched(node):
        return in_parts(_layer_here(node, context), rule, upper)
    share = rule.share(_layer_here(node, context), upper.unsqueeze(1))
    share.relevance = tuple(r if r is None else r.squeeze(1) for r in share.relevance)
    return share


def _layer_here(node: Node, context: Context) -> LinearOp:
    """The op as the rules see it, made once however many rules work here."""
    layer: LinearOp = context.once("layer", lambda: _layer(node, context))
    layer.context = context
    return layer


def _layer(node: Node, context: Context) -> LinearOp:
    """The op as the rules see it; a convolution of one picture without an axis of pictures gets one."""
    value, single = node.inputs[0], unbatched(node)
    out = node.outputs[0] if node.merged is None else node.merged[2]
    kind, w, b = layer_of(node)
    x, held = context.data(value), context.data(out)
    whole_rows = context.first_axis(value) and context.first_axis(out)
    layer = LinearOp(
        x=x.unsqueeze(0) if single else x,
        held=held.unsqueeze(0) if single else held,
        w=w.detach().to(context.dtype),
        b=None if b is None else b.detach().to(context.dtype),
        kind=kind,
        nonneg=value.nonneg,
        context=context,
        rows=context.rows(out),
        total=lambda R: context.total(R.squeeze(1) if single else R, out),
        rectified=out.rectified,
        rounded=torch.promote_types(out.data.dtype, context.dtype) != out.data.dtype,
        per_picture=not single and whole_rows and (b is None or b.ndim < 2),  # addmm may add to each picture its own
    )
    _merge(node, layer)
    return layer


def _merge(node: Node, layer: LinearOp) -> None:
    """See a BatchNorm that follows as part of the layer: the weights are changed here, not in the model."""
    ndim = layer.held.ndim
    if node.merged is None:
        if layer.b is not None and node.kind == "conv":
            layer.b = layer.b.view(layer.kind.channels(ndim))
        return
    scale, shift, _ = node.merged
    layer.w = layer.kind.scale(layer.w, scale.to(layer.w.dtype))
    bias = shift.to(layer.w.dtype) + (0.0 if layer.b is None else layer.b * scale.to(layer.w.dtype))
    layer.b = bias.view(layer.kind.channels(ndim))


def unbatched(node: Node) -> bool:
    """Whether a convolution was called on a single picture without an axis of pictures."""
    return node.kind == "conv" and len(node.inputs[0].shape) == weight_of(node).ndim - 1


def weight_of(node: Node) -> Tensor:
    """The weight of a weighted op."""
    weight: Tensor = layer_of(node)[1] if node.kind == "linear" else node.argument("weight", 1)
    return weight


def layer_of(node: Node) -> tuple[Any, Tensor, Tensor | None]:
    """Kind, weight and bias of a weighted op."""
    name = node.op.name
    if name == "linear":
        return Linear(), node.argument("weight", 1), node.argument("bias", 2)
    if name == "addmm":
        return Product(right=True), node.argument("mat2", 2), node.argument("input", 0)
    if node.kind == "linear":
        first, second = node.argument("input", 0), node.argument("mat2" if "mat2" in node.kwargs else "other", 1)
        right = isinstance(first, Slot)
        return Product(right), second if right else first, None
    return _conv(node), node.argument("weight", 1), node.argument("bias", 2)


def _conv(node: Node) -> Conv:
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


def covers_its_input(node: Node) -> bool:
    """Whether a convolution's kernel covers its whole input, which makes it fully connected."""
    if node.kind != "conv" or "transpose" in node.op.name:
        return False
    kernel, size = weight_of(node).shape[2:], node.inputs[0].shape[-(weight_of(node).ndim - 2) :]
    conv = _conv(node)
    return tuple(kernel) == tuple(size) and not any(conv.padding) and not conv.extra


def pointwise(node: Node) -> bool:
    """Whether the op is a 1x1 convolution."""
    return node.kind == "conv" and all(k == 1 for k in weight_of(node).shape[2:])


def _constant_weight(node: Node) -> str | None:
    if len(node.inputs) > 1:
        return "its weight depends on the input; rules are defined for constant weights"
    if not isinstance(node.argument("input", 0), Slot):
        return "its weight depends on the input; rules are defined for constant weights"
    if node.kind == "linear" and node.argument("weight", 1).ndim != 2:
        return "its weight is a vector; give it an axis of outputs, weight[None]"
    return None


def _constant_matrix(node: Node) -> str | None:
    if len(node.inputs) > 1:
        return (
            "a product of two matrices that both depend on the input, as attention has it, is not supported "
            "yet; explain a model without it"
        )
    name = node.op.name
    matrix = layer_of(node)[1]
    if not isinstance(matrix, Tensor) or matrix.ndim != 2:
        return "the constant side of a matrix product must be a matrix; use torch.nn.functional.linear"
    plain = not {"beta", "alpha"} & set(node.kwargs) and len(node.args) <= 3
    if name == "addmm" and not (plain and isinstance(node.argument("mat1", 1), Slot)):
        return "addmm is understood as addmm(bias, x, w) alone; use torch.nn.functional.linear"
    right = layer_of(node)[0].right
    if node.inputs[0].data.ndim < 2 and not right:
        return "a matrix times a vector of the input; use torch.nn.functional.linear"
    return None


for _name in ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"):
    register(Op(_name, "conv", weighted, samples="image", refuse=_constant_weight), *spellings(_name))
register(Op("linear", "linear", weighted, samples="last", refuse=_constant_weight), *spellings("linear"))
register(
    Op("matmul", "linear", weighted, samples="matrix", refuse=_constant_matrix),
    *spellings("matmul", "__matmul__", "mm"),
)
register(Op("addmm", "linear", weighted, samples="last", refuse=_constant_matrix), *spellings("addmm"))
