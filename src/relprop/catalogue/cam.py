"""Class activation maps: CAM and Grad-CAM, coarse maps of the last feature maps, enlarged to the picture.

What the feature maps are is read off the engine's record of the forward pass, so both work on functional code
as well. The rest of the network, from there to the logits, is run again from the record.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from relprop.catalogue.gradients import captum, differentiable
from relprop.record.acceptance import Model
from relprop.record.prepare import recorded
from relprop.support.errors import InputError
from relprop.support.suggest import did_you_mean
from relprop.tape.tape import Node, Tape, Value
from relprop.tape.trees import float_tensors

MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
"""How a coarse map is enlarged, by its number of axes."""


def cam(model: Model, x: Tensor, target: Tensor) -> Tensor:
    """Class activation map: the last feature maps, each weighted by what its average is worth to the logit.

    Zhou et al. (2016). Summed over the channels it is the map of `coarse_cam` enlarged bilinearly and divided by
    the number of pixels to a cell. The sum is therefore logit - bias again, exactly where height and width
    are multiples of the feature maps'.

    Args:
        model: a network that ends in global average pooling with nothing but linear layers after it, or
            whose logits are the averages of a map per class (SqueezeNet).
        x: pictures, (B, C, H, W), or with one or three axes of space.
        target: (B,) class indices.

    Returns:
        x's shape: the map, divided evenly among the channels.

    Raises:
        UnsupportedOp: if the model cannot be recorded.
        InputError: if the network ends otherwise; it says how, and what to use instead.
    """
    coarse = coarse_cam(model, x, target)
    return enlarged(coarse, x) * (math.prod(coarse.shape[2:]) / math.prod(x.shape[2:]))


def coarse_cam(model: Model, x: Tensor, target: Tensor) -> Tensor:
    """M_c(h, w) = sum_k w_ck f_k(h, w) / (h w), whose sum over space is the logit less the bias.

    Arguments and errors as for `cam`.

    Returns:
        (B, 1, h, w), of the feature maps' size.
    """
    tape = recorded(model, x)
    features = averaged_maps(tape, x.ndim)
    with differentiable(features.data) as leaf:
        logits = rest(tape, features)(leaf)
        (slope,) = torch.autograd.grad(logits.gather(1, target.view(-1, 1)).sum(), leaf)
    return (slope * leaf.detach()).sum(1, keepdim=True)


def grad_cam(model: Model, x: Tensor, target: Tensor, *, layer: str | None = None) -> Tensor:
    """Grad-CAM: the positive part of feature maps, each weighted by the mean gradient of the logit by it.

    Selvaraju et al. (2017), by Captum's LayerGradCam. Summed over the channels it is that map, enlarged
    bilinearly.

    Args:
        model: as for `relprop.attribute`.
        x: pictures, (B, C, H, W), or with one or three axes of space.
        target: (B,) class indices.
        layer: path of the module whose output is weighted, as in "features.28"; None: the last convolution
            before the fully connected layers. Where that is on one of several branches (residual networks,
            Inception, SqueezeNet), what the branches are joined to: the sum or concatenation.

    Returns:
        x's shape: the map, divided evenly among the channels; never negative.

    Raises:
        UnsupportedOp: if the model cannot be recorded.
        InputError: if there is no such layer, or its output is no feature maps.
    """
    tape = recorded(model, x)
    value = last_maps(tape, x.ndim) if layer is None else output_of(layer, tape.nodes, x.ndim)
    tail, probe = rest(tape, value), nn.Identity()
    with differentiable(value.data) as leaf:
        coarse: Tensor = (
            captum()
            .LayerGradCam(lambda maps: tail(probe(maps)), probe)
            .attribute(leaf, target=target, relu_attributions=True)
        )
    return enlarged(coarse.detach(), x)


def enlarged(coarse: Tensor, x: Tensor) -> Tensor:
    """A map (B, 1, h, w) at the size of x, divided evenly among x's channels; x's shape."""
    fine = F.interpolate(coarse, x.shape[2:], mode=MODES[x.ndim - 2], align_corners=False)
    return (fine / x.shape[1]).expand(x.shape).contiguous()


def rest(tape: Tape, value: Value) -> Callable[[Tensor], Tensor]:
    """The rest of a recorded network: from a tensor in the place of one of its values to its output."""
    reached = {value}
    after: list[Node] = []
    for node in tape.nodes:
        if not reached.isdisjoint(node.inputs) and value not in node.outputs:
            after.append(node)
            reached.update(node.outputs)

    def run(tensor: Tensor) -> Tensor:
        held = {value: tensor}
        for node in after:
            results = float_tensors(node.call([held.get(v, v.data) for v in node.inputs]))
            held.update(zip(node.outputs, results, strict=True))
        return held[tape.output]

    return run


# -- where the feature maps are ----------------------------------------------------------------------


def averaged_maps(tape: Tape, ndim: int) -> Value:
    """The feature maps that a network averages over all of space before its last, linear layers.

    Raises:
        InputError: if it does not end so.
    """
    found: Value | None = None
    averaged = False
    node = tape.output.source
    while node is not None and _affine(node):
        (before,) = node.inputs
        averaged = averaged or node.kind == "avg_pool"
        if averaged and before.data.ndim == ndim:
            found, averaged = before, False
        node = before.source
    if found is None or not _single(found, tape.output):
        ends = " -> ".join(step.where for step in _end(tape))
        raise InputError(
            f"cam needs a network that ends in global average pooling with nothing but linear layers after it, and "
            f"this one ends in {ends}; use 'grad-cam', or 'cmp-alpha1-flat:layers=stack', which is like it (Fig. 1g)"
        )
    return found


def _affine(node: Node) -> bool:
    """Whether a node hands every number on, or adds up numbers with fixed weights, and perhaps a constant."""
    if len(node.inputs) != 1 or node.op.loses or node.op.name == "interpolate":
        return False
    if node.kind == "conv":  # where nothing is left of space it is a linear layer
        return math.prod(node.inputs[0].shape[2:]) == 1
    return node.kind in ("move", "linear", "avg_pool", "add", "product") or node.op.name == "batch_norm"


def _single(maps: Value, output: Value) -> bool:
    """Whether one number of each map is left after the last average on the way to the output."""
    node = output.source
    while node is not None and node.kind != "avg_pool":
        node = node.inputs[0].source
    return node is not None and node.outputs[0].data.numel() == maps.shape[0] * maps.shape[1]


def _end(tape: Tape, most: int = 6) -> list[Node]:
    """The last ops, up to the one that is no linear step, in order of execution."""
    found: list[Node] = []
    node = tape.output.source
    while node is not None and len(found) < most:
        found.append(node)
        if not _affine(node):
            break
        node = node.inputs[0].source
    return found[::-1]


def last_maps(tape: Tape, ndim: int) -> Value:
    """The output of the last convolution before the fully connected ops, or what its branch is joined to.

    Raises:
        InputError: if there is no convolution.
    """
    conv = next(
        (n for n in reversed(tape.nodes) if n.kind == "conv" and not n.head and n.outputs[0].data.ndim == ndim), None
    )
    if conv is None:
        raise InputError(
            f"grad-cam: the network has no convolution before its fully connected layers whose output has "
            f"{ndim} axes; name a layer, as in 'grad-cam:layer=PATH'{_choice(tape.nodes, ndim)}"
        )
    for node in tape.nodes[tape.nodes.index(conv) :]:
        if everything_passes(node.outputs[0], tape):
            if node.outputs[0].data.ndim == ndim:
                return node.outputs[0]
            break
    raise InputError(
        f"grad-cam: the last convolution, {conv.where}, is on one of several branches that are joined where no "
        f"feature maps are left; name a layer, as in 'grad-cam:layer=PATH'{_choice(tape.nodes, ndim)}"
    )


def everything_passes(value: Value, tape: Tape) -> bool:
    """Whether every way from the input to the output leads through a value."""
    wanted = {tape.output} - {value}
    for node in reversed(tape.nodes):
        if not wanted.isdisjoint(node.outputs):
            wanted.update(v for v in node.inputs if v is not value)
    return tape.input not in wanted


def output_of(layer: str, nodes: Sequence[Node], ndim: int) -> Value:
    """The output of the module at a path.

    Raises:
        InputError: if there is no such module, or its output is no feature maps.
    """
    inside = [node for node in nodes if node.path == layer or node.path.startswith(f"{layer}.")]
    if not inside:
        raise InputError(f"grad-cam: no layer {layer!r} on the way to the logits{did_you_mean(layer, _paths(nodes))}")
    (value, *_) = inside[-1].outputs
    if value.data.ndim != ndim:
        raise InputError(
            f"grad-cam: layer {layer!r} gives {tuple(value.shape)}, which are no feature maps of pictures with "
            f"{ndim} axes; name one before it{_choice(nodes, ndim)}"
        )
    return value


def _paths(nodes: Sequence[Node]) -> list[str]:
    """Every module that a node stands in."""
    parts = [node.path.split(".") for node in nodes if node.path]
    return list(dict.fromkeys(".".join(words[:k]) for words in parts for k in range(1, len(words) + 1)))


def _choice(nodes: Sequence[Node], ndim: int) -> str:
    """The last module that gives feature maps, as a suggestion."""
    for node in reversed(nodes):
        if node.path and node.outputs[0].data.ndim == ndim and math.prod(node.outputs[0].shape[2:]) > 1:
            return f" ({node.path!r}, say)"
    return ""
