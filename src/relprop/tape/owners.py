"""Which picture of the batch each position of a tensor belongs to.

Inside a model the batch is not always axis 0 (patches folded into the batch, sequence-first layouts), so
every recorded value carries a small integer map `samples`, of size 1 along each axis that does not matter:
(B, 1, 1, 1) for the usual (B, C, H, W). The ledger sums by it, and an op that mixes pictures is found.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch

from relprop.rules.division import sums_in
from relprop.tape.tape import Slot
from relprop.tape.trees import float_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from relprop.tape.tape import Node

KEEPS_AXIS_0 = frozenset(
    "flatten view reshape unflatten contiguous clone pad pixel_shuffle pixel_unshuffle channel_shuffle "
    "where masked_fill setitem index_copy unfold tril triu copy".split()
)
"""Ops on batch-first tensors that leave the first axis alone whenever its size stays the same."""

JOINING = frozenset("cat concat concatenate stack hstack vstack".split())
"""Ops that put numbers of constants beside those of the values."""


class MixesPictures(Exception):  # noqa: N818  (caught by the recorder, never seen outside)
    """The op puts numbers of several pictures together."""


@lru_cache(maxsize=256)
def nobody(ndim: int) -> Tensor:
    """The map of a tensor of a single picture."""
    return torch.zeros([1] * ndim, dtype=torch.long, device="cpu")


@lru_cache(maxsize=256)
def batch_first(batch: int, ndim: int) -> Tensor:
    """The map of a tensor whose first axis is the batch."""
    return torch.arange(batch, device="cpu").view(batch, *[1] * (ndim - 1))


def is_batch_first(samples: Tensor, batch: int) -> bool:
    """Whether the first axis is the batch, in its own order."""
    return bool(
        samples.ndim
        and samples.numel() == samples.shape[0] == batch
        and (samples is (usual := batch_first(batch, samples.ndim)) or torch.equal(samples, usual))
    )


def total(R: Tensor, samples: Tensor, batch: int) -> Tensor:
    """Sum relevance (T, *shape) per map and picture, (T, B), in at least float32."""
    dtype = sums_in(R.dtype)
    if batch == 1:
        return R.reshape(len(R), -1).sum(1, keepdim=True, dtype=dtype)
    if is_batch_first(samples, batch):
        return R.flatten(2).sum(2, dtype=dtype) if R.ndim > 2 else R.to(dtype, copy=True)  # R may be overwritten
    idle = [axis + 1 for axis, size in enumerate(samples.shape) if size == 1]
    R = R.sum(idle, keepdim=True, dtype=dtype) if idle else R.to(dtype)
    owners = samples.to(R.device).flatten()
    return R.new_zeros(R.shape[0], batch).index_add_(1, owners, R.reshape(len(R), -1))


def through(node: Node, results: list[Tensor], batch: int) -> list[Tensor]:
    """The maps of the results of a node.

    Raises:
        MixesPictures: if positions of a result depend on more than one picture.
    """
    if batch == 1:
        return [nobody(result.ndim) for result in results]
    maps = [value.samples for value in node.inputs]
    how = node.op.samples
    if how == "moved":
        return _moved(node, results, batch)
    if how == "reduced":
        return [_reduced(node, maps[0], result) for result in results]
    if how == "broadcast":
        return [_broadcast(maps, result) for result in results]
    if any(maps[0].shape[axis] > 1 for axis in _mixed_axes(node, how, maps[0].ndim)):
        raise MixesPictures
    return maps[:1] * len(results)


def _mixed_axes(node: Node, how: str, ndim: int) -> range:
    """The axes along which an op puts positions together: a linear op the last, one on images all but the first."""
    if how == "same":
        return range(0)
    if how == "image":  # a convolution of one picture without an axis of pictures mixes the channels in front
        return range(int(node.kind != "conv" or node.argument("weight", 1).ndim == ndim), ndim)
    left = how == "matrix" and not isinstance(node.argument("input", 0), Slot)
    return range(ndim - 2, ndim - 1) if left else range(ndim - 1, ndim)


def _broadcast(maps: list[Tensor], result: Tensor) -> Tensor:
    maps = [m.view(*[1] * (result.ndim - m.ndim), *m.shape) for m in maps]
    shape = torch.broadcast_shapes(*(m.shape for m in maps))
    first, *others = (m.expand(shape) for m in maps)
    if any(not torch.equal(first, other) for other in others):
        raise MixesPictures
    return first


def _reduced(node: Node, samples: Tensor, result: Tensor) -> Tensor:
    """A sum or mean over axes."""
    axes: Any = node.argument("dim", 1)
    axes = range(samples.ndim) if axes is None or axes == () else axes
    axes = sorted({a % samples.ndim for a in ([axes] if isinstance(axes, int) else axes)}, reverse=True)
    if any(samples.shape[a] > 1 for a in axes):
        raise MixesPictures
    if result.ndim < samples.ndim:
        for a in axes:
            samples = samples.squeeze(a)
    return samples


def _moved(node: Node, results: list[Tensor], batch: int) -> list[Tensor]:
    """An op that only moves numbers moves the numbers of their owners alike."""
    usual = all(is_batch_first(v.samples, batch) for v in node.inputs)
    if usual and _keeps_axis_0(node, results) and all(r.ndim and r.shape[0] == batch for r in results):
        maps = [batch_first(batch, r.ndim) for r in results]
        if not node.op.loses or _confirmed(node, maps):
            return maps
    if node.op.loses or (node.constants and node.op.name in JOINING):
        raise MixesPictures
    moved = float_tensors(node.call(_owners(node), torch.float64))
    return [_compact(m.round().long().cpu()) for m in moved]


def _owners(node: Node) -> list[Tensor]:
    """For each input its map, laid out in memory like the value, so that every view that it allows is allowed here."""
    return [torch.empty_like(v.data, dtype=torch.float64).copy_(v.samples) for v in node.inputs]


def _keeps_axis_0(node: Node, results: list[Tensor]) -> bool:
    if node.op.name in ("cat", "concat", "concatenate", "stack"):
        return node.argument("dim", 1, 0) not in (0, -results[0].ndim)
    return node.op.name in KEEPS_AXIS_0


def _confirmed(node: Node, maps: list[Tensor]) -> bool:
    """Whether all that is not a constant lies where its picture is."""
    numbers = [owner + 1 for owner in _owners(node)]
    once, twice = (float_tensors(node.call([k * n for n in numbers], torch.float64)) for k in (1, 2))
    return all(bool(((a == b) | (a == m.to(a) + 1)).all()) for a, b, m in zip(once, twice, maps, strict=True))


def _compact(samples: Tensor) -> Tensor:
    for axis in range(samples.ndim):
        first = samples.narrow(axis, 0, 1)
        if torch.equal(first.expand_as(samples), samples):
            samples = first
    return samples.clone()
