"""What the rules see of a layer: one `LinearOp` serves every kind of linear op."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from relprop.ops.linear_map import Elementwise, LinearMap
from relprop.rules.division import quotient, sums_in
from relprop.rules.layer import Share, Zero
from relprop.support.errors import RuleError
from relprop.tape.tape import Node
from relprop.tape.visit import Visit


@dataclass
class LinearOp:
    """A linear op with the numbers of one forward pass: what `rules.Layer` promises.

    Attributes:
        x: input.
        held: recorded output, bias included.
        w: weight.
        b: bias, broadcastable to the output.
        linear_map: how numbers go forward, and relevance back, with given weights.
        nonneg: whether x is proved to hold no negative number, which saves half of the passes.
        real: where x is no constant, such as padding, broadcastable to it; None: everywhere.
        visit: of the walk, to this op.
        batch: the number of pictures B.
        rows: into how many rows, one a picture, the output can be cut as it lies; 0 if it cannot.
        total: relevance (T, *z.shape) to its sum per map and picture, (T, B).
        rectified: whether an in-place ReLU overwrote the output.
        rounded: whether the model computed the output in a lower precision than the rules work in.
        one_by_one: whether the first axis of x and z is the batch, so that some pictures can go alone.
        made: what is made once, however often rules ask for it.
        weights: likewise, of the weight alone.
    """

    x: Tensor
    held: Tensor
    w: Tensor
    b: Tensor | None
    linear_map: LinearMap
    nonneg: bool
    real: Tensor | None
    visit: Visit
    batch: int
    rows: int
    total: Callable[[Tensor], Tensor]
    rectified: bool = False
    rounded: bool = False
    one_by_one: bool = False
    made: dict[Any, Tensor] = field(default_factory=dict)
    weights: dict[int, Tensor] = field(default_factory=dict)

    @property
    def z(self) -> Tensor:
        """Output, bias included."""
        if self.rectified and not self.visit.vanishes:
            return _once(self.made, "z", lambda: self.forward(self.x, self.w, self.b))
        return self.held

    @property
    def x_real(self) -> Tensor:
        """Input, and 0 for constants among it."""
        return self._at_real(self.x)

    @property
    def fires(self) -> bool:
        """Whether relevance from above is proved to be 0 wherever z is not positive, as it is below a ReLU."""
        return self.visit.vanishes

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        """sum_i x_i w_ij + b_j."""
        return self.linear_map.forward(x, w, b)

    def backward(self, s: Tensor, w: Tensor) -> Tensor:
        """sum_j w_ij s_j; (T, *x.shape)."""
        return self.linear_map.backward(s, w, self.x.shape)

    def ratio(
        self, R: Tensor, terms: Sequence[tuple[Tensor | None, Tensor]], b: Tensor | None = None, eps: float = 0.0
    ) -> Share:
        """R_i = sum_j z_ij / (z_j + eps sign(z_j)) R_j, z_ij the sum of x_i w_ij over the terms, z_j that and b_j."""
        (x, w), *others = terms
        if x is self.x and w is self.w and b is self.b and not others:
            z = self.z
        else:
            z = sum_of(self.forward(self._ones(x), w, b if k == 0 else None) for k, (x, w) in enumerate(terms))
        s, took = self.quotient(R, z, eps)
        below = sum_of(self._times(self.backward(s, w), x) for x, w in terms)
        zero = Zero.WITH_INPUT if all(x is self.x for x, _ in terms) else Zero.UNPROVED
        return Share((below,), self.dot(s, b), took, zero=zero)

    def apart(self) -> tuple[LinearOp, LinearOp] | None:
        """The layer without its bias, and what adds the bias to that."""
        if self.b is None:
            return None
        z = self.forward(self.x, self.w)
        within = replace(self.visit, vanishes=False, may_overwrite=False, shared=False)
        bare = replace(self, held=z, b=None, visit=within, rectified=False, rounded=False, made={})
        affine = replace(self, held=self.z, linear_map=Elementwise(), nonneg=False, real=None, rectified=False)
        return bare, replace(affine, x=z, w=torch.ones_like(self.b), made={}, weights={})

    def _ones(self, x: Tensor | None) -> Tensor:
        if x is not None:
            return x
        return torch.ones_like(self.x) if self.real is None else self.real.to(self.x.dtype).expand(self.x.shape)

    def _times(self, s: Tensor, x: Tensor | None) -> Tensor:
        return s.mul_(x) if x is not None else self._at_real(s)

    def _at_real(self, R: Tensor) -> Tensor:
        """Nothing for constants."""
        return R if self.real is None else R * self.real

    def quotient(
        self, R: Tensor, z: Tensor, eps: float = 0.0, scale: float = 1.0, *, last: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Give scale R / (z + eps sign(z)), and the sum per map and picture of what eps and empty denominators took."""
        into = R if last and self.visit.may_overwrite else None
        if into is None and len(R) == 1 and z is not self.held and not any(z is made for made in self.made.values()):
            into = z
        return quotient(R, z, eps, scale, rows=self.rows, total=self.total, into=into)

    def signed(self, signs: Sequence[int], bias: bool | str = False) -> list[Tensor]:
        """sum_i z_ij^+ = sum_i x_i^+ w_ij^+ + x_i^- w_ij^-, or sum_i z_ij^-, with the `signed_bias`.

        Where z_j > 0, z_j^+ = z_j - z_j^- has no digit less than the sum (both terms are positive), and needs no pass.
        The other way round, z_j^- = z_j - z_j^+ would cancel.
        """
        whole = self.b is None or bias is True  # z = z^+ + z^-
        if {*signs} == {+1, -1} and whole and self.fires and not self.rounded and (+1, bias) not in self.made:
            minus = self._shared((-1, bias), lambda: self._signed(-1, bias))
            plus = self._shared((+1, bias, "where z > 0"), lambda: self.z - minus)
            return [plus if sign > 0 else minus for sign in signs]
        return [self._one_sign(sign, bias) for sign in signs]

    def _one_sign(self, sign: int, bias: bool | str) -> Tensor:
        if self.fires and (sign, bias, "where z > 0") in self.made:
            return self.made[sign, bias, "where z > 0"]
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

    # What has the sign of z_j itself: where relevance is proved to be 0 below it, that is +.

    def own_sign(self) -> Tensor:
        """sum_i z_ij^s + b_j^s, with s the sign of z_j."""
        plus, *minus = self.signed(self._own_signs, True)
        return torch.where(self.z >= 0, plus, minus[0] if minus else 0.0)

    def own_sign_bias(self) -> Tensor | None:
        """b_j^s, with s the sign of z_j."""
        b = self.b
        return None if b is None else torch.where(self.z >= 0, b.clamp(min=0), b.clamp(max=0))

    def own_sign_backward(self, s: Tensor) -> Tensor:
        """sum_j z_ij^s s_j, with the superscript s the sign of z_j; (T, *x.shape)."""
        positive, signs = self.z >= 0, self._own_signs
        return self.signed_backward([s * at for at in (positive, ~positive)[: len(signs)]], signs)

    @property
    def _own_signs(self) -> list[int]:
        return [+1] if self.fires else [+1, -1]

    def _signed_pairs(self, sign: int) -> list[tuple[Tensor, Tensor]]:
        """The parts of input and weight whose products have the sign."""
        parts = (+1,) if self.nonneg else (+1, -1)
        return [(self._x(part), self._w(part * sign)) for part in parts]

    def _w(self, sign: int) -> Tensor:
        return _once(self.weights, sign, lambda: _part(self.w, sign))

    def _x(self, sign: int) -> Tensor:
        return self.x if self.nonneg else _once(self.made, ("x", sign), lambda: _part(self.x, sign))

    def _shared(self, key: Any, make: Callable[[], Tensor]) -> Tensor:
        """What is made once where more than one rule works here; else the only one that asks may write into it."""
        return _once(self.made, key, make) if self.visit.shared else make()

    def count(self) -> Tensor:
        """The number of real inputs of each output, broadcastable to z."""
        return self.linear_map.count(self.x, self.w, self.real)

    def kernel_area(self) -> int:
        """The number of inputs of an output that no padding touches."""
        return self.linear_map.area(self.w)

    def spread(self, R: Tensor, d: Tensor) -> Tensor:
        """sum_j R_j / d_j over the outputs j that i is connected with; (T, *x.shape)."""
        return self._at_real(self.linear_map.spread(R, d, self.x, self.w))

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
        """A bound, or one per channel (axis 1), as a tensor of the shape of x; 0 for constants, as in `x_real`."""
        if isinstance(bound, (int, float)):
            bounds = torch.full_like(self.x, bound)
        elif len(bound) != self.x.shape[1]:
            raise RuleError(
                f"ZBox has {len(bound)} bounds, and its input has {self.x.shape[1]} channels: give one number, "
                f"or one per channel"
            )
        else:
            bounds = self.x.new_tensor(bound).view(-1, *[1] * (self.x.ndim - 2)).expand_as(self.x)
        return self._at_real(bounds)


def layer_of_call(
    node: Node,
    visit: Visit,
    linear_map: LinearMap,
    w: Tensor,
    b: Tensor | None = None,
    *,
    unbatched: bool = False,
    one_by_one: bool = False,
) -> LinearOp:
    """A recorded call of a linear op as the rules see it.

    Args:
        node: the call; its first input is x.
        visit: of the walk, to this op.
        linear_map: how numbers go through with given weights.
        w: weight, in the precision of relevance.
        b: bias, likewise.
        unbatched: whether x and z are of a single picture without an axis of pictures, and get one.
        one_by_one: whether some pictures can go alone, provided that they are the first axis of x and z.
    """
    value, out = node.inputs[0], node.output
    x, held = value.data.to(visit.dtype), out.data.to(visit.dtype)
    return LinearOp(
        x=x.unsqueeze(0) if unbatched else x,
        held=held.unsqueeze(0) if unbatched else held,
        w=w,
        b=b,
        linear_map=linear_map,
        nonneg=value.nonneg,
        real=value.real.unsqueeze(0) if unbatched and value.real is not None else value.real,
        visit=visit,
        batch=out.owners.batch,
        rows=out.owners.rows(out.shape),
        total=lambda R: out.owners.total(R.squeeze(1) if unbatched else R),
        rectified=out.rectified,
        rounded=torch.promote_types(out.data.dtype, visit.dtype) != out.data.dtype,
        one_by_one=one_by_one and all(v.owners.first_axis_of(v.shape) for v in (value, out)),
    )


def _once(known: dict[Any, Tensor], key: Any, make: Callable[[], Tensor]) -> Tensor:
    """What is made once."""
    if key not in known:
        known[key] = make()
    return known[key]


def _part(t: Tensor, sign: int) -> Tensor:
    """max(t, 0) or min(t, 0)."""
    return t.clamp(min=0) if sign > 0 else t.clamp(max=0)


def sum_of(terms: Iterable[Tensor]) -> Tensor:
    """Add up tensors that are nobody else's, in place."""
    terms = iter(terms)
    first = next(terms)
    for term in terms:
        first += term
    return first
