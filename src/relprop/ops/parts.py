"""Large layers go through their rule in parts: some pictures and some maps at a time."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from relprop.ops.layer import LinearOp
from relprop.rules.division import at_once, sums_in
from relprop.rules.layer import Rule, Share
from relprop.tape.visit import Visit

AT_ONCE = 2**21
"""Numbers of a layer's output or input that rules work on at a time, unless one picture has more.

What a rule makes on its way, above all its denominators, is then small: it is written where the last part's
was, in memory that is there and in the cache, not in fresh pages that the system has to clear first.
"""


def in_parts(layer: LinearOp, rule: Rule, R: Tensor) -> Share:
    """Hand relevance, (T, B, ...), through a layer by a rule, some pictures and some maps at a time."""
    visit, maps = layer.visit, len(R)
    parts: list[tuple[slice, LinearOp]] = visit.once("parts", lambda: _parts(layer))
    widths = [max(at_once(R, AT_ONCE) // max(part.x.numel(), part.held.numel(), 1), 1) for _, part in parts]
    if len(parts) == 1 and widths[0] >= maps:
        return rule.share(layer, R)
    may_overwrite = visit.may_overwrite and R.is_contiguous()
    in_place = may_overwrite and R.shape[2:] == layer.x.shape[1:]  # each part is read before it is written to
    below = R.view_as(R) if in_place else R.new_empty(maps, *layer.x.shape)
    sums = {column: R.new_zeros(maps, layer.batch, dtype=sums_in(R.dtype)) for column in ("bias", "eps", "lost")}
    for (pictures, part), width in zip(parts, widths, strict=True):
        for start in range(0, maps, width):
            at = (slice(start, start + width), pictures)
            upper = R[at].contiguous()
            part.visit = _visit(visit, shared=width < maps, alone=may_overwrite or upper.data_ptr() != R[at].data_ptr())
            share = rule.share(part, upper)
            (lower,) = share.relevance
            below[at] = 0.0 if lower is None else lower
            for column, total in sums.items():
                total[at] = getattr(share, column)
        if not visit.shared:
            part.made.clear()
    return Share((below,), **sums, zero=share.zero)


def _visit(whole: Visit, *, shared: bool, alone: bool) -> Visit:
    return replace(whole, may_overwrite=alone, shared=whole.shared or shared)


def _parts(layer: LinearOp) -> list[tuple[slice, LinearOp]]:
    """The same op for some pictures each, and which."""
    batch, size = len(layer.x), max(layer.x.numel(), layer.held.numel(), 1)
    some = max(at_once(layer.x, AT_ONCE) * batch // size, 1)
    if not layer.one_by_one or some >= batch:
        return [(slice(None), layer)]
    return [(at, _part(layer, at)) for at in (slice(start, start + some) for start in range(0, batch, some))]


def _part(layer: LinearOp, at: slice) -> LinearOp:
    def total(R: Tensor) -> Tensor:
        return R.flatten(2).sum(2, dtype=sums_in(R.dtype))

    x, real = layer.x[at], layer.real
    real = real[at] if real is not None and len(real) > 1 else real
    return replace(layer, x=x, real=real, held=layer.held[at], rows=len(x), total=total, made={})
