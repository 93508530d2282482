"""How the owners of a call's inputs come to its outputs: whose picture each number of a result is."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from relprop.rules.layer import Kind
from relprop.tape.axes import axes_of
from relprop.tape.owners import Owners, in_order, one_owner
from relprop.tape.tape import Node, OwnersGo, Slot
from relprop.tape.trees import float_tensors

KEEPS_AXIS_0 = frozenset(
    "flatten view reshape unflatten contiguous clone pad pixel_shuffle pixel_unshuffle channel_shuffle "
    "where masked_fill setitem index_copy unfold tril triu copy scatter index_put index_fill masked_scatter "
    "put fill select_scatter slice_scatter diagonal_scatter diag_embed max_unpool1d max_unpool2d max_unpool3d".split()
)
"""Ops on batch-first tensors that leave the first axis alone whenever its size stays the same."""

JOINING = frozenset("cat concat concatenate stack hstack vstack".split())
"""Ops that put numbers of constants beside those of the values."""


BY_VALUE = {"sort": (1, -1), "topk": (2, -1)}
"""Moves along an axis whose way depends on the numbers: where that axis stands among the arguments, and its default."""


class MixesPictures(Exception):  # noqa: N818  (caught by the recorder, never seen outside)
    """The op puts numbers of several pictures together."""


def owners_of_results(node: Node, results: list[Tensor], batch: int) -> list[Owners]:
    """The owners of the results of a call.

    Raises:
        MixesPictures: if positions of a result depend on more than one picture.
    """
    if batch == 1:
        return [one_owner(result.ndim) for result in results]
    first, how = node.inputs[0].owners, node.op.owners
    if how is OwnersGo.MOVED:
        return _moved(node, results, batch)
    if how is OwnersGo.SUMMED:
        return _summed(node, results, batch)
    if how in BY_INDEX:
        return [Owners(BY_INDEX[how](node, result), batch) for result in results]
    if any(first.index.shape[axis] > 1 for axis in _mixed_axes(node, how, first.index.ndim)):
        raise MixesPictures
    return [first] * len(results)


def _mixed_axes(node: Node, how: OwnersGo, ndim: int) -> range:
    """The axes along which an op puts positions together: a linear op the last, one on images all but the first."""
    if how is OwnersGo.SAME:
        return range(0)
    if how is OwnersGo.IMAGE:  # a convolution of one picture without an axis of pictures mixes the channels in front
        return range(int(node.kind != Kind.CONV or node.argument("weight", 1).ndim == ndim), ndim)
    left = how is OwnersGo.MATRIX and not isinstance(node.argument("input", 0), Slot)
    return range(ndim - 2, ndim - 1) if left else range(ndim - 1, ndim)


def _first_axis(node: Node, result: Tensor) -> Tensor:
    """All axes but the first are put together."""
    index = node.inputs[0].owners.index
    if index.numel() > index.shape[0] or (index.shape[0] > 1 and result.shape[0] != index.shape[0]):
        raise MixesPictures
    return index.reshape(-1, *[1] * (result.ndim - 1))


def _summed(node: Node, results: list[Tensor], batch: int) -> list[Owners]:
    """Sums of scattered terms: those of one picture alone add up to its number times what ones add up to."""

    def sums(power: int) -> Tensor:
        given: Tensor = node.call([n**power for n in _as_numbers(node)], torch.float64) - nothing
        return given

    nothing: Tensor = node.call([torch.zeros_like(n) for n in _as_numbers(node)], torch.float64)
    weight, mean, square = sums(0), sums(1), sums(2)
    alike = torch.isclose(square * weight, mean * mean, atol=1e-9)
    empty = weight == 0
    index = (mean / weight.masked_fill(empty, 1.0)).round()
    if not bool(alike.all()) or bool((empty & (mean != 0)).any()):
        raise MixesPictures
    (result,) = results
    if not bool(empty.any()):
        return [Owners(_compact(index.long().cpu()), batch)]
    if result.ndim == 0 or result.shape[0] != batch:  # whose a constant is must be told by where it stands
        raise MixesPictures
    usual = in_order(batch, result.ndim)
    if not bool((empty | (index == usual.index.to(index))).all()):
        raise MixesPictures
    return [usual]


def _broadcast(node: Node, result: Tensor) -> Tensor:
    """Numbers of several values are put together one by one."""
    maps = [v.owners.index for v in node.inputs]
    maps = [m.view(*[1] * (result.ndim - m.ndim), *m.shape) for m in maps]
    shape = torch.broadcast_shapes(*(m.shape for m in maps))
    first, *others = (m.expand(shape) for m in maps)
    if any(not torch.equal(first, other) for other in others):
        raise MixesPictures
    return first


def _contracted(node: Node, result: Tensor) -> Tensor:
    """The last axis of one matrix is put together with the last but one of another."""
    left, *right = (value.owners.index for value in node.inputs)
    _demand_alone([(left, -1), *((index, -2) for index in right)])
    return _broadcast(node, result)


def _attended(node: Node, result: Tensor) -> Tensor:
    """Tokens and their numbers are put together, of queries, keys and values."""
    _demand_alone([(value.owners.index, axis) for value in node.inputs for axis in (-2, -1)])
    return _broadcast(node, result)


def _demand_alone(gone: list[tuple[Tensor, int]]) -> None:
    """Refuse numbers of several pictures along an axis that is summed over."""
    if any(index.shape[axis] > 1 for index, axis in gone if index.ndim >= -axis):
        raise MixesPictures


def _looked_up(node: Node, result: Tensor) -> Tensor:
    """Each number becomes a row."""
    del result
    return node.inputs[0].owners.index.unsqueeze(-1)


def _reduced(node: Node, result: Tensor) -> Tensor:
    """A sum or mean over axes."""
    index = node.inputs[0].owners.index
    axes = axes_of(node, index.ndim)[::-1]
    if any(index.shape[a] > 1 for a in axes):
        raise MixesPictures
    if result.ndim < index.ndim:
        for a in axes:
            index = index.squeeze(a)
    return index


BY_INDEX: dict[OwnersGo, Callable[[Node, Tensor], Tensor]] = {
    OwnersGo.REDUCED: _reduced,
    OwnersGo.BROADCAST: _broadcast,
    OwnersGo.CONTRACTED: _contracted,
    OwnersGo.ATTENDED: _attended,
    OwnersGo.LOOKED_UP: _looked_up,
    OwnersGo.FIRST: _first_axis,
}


def _moved(node: Node, results: list[Tensor], batch: int) -> list[Owners]:
    """An op that only moves numbers moves the numbers of their owners alike."""
    if (
        node.op.name in BY_VALUE
        and node.inputs[0].owners.index.shape[node.argument("dim", *BY_VALUE[node.op.name])] > 1
    ):
        raise MixesPictures  # where a number goes depends on the other pictures' numbers
    usual = all(v.owners.batch_first for v in node.inputs)
    if usual and _keeps_axis_0(node, results) and all(r.ndim and r.shape[0] == batch for r in results):
        owners = [in_order(batch, r.ndim) for r in results]
        if not node.op.loses or _confirmed(node, owners):
            return owners
    if node.op.loses or (node.constants and node.op.name in JOINING):
        # pictures that lie along another axis: each number may stay where its own picture is
        return [_kept(node, result, batch) for result in results]
    moved = float_tensors(node.call(_as_numbers(node), torch.float64))
    return [Owners(_compact(m.round().long().cpu()), batch) for m in moved]


def _kept(node: Node, result: Tensor, batch: int) -> Owners:
    """The owners of the first input, where all that is not a constant lies where they say."""
    owners = Owners(node.inputs[0].owners.index, batch)
    sizes = owners.index.shape
    fits = len(sizes) == result.ndim and all(n in (1, m) for n, m in zip(sizes, result.shape, strict=True))
    if len(node.outputs) > 1 or not fits or not _confirmed(node, [owners]):
        raise MixesPictures
    return owners


def _as_numbers(node: Node) -> list[Tensor]:
    """For each input its owners, laid out in memory like the value, so that every view that it allows is allowed."""
    return [torch.empty_like(v.data, dtype=torch.float64).copy_(v.owners.index) for v in node.inputs]


def _keeps_axis_0(node: Node, results: list[Tensor]) -> bool:
    if node.op.name in ("cat", "concat", "concatenate", "stack"):
        return node.argument("dim", 1, 0) not in (0, -results[0].ndim)
    return node.op.name in KEEPS_AXIS_0


def _confirmed(node: Node, owners: list[Owners]) -> bool:
    """Whether all that is not a constant lies where its picture is."""
    numbers = [index + 1 for index in _as_numbers(node)]
    once, twice = (float_tensors(node.call([k * n for n in numbers], torch.float64)) for k in (1, 2))
    return all(bool(((a == b) | (a == o.index.to(a) + 1)).all()) for a, b, o in zip(once, twice, owners, strict=True))


def _compact(index: Tensor) -> Tensor:
    for axis in range(index.ndim if index.numel() else 0):
        first = index.narrow(axis, 0, 1)
        if torch.equal(first.expand_as(index), index):
            index = first
    return index.clone()
