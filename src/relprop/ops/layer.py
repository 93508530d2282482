"""What the rules see of a layer: one `LinearOp` serves every kind of linear op, and large batches go in parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from relprop.rules.division import quotient, sums_in
from relprop.rules.layer import Rule, Share
from relprop.support.errors import RuleError

if TYPE_CHECKING:
    from relprop.ops.context import Context

AT_ONCE = 2**21
"""Numbers of a layer's output or input that rules work on at a time, unless one picture has more.

What a rule makes on its way, above all its denominators, is then small: it is written where the last part's
was, in memory that is there and in the cache, not in fresh pages that the system has to clear first.
"""


@dataclass
class LinearOp:
    """A linear op with the numbers of one forward pass: what `rules.Layer` promises.

    Attributes:
        x: input.
        held: recorded output, bias included.
        w: weight.
        b: bias, broadcastable to the output.
        kind: `Linear`, `Conv`, ...: how numbers go forward, and relevance back, with given weights.
        nonneg: whether x is proved to hold no negative number, which saves half of the passes.
        context: of the walk, at this op.
        rows: into how many rows, one a picture, the output can be cut as it lies; 0 if it cannot.
        total: relevance (T, *z.shape) to its sum per map and picture, (T, B).
        rectified: whether an in-place ReLU overwrote the output.
        rounded: whether the model computed the output in a lower precision than the rules work in.
        per_picture: whether the first axis of x and z is the batch, so that some pictures can go alone.
        kept: what is made once, however often rules ask for it.
        weights: likewise, of the weight alone.
    """

    x: Tensor
    held: Tensor
    w: Tensor
    b: Tensor | None
    kind: Any
    nonneg: bool
    context: Context
    rows: int
    total: Callable[[Tensor], Tensor]
    rectified: bool = False
    rounded: bool = False
    per_picture: bool = False
    kept: dict[Any, Tensor] = field(default_factory=dict)
    weights: dict[int, Tensor] = field(default_factory=dict)
    _parts: list[tuple[slice, LinearOp]] = field(default_factory=list)

    @property
    def z(self) -> Tensor:
        """Output, bias included."""
        if self.rectified and not self.context.vanishes:
            return _once(self.kept, "z", lambda: self.forward(self.x, self.w, self.b))
        return self.held

    @property
    def fires(self) -> bool:
        """Whether relevance from above is proved to be 0 wherever z is not positive."""
        return self.context.vanishes

    def parts(self) -> list[tuple[slice, LinearOp]]:
        """The same op for some pictures each, and which; made once."""
        batch, size = len(self.x), max(self.x.numel(), self.held.numel(), 1)
        some = max(AT_ONCE * batch // size, 1)
        if not self.per_picture or some >= batch:
            return [(slice(None), self)]
        if not self._parts:
            slices = [slice(start, start + some) for start in range(0, batch, some)]
            self._parts = [(at, self._part(at)) for at in slices]
        return self._parts

    def _part(self, at: slice) -> LinearOp:
        def total(R: Tensor) -> Tensor:
            return R.flatten(2).sum(2, dtype=sums_in(R.dtype))

        x = self.x[at]
        return replace(self, x=x, held=self.held[at], rows=len(x), total=total, kept={}, _parts=[])

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        """sum_i x_i w_ij + b_j."""
        out: Tensor = self.kind.forward(x, w, b)
        return out

    def backward(self, s: Tensor, w: Tensor) -> Tensor:
        """sum_j w_ij s_j; (T, *x.shape)."""
        out: Tensor = self.kind.backward(s, w, self.x.shape)
        return out

    def quotient(
        self, R: Tensor, z: Tensor, eps: float = 0.0, scale: float = 1.0, *, last: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Give scale R / (z + eps sign(z)), and the sum per map and picture of what eps and empty denominators took."""
        room = R if last and self.context.spend else None
        if room is None and len(R) == 1 and z is not self.held and not any(z is kept for kept in self.kept.values()):
            room = z
        return quotient(R, z, eps, scale, rows=self.rows, total=self.total, room=room)

    def signed(self, signs: Sequence[int], bias: bool | str = False) -> list[Tensor]:
        """sum_i z_ij^+ = sum_i x_i^+ w_ij^+ + x_i^- w_ij^-, or sum_i z_ij^-, with the `signed_bias`.

        Where z_j > 0, z_j^+ = z_j - z_j^- has no digit less than the sum (both terms are positive), and needs no pass.
        The other way round, z_j^- = z_j - z_j^+ would cancel.
        """
        whole = self.b is None or bias is True  # z = z^+ + z^-
        if {*signs} == {+1, -1} and whole and self.fires and not self.rounded and (+1, bias) not in self.kept:
            minus = self._shared((-1, bias), lambda: self._signed(-1, bias))
            plus = self._shared((+1, bias, "where z > 0"), lambda: self.z - minus)
            return [plus if sign > 0 else minus for sign in signs]
        return [self._one_sign(sign, bias) for sign in signs]

    def _one_sign(self, sign: int, bias: bool | str) -> Tensor:
        if self.fires and (sign, bias, "where z > 0") in self.kept:
            return self.kept[sign, bias, "where z > 0"]
        return self._shared((sign, bias), lambda: self._signed(sign, bias))

    def _signed(self, sign: int, bias: bool | str) -> Tensor:
        (x, w), *others = self._signed_pairs(sign)
        z = self.forward(x, w, self.signed_bias(sign, bias))
        for x, w in others:
            z += self.forward(x, w)
        return z

    def signed_bias(self, sign: int, bias: bool | str) -> Tensor | None:
        """b^+ or b^- (bias is True), b ("whole"), or none (False)."""
        if self.b is None or bias is False:
            return None
        return self.b if bias == "whole" else _part(self.b, sign)

    def signed_backward(self, s: Sequence[Tensor], signs: Sequence[int]) -> Tensor:
        """sum_j z_ij^+ s_j (sign +1) or sum_j z_ij^- s_j (sign -1), summed over the signs; (T, *x.shape)."""
        terms = ((one, *pair) for one, sign in zip(s, signs, strict=True) for pair in self._signed_pairs(sign))
        if self.nonneg:  # x is the same in all of them
            return sum_of(self.backward(one, w) for one, _, w in terms).mul_(self.x)
        return sum_of(self.backward(one, w).mul_(x) for one, x, w in terms)

    def _signed_pairs(self, sign: int) -> list[tuple[Tensor, Tensor]]:
        """The parts of input and weight whose products have the sign."""
        parts = (+1,) if self.nonneg else (+1, -1)
        return [(self._x(part), self._w(part * sign)) for part in parts]

    def _w(self, sign: int) -> Tensor:
        return _once(self.weights, sign, lambda: _part(self.w, sign))

    def _x(self, sign: int) -> Tensor:
        return self.x if self.nonneg else _once(self.kept, ("x", sign), lambda: _part(self.x, sign))

    def _shared(self, key: Any, make: Callable[[], Tensor]) -> Tensor:
        """What is made once where more than one rule works here; else the only one that asks may write into it."""
        return _once(self.kept, key, make) if self.context.shared else make()

    def count(self) -> Tensor:
        """The number of real inputs of each output, broadcastable to z."""
        out: Tensor = self.kind.count(self.x, self.w)
        return out

    def kernel_area(self) -> int:
        """The number of inputs of an output that no padding touches."""
        return int(self.kind.area(self.w))

    def spread(self, R: Tensor, d: Tensor) -> Tensor:
        """sum_j R_j / d_j over the outputs j that i is connected with; (T, *x.shape)."""
        out: Tensor = self.kind.spread(R, d, self.x, self.w)
        return out

    def dot(self, s: Tensor, v: Tensor | None) -> Tensor | float:
        """The sum of s v per map and picture, for v that can be broadcast to z; (T, B), or 0 without v."""
        if v is None:
            return 0.0
        one_a_channel = v.shape == (s.shape[2], *[1] * (s.ndim - 3)) and self.rows == s.shape[1]
        if not one_a_channel:
            return self.total(s * v)
        dtype = sums_in(s.dtype)
        return s.reshape(*s.shape[:3], -1).sum(3, dtype=dtype) @ v.flatten().to(dtype)

    def bounds(self, bound: float | tuple[float, ...]) -> Tensor:
        """A bound, or one per channel (axis 1), as a tensor of the shape of x."""
        if isinstance(bound, (int, float)):
            return torch.full_like(self.x, bound)
        if len(bound) != self.x.shape[1]:
            raise RuleError(
                f"ZBox has {len(bound)} bounds, and its input has {self.x.shape[1]} channels: give one number, "
                f"or one per channel"
            )
        return self.x.new_tensor(bound).view(-1, *[1] * (self.x.ndim - 2)).expand_as(self.x)


def _once(known: dict[Any, Tensor], key: Any, make: Callable[[], Tensor]) -> Tensor:
    """What is made once."""
    if key not in known:
        known[key] = make()
    return known[key]


def _part(t: Tensor, sign: int) -> Tensor:
    """max(t, 0) or min(t, 0)."""
    return t.clamp(min=0) if sign > 0 else t.clamp(max=0)


def sum_of(terms: Any) -> Tensor:
    """Add up tensors that are nobody else's, in place."""
    terms = iter(terms)
    first: Tensor = next(terms)
    for term in terms:
        first += term
    return first


def in_parts(layer: LinearOp, rule: Rule, R: Tensor) -> Share:
    """Hand relevance, (T, B, ...), through a layer by a rule, some pictures and some maps at a time."""
    maps, parts = len(R), layer.parts()
    some = [max(AT_ONCE // max(part.x.numel(), part.held.numel(), 1), 1) for _, part in parts]
    if len(parts) == 1 and some[0] >= maps:
        return rule.share(layer, R)
    context, mine = layer.context, layer.context.spend and R.is_contiguous()
    room = mine and R.shape[2:] == layer.x.shape[1:]  # each part is read before it is written to
    below = R.view_as(R) if room else R.new_empty(maps, *layer.x.shape)
    sums = {column: R.new_zeros(maps, context.batch, dtype=sums_in(R.dtype)) for column in ("bias", "eps", "lost")}
    for (pictures, part), width in zip(parts, some, strict=True):
        part.context = replace(context, shared=context.shared or width < maps)
        for start in range(0, maps, width):
            at = (slice(start, start + width), pictures)
            upper = R[at].contiguous()
            part.context.spend = mine or upper.data_ptr() != R[at].data_ptr()
            share = rule.share(part, upper)
            (lower,) = share.relevance
            below[at] = 0.0 if lower is None else lower
            for column, total in sums.items():
                total[at] = getattr(share, column)
        if not context.shared:
            part.kept.clear()
    return Share((below,), **sums, proportional=share.proportional)
