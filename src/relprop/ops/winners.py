"""The largest, the least, the middle along axes, and the larger of two: one number wins, and takes all."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from relprop.ops.activation import beside_constant
from relprop.ops.bounds import FREE, of_argument
from relprop.ops.fold import fold
from relprop.ops.moves import terms_of_another_shape
from relprop.ops.weighted import passed
from relprop.rules.division import divide
from relprop.rules.layer import Rule, Share, Zero
from relprop.rules.lrp import Flat, Pass
from relprop.support.errors import RuleError
from relprop.tape.axes import axes_of
from relprop.tape.tape import Bounds, Node, Slot
from relprop.tape.visit import Visit


def winner(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """Along axes: the first number that equals what the call gave takes all; under flat all of them share."""
    if isinstance(rule, Pass):
        return passed(node, R)
    x = node.inputs[0].data
    axes = axes_of(node, x.ndim)
    below = R[0].new_zeros(R[0].shape[0], *x.shape)
    lost: Tensor | float = 0.0
    for upper, out in zip(R, node.outputs, strict=True):
        wide = [1 if axis in axes else n for axis, n in enumerate(x.shape)]
        upper_wide = upper.reshape(len(upper), *wide)
        if isinstance(rule, Flat):
            share, none = _evenly(node, upper_wide, x, axes)
            lost = lost + out.owners.total((upper_wide * none).reshape(upper.shape))
            below += share
        else:
            hits = x == out.data.reshape(wide)
            split = visit.conventions.ties == "split"
            below += upper_wide * (_shared(hits, R[0].dtype, axes) if split else _first(hits, axes))
    return Share((below,), lost=lost, zero=Zero.UNPROVED if isinstance(rule, Flat) else Zero.AS_ABOVE)


def running_winner(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """What is the largest or the least so far: each output goes to the first number that it equals."""
    if isinstance(rule, Pass):
        return passed(node, R)
    if isinstance(rule, Flat) or visit.conventions.ties == "split":
        asked = "flat" if isinstance(rule, Flat) else "the profile's splitting of ties"
        raise RuleError(f"{node.where}: {asked} is not defined for a running maximum; it takes the first winner alone")
    x, out = node.inputs[0].data, node.outputs[0].data
    if x.ndim == 0:
        return Share((R[0],))
    (axis,) = axes_of(node, x.ndim)
    new = torch.ones_like(out, dtype=torch.bool)  # where another number wins than before
    new.narrow(axis, 1, out.shape[axis] - 1).copy_(out.diff(dim=axis) != 0)
    places = torch.arange(x.shape[axis], device=x.device).view([-1 if a == axis else 1 for a in range(x.ndim)])
    won = (places * new).cummax(axis).values.expand(R[0].shape)
    return Share((torch.zeros_like(R[0]).scatter_add_(axis + 1, won, R[0]),))


def of_two(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """The larger or smaller of two takes all, the first if they are equal; under flat they share.

    Beside a constant it is an activation as clamp is: what it gives for nothing is no input's.
    """
    (upper,) = R
    if len(node.inputs) == 1:
        return beside_constant(node, rule, R, visit)
    if isinstance(rule, Pass):
        raise RuleError(
            f"Pass on {node.where}: of two values one wins, so relevance cannot be handed to both unchanged"
        )
    a, b = (value.data for value in node.inputs)
    first = (a >= b if node.op.name == "maximum" else a <= b).to(upper.dtype)
    if isinstance(rule, Flat):
        first = torch.full_like(first, 0.5)
    elif visit.conventions.ties == "split":
        first = torch.where(a == b, 0.5, first)
    below = (fold(upper * part, value.shape) for part, value in zip((first, 1 - first), node.inputs, strict=True))
    return Share(tuple(below))


def scattered_winner(node: Node, rule: Rule, R: list[Tensor], visit: Visit) -> Share:
    """Of the terms that stand at one place the first that equals the result takes all, what stood there before them."""
    if isinstance(rule, (Pass, Flat)) or visit.conventions.ties == "split":
        asked = str(rule) if isinstance(rule, (Pass, Flat)) else "the profile's splitting of ties"
        raise RuleError(f"{node.where}: {asked} is not defined for terms that stand elsewhere; the first winner is")
    (upper,), y = R, node.outputs[0].data
    before, src = (_held(node, node.argument(name, k)) for name, k in (("input", 0), ("src", 3)))
    axis, index = int(node.argument("dim", 1)) % y.ndim, node.argument("index", 2)
    kept = before == y if node.argument("include_self", 5, True) else torch.zeros_like(y, dtype=torch.bool)
    kept = kept | torch.ones_like(kept).scatter(axis, index, value=False)
    hits = (src == y.gather(axis, index)) & ~kept.gather(axis, index)
    places = torch.arange(index.shape[axis], device=y.device).view([-1 if a == axis else 1 for a in range(y.ndim)])
    order = torch.where(hits, places, index.shape[axis])
    first = torch.full_like(y, index.shape[axis], dtype=order.dtype).scatter_reduce(axis, index, order, "amin")
    won = hits & (order == first.gather(axis, index))
    given = {0: upper * kept, 3: upper.gather(axis + 1, index.expand(len(upper), *index.shape)) * won}
    below: list[Tensor | None] = [None] * len(node.inputs)
    lost: Tensor | float = 0.0
    for (name, k), share in zip((("input", 0), ("src", 3)), given.values(), strict=True):
        term = node.argument(name, k)
        if isinstance(term, Slot):
            below[term.k] = share
        else:
            whole = (
                share if k == 0 else torch.zeros_like(upper).scatter_add_(axis + 1, index.expand(share.shape), share)
            )
            lost = lost + node.outputs[0].owners.total(whole)
    return Share(tuple(below), lost=lost)


def _held(node: Node, argument: Slot | Tensor) -> Tensor:
    return node.inputs[argument.k].data if isinstance(argument, Slot) else argument


def no_scattered_winner(node: Node) -> str | None:
    """Why terms that stand elsewhere have no winner, or None."""
    if node.argument("reduce", 4) not in ("amax", "amin"):
        return "its products have no rule; of sums, means, amax and amin the terms have"
    owners = [value.owners for value in node.inputs]
    along = node.argument("dim", 1) % node.argument("index", 2).ndim
    if owners[0].batch > 1 and (along == 0 or not all(each.batch_first for each in owners)):
        return "it mixes the pictures of a batch; explain one picture at a time"
    return terms_of_another_shape(node)


def _first(hits: Tensor, axes: list[int]) -> Tensor:
    """The first of the hits along the axes."""
    last = hits.movedim(axes, list(range(-len(axes), 0)))
    shape = last.shape
    flat = last.flatten(-len(axes)) if axes else last[..., None]
    won = flat.to(torch.uint8).argmax(-1, keepdim=True)  # of equal ones the first
    one = torch.zeros_like(flat).scatter_(-1, won, value=True)
    return one.view(shape).movedim(list(range(-len(axes), 0)), axes)


def _shared(hits: Tensor, dtype: torch.dtype, axes: list[int]) -> Tensor:
    """The part of each hit, if all of them share."""
    shown = hits.to(dtype)
    return shown / shown.sum(axes, keepdim=True) if axes else shown


def _evenly(node: Node, R: Tensor, x: Tensor, axes: list[int]) -> tuple[Tensor, Tensor]:
    """The same for each real number along the axes, and where there is none."""
    real = node.inputs[0].real
    shown = torch.ones_like(x, dtype=R.dtype) if real is None else real.to(R.dtype).expand(x.shape)
    terms = shown.sum(axes, keepdim=True) if axes else shown
    return divide(R, terms) * shown, terms == 0


def bounds_of_two(node: Node) -> Bounds:
    """Of the larger or the smaller of two."""
    a, b = (of_argument(node, node.argument(name, k)) for k, name in enumerate(("input", "other")))
    if math.inf in (a[0], b[0]):  # whole numbers, of which nothing is known
        return FREE
    better = max if node.op.name == "maximum" else min
    return better(a[0], b[0]), better(a[1], b[1])
