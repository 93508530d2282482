"""Logits of a few tokens at a few places, in the place of all: relevance (T, B, L, V) is never held.

Where relevance starts at single logits of a text, all the others get none. The layer that made them is seen as one of a
few rows, x of those places and w of those tokens, which is the same layer with less of nothing in it.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from relprop.ops.table import TABLE
from relprop.rules.layer import Kind
from relprop.tape.constants import Constant
from relprop.tape.owners import in_order
from relprop.tape.tape import Node, Slot, Tape, Value
from relprop.tape.torch_internals import version
from relprop.tape.trees import tensors_of


def narrowed(tape: Tape, logits: Value, positions: Tensor, tokens: Tensor) -> Value | None:
    """Let an output of the tape be these logits alone.

    Args:
        tape: ready to be walked; the new nodes become its last.
        logits: one of its outputs, (B, L, V).
        positions: (B, P) places.
        tokens: (N,) ids.

    Returns:
        The logits (B, P, N); None where it is no linear layer that made them, or where somebody looks at what it gives,
        which leaves the tape as it was.
    """
    found = _linear_below(logits)
    if found is None:
        return None
    linear, chain = found
    if {value for node in (linear, *chain) for value in node.outputs} & {*tape.places.values()}:
        return None
    rows = torch.arange(len(positions), device=positions.device)[:, None]
    x = linear.inputs[0]
    picking = torch.Tensor.__getitem__
    picked = Node(len(tape.nodes), TABLE[picking], picking, linear.path, (Slot(0), (rows, positions)), {}, (x,))
    nodes = [_giving(picked, x.data[rows, positions], x)]
    z = linear.outputs[0]
    narrow = replace(_with_rows(linear, tokens), inputs=nodes[-1].outputs)
    nodes.append(_giving(narrow, z.data[rows, positions][..., tokens], z))
    for node in chain:
        y = node.outputs[0]
        again = replace(node, inputs=nodes[-1].outputs)
        nodes.append(_giving(again, y.data[rows, positions][..., tokens], y))
    last = nodes[-1].outputs[0]
    tape.nodes += nodes
    tape.outputs = tuple(last if value is logits else value for value in tape.outputs)
    tape.nodes = tape.path_to_output()
    return last


def _linear_below(logits: Value) -> tuple[Node, list[Node]] | None:
    """The linear layer that made logits, and what was done to each number alone after it."""
    chain: list[Node] = []
    value = logits
    while (node := value.source) is not None and len(node.outputs) == 1 and not node.inplace:
        if node.op.name == "linear" and _of_tokens(node.inputs[0]):
            return node, chain[::-1]
        if not _of_each_number(node):
            return None
        chain.append(node)
        value = node.inputs[0]
    return None


def _of_tokens(x: Value) -> bool:
    return len(x.shape) == 3 and x.owners.first_axis_of(x.shape)


def _of_each_number(node: Node) -> bool:
    """Whether a call works on each number alone, with the same constants."""
    if len(node.inputs) != 1 or node.inputs[0].shape != node.outputs[0].shape:
        return False
    alike = all(t.numel() == 1 for t in tensors_of((node.args, node.kwargs)))
    known = node.kind in (Kind.ACTIVATION, Kind.PRODUCT) or node.op.name in ("to", "contiguous", "dropout")
    return known and alike and node.op.name != "prelu"


def _with_rows(linear: Node, tokens: Tensor) -> Node:
    """A linear layer of some of its outputs."""
    weight, bias = linear.argument("weight", 1), linear.argument("bias", 2)
    some = (weight.detach()[tokens], None if bias is None else bias.detach()[tokens])
    return replace(linear, args=(Slot(0), *some), kwargs={}, constants=tuple(map(Constant.of, tensors_of(some))))


def _giving(node: Node, data: Tensor, like: Value) -> Node:
    """A node that gives these numbers, of whose whole the engine knows what it knew of another value."""
    value = Value(data, version(data), in_order(len(data), data.ndim), like.low, like.high)
    value.after_weighted, value.source = like.after_weighted, node
    node.outputs = (value,)
    node.reached = True
    return node
