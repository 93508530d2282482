"""Convolutions, linear layers and matrix products with a constant: from a recorded call to a layer that rules see."""

from __future__ import annotations

import torch
from torch import Tensor

from relprop.ops.convolution import convolution_of
from relprop.ops.layer import LinearOp, layer_of_call
from relprop.ops.linear_map import Linear, NeuronMap, Product
from relprop.ops.parts import in_parts
from relprop.rules.layer import Kind, Rule, Share
from relprop.rules.lrp import Pass
from relprop.support.errors import RuleError
from relprop.tape.tape import Node, Slot
from relprop.tape.visit import Visit


def passed(node: Node, R: list[Tensor]) -> Share:
    """Relevance as it came, where the shapes allow it."""
    x, z = node.inputs[0].shape, node.outputs[0].shape
    if x != z:
        raise RuleError(
            f"Pass on {node.where}: input {tuple(x)} and output {tuple(z)} differ in shape, so relevance cannot be "
            f"handed down unchanged; give this op another rule"
        )
    return Share((R[0],))


def weighted(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """Hand relevance through a weighted op by its rule."""
    if isinstance(rule, Pass):
        return passed(node, R)
    (upper,) = R
    layer: LinearOp = visit.once("layer", lambda: _layer(node, visit))
    layer.visit = visit
    if not unbatched(node):
        return in_parts(layer, rule, upper)
    share = rule.share(layer, upper.unsqueeze(1))
    share.relevance = tuple(r if r is None else r.squeeze(1) for r in share.relevance)
    return share


def _layer(node: Node, visit: Visit) -> LinearOp:
    """The op as the rules see it, a BatchNorm that follows included; the model's own weights are left alone."""
    linear_map, w, b = map_and_weights(node)
    w, b = w.detach().to(visit.dtype), None if b is None else b.detach().to(visit.dtype)
    single = unbatched(node)
    if w.layout is not torch.strided:
        w = w.to_dense()
    one_by_one = not single and (b is None or b.ndim < 2)  # addmm may add to each picture a bias of its own
    one_by_one = one_by_one and (node.kind == Kind.CONV or w.ndim == 2)  # likewise a batch of matrices
    if node.merged is not None:
        scale, shift = node.merged.scale.to(visit.dtype), node.merged.shift.to(visit.dtype)
        w, b = linear_map.scale(w, scale), shift + (0.0 if b is None else b * scale)
    if b is not None and (node.merged is not None or node.kind == Kind.CONV):
        b = b.view(linear_map.channels(len(node.output.shape) + single))
    return layer_of_call(node, visit, linear_map, w, b, unbatched=single, one_by_one=one_by_one)


def unbatched(node: Node) -> bool:
    """Whether a convolution was called on a single picture without an axis of pictures."""
    return node.kind == Kind.CONV and len(node.inputs[0].shape) == weight_of(node).ndim - 1


def weight_of(node: Node) -> Tensor:
    """The weight of a weighted op."""
    weight: Tensor = map_and_weights(node)[1] if node.kind == Kind.LINEAR else node.argument("weight", 1)
    return weight


def map_and_weights(node: Node) -> tuple[NeuronMap, Tensor, Tensor | None]:
    """Linear map, weight and bias of a weighted op."""
    name = node.op.name
    if name == "linear":
        return Linear(), node.argument("weight", 1), node.argument("bias", 2)
    if name == "addmm":
        return Product(right=True), node.argument("mat2", 2), node.argument("input", 0)
    if node.kind == Kind.LINEAR:
        first, second = node.argument("input", 0), node.argument("mat2" if "mat2" in node.kwargs else "other", 1)
        right = isinstance(first, Slot)
        return Product(right), second if right else first, None
    return convolution_of(node), node.argument("weight", 1), node.argument("bias", 2)


def covers_its_input(node: Node) -> bool:
    """Whether a convolution's kernel covers its whole input, which makes it fully connected."""
    if node.kind != Kind.CONV or "transpose" in node.op.name:
        return False
    kernel, size = weight_of(node).shape[2:], node.inputs[0].shape[-(weight_of(node).ndim - 2) :]
    conv = convolution_of(node)
    return tuple(kernel) == tuple(size) and not any(conv.padding) and not conv.extra


def pointwise(node: Node) -> bool:
    """Whether the op is a 1x1 convolution."""
    return node.kind == Kind.CONV and all(k == 1 for k in weight_of(node).shape[2:])


def variable_weight(node: Node) -> str | None:
    """Why a layer's weight is no constant matrix or kernel, or None."""
    if len(node.inputs) > 1 or not isinstance(node.argument("input", 0), Slot):
        product = "x @ weight.T" if node.kind == Kind.LINEAR else "weight.flatten(1) @ F.unfold(x, kernel_size)"
        return (
            "its weight depends on the input; rules are defined for constant weights: write it as a product of "
            f"matrices, {product}"
        )
    if node.kind == Kind.LINEAR and node.argument("weight", 1).ndim != 2:
        return "its weight is a vector; give it an axis of outputs, weight[None]"
    return None


def variable_matrix(node: Node) -> str | None:
    """Why a matrix product is no linear layer, or None."""
    if len(node.inputs) > 1:
        return "a sum and a product of values in one call; write it as c + a @ b"
    name = node.op.name
    matrix = map_and_weights(node)[1]
    if not isinstance(matrix, Tensor) or matrix.ndim < 2 or (matrix.ndim > 2 and matrix.layout is not torch.strided):
        return "the constant side of a matrix product must be a matrix; use torch.nn.functional.linear"
    if matrix.ndim > 2 and not _as_wide(node.inputs[0].shape, matrix.shape):
        return "a constant batch of matrices must not repeat the value; repeat the value first, x.expand(...)"
    plain = not {"beta", "alpha"} & set(node.kwargs) and len(node.args) <= 3
    if name == "addmm" and not (plain and isinstance(node.argument("mat1", 1), Slot)):
        return "addmm is understood as addmm(bias, x, w) alone; use torch.nn.functional.linear"
    if node.inputs[0].data.ndim < 2 and map_and_weights(node)[0] == Product(right=False):
        return "a matrix times a vector of the input; use torch.nn.functional.linear"
    return None


def _as_wide(value: torch.Size, matrix: torch.Size) -> bool:
    """Whether a product leaves the axes in front of the value's matrices as they are."""
    return len(matrix) <= len(value) and all(n in (1, m) for n, m in zip(matrix[-3::-1], value[-3::-1], strict=False))
