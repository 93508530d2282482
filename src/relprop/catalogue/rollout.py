"""Attention rollout: how the tokens of the last layer attend, through all layers, to those that went in.

Source: Abnar and Zuidema, "Quantifying Attention Flow in Transformers" (2020).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from relprop.ops.attention_call import AttentionCall
from relprop.record.acceptance import Model
from relprop.record.inputs import inputs_of
from relprop.record.logits import logits_of
from relprop.record.recorder import record
from relprop.rules.layer import Kind
from relprop.support.errors import InputError
from relprop.tape.tape import Node, Value
from relprop.tape.visit import Conventions, Visit


def rollout(model: Model, x: Tensor, target: Tensor, *, position: int | str | None = None) -> Tensor:
    """The product of all layers' weights, each the mean over heads, half of it and half of the skip connection.

    It knows of no class and no sign: it is the same for every target, and never negative. Each row adds up to 1.

    Args:
        model: as for `relprop.attribute`; every layer must attend to the same tokens.
        x: pictures (B, C, H, W), or the rows of tokens (B, L, D), as they are looked up for token ids.
        target: does not matter.
        position: whose row is taken: a token's place, or "mean" over all tokens. None: the first token (CLS); where no
            token sees those behind it the last one; for pictures without a token beside the patches the mean.

    Returns:
        x's shape: what a token gets is spread evenly over its row, what a patch gets over its pixels and channels. What
        goes to tokens that are no patches (CLS, registers) has no pixels, and is left out.

    Raises:
        InputError: the model does not attend, or not to the tokens of x.
    """
    del target
    tape = record(model, inputs_of(x), lambda returned, _: [logits_of(returned)])
    dtype = torch.promote_types(x.dtype, torch.float32)
    layers = [_mean_of_heads(weights, len(x)) for weights in _weights(tape.nodes, dtype)]
    if not layers:
        raise InputError(
            "attention-rollout needs a model that attends, and this one calls no attention: no softmax weighs what a "
            "matrix product adds up; use gradient-x-input or an LRP method"
        )
    if len({layer.shape for layer in layers}) > 1:
        shown = ", ".join(dict.fromkeys(f"{layer.shape[1]} x {layer.shape[2]}" for layer in layers))
        raise InputError(
            f"attention-rollout multiplies the layers' weights, which differ in their tokens here: {shown}"
        )
    tokens = layers[0].shape[1]
    flow = torch.eye(tokens, dtype=dtype, device=x.device).expand(len(x), -1, -1)
    for layer in layers:
        step = 0.5 * layer + 0.5 * torch.eye(tokens, dtype=dtype, device=x.device)
        flow = step / step.sum(-1, keepdim=True) @ flow
    causal = all(bool((layer.triu(1) == 0).all()) for layer in layers) and tokens > 1
    if x.ndim == 3:
        if tokens != x.shape[1]:
            raise InputError(
                f"the model attends to {tokens} tokens, and x has {x.shape[1]}: attention-rollout needs all"
            )
        row = _row(flow, position, -1 if causal else 0)
        return (row[..., None] / x.shape[2]).expand(x.shape).to(x.dtype)
    height, width = _grid(tape.nodes, tokens)
    row = _row(flow, position, 0 if tokens > height * width else "mean")
    return _on_pixels(row[:, tokens - height * width :].unflatten(1, (height, width)), x)


def _weights(nodes: Sequence[Node], dtype: torch.dtype) -> list[Tensor]:
    """The weights (..., L, S) of every call of attention, in their order."""
    found = []
    for node in nodes:
        if node.kind == Kind.ATTENTION:
            call = AttentionCall.of(node, Visit(Conventions(dtype)))
            every = slice(None)
            found.append(call.weights(call.scores(every), every))
        elif node.kind == Kind.BILINEAR:
            behind = [softmax for softmax in map(_softmax_behind, node.inputs) if softmax is not None]
            found += [softmax.outputs[0].data.to(dtype) for softmax in behind]
    return found


def _softmax_behind(value: Value) -> Node | None:
    """The softmax over the last axis whose numbers these are, moved or cast at most."""
    node = value.source
    while node is not None and node.kind == Kind.MOVE and len(node.inputs) == 1:
        node = node.inputs[0].source
    if node is None or node.kind != Kind.SOFTMAX:
        return None
    return node if node.argument("dim", 1) in (-1, len(node.outputs[0].shape) - 1) else None


def _mean_of_heads(weights: Tensor, batch: int) -> Tensor:
    """(B, L, L), of weights (B, heads, L, L), (B, L, L) or (B x heads, L, L)."""
    *before, queries, keys = weights.shape
    of_pictures = len(before) in (1, 2) and (before[0] == batch or (len(before) == 1 and before[0] % batch == 0))
    if not of_pictures or queries != keys:
        raise InputError(
            f"attention-rollout needs all tokens to attend to all, and here weights are {tuple(weights.shape)} for "
            f"{batch} pictures or texts: windows, or other tokens (cross-attention, a cache); use an LRP method"
        )
    return weights.reshape(batch, -1, queries, keys).mean(1)


def _row(flow: Tensor, position: int | str | None, usual: int | str) -> Tensor:
    """What the explained position gets from each token, (B, L)."""
    at = usual if position is None else position
    if isinstance(at, str):
        return flow.mean(1)
    if not -flow.shape[1] <= at < flow.shape[1]:
        raise InputError(f"position={at}: there are {flow.shape[1]} tokens")
    return flow[:, at]


def _grid(nodes: Sequence[Node], tokens: int) -> tuple[int, int]:
    """Rows and columns of patches, as the convolution that cuts them says."""
    for node in nodes:
        shape = node.outputs[0].shape if node.kind == Kind.CONV and node.outputs else ()
        if len(shape) == 4 and shape[2] * shape[3] <= tokens < shape[2] * shape[3] + FEW:
            return shape[2], shape[3]
    raise InputError(
        f"attention-rollout finds no convolution that cuts the picture into the {tokens} tokens of attention, so it is "
        f"not known which pixels are theirs; use an LRP method"
    )


FEW = 17
"""So many tokens, and more, are not CLS and registers."""


def _on_pixels(patches: Tensor, x: Tensor) -> Tensor:
    """(B, h, w) spread over pixels and channels, x's shape; each pixel belongs to one patch."""
    height, width = x.shape[2:]
    down, across = (
        torch.arange(size, device=x.device) * number // size
        for size, number in zip((height, width), patches.shape[1:], strict=True)
    )
    pixels = down.bincount(minlength=patches.shape[1])[:, None] * across.bincount(minlength=patches.shape[2])
    each = patches / (pixels * x.shape[1])
    return each[:, down][:, :, across][:, None].expand(x.shape).to(x.dtype)
