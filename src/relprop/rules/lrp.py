"""The rules of LRP: one frozen dataclass and one formula each; the notation is told in `rules.layer`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch

from relprop.rules.division import divide, empty, sign, stabilize
from relprop.rules.layer import LINEAR, SUMS, Kind, Layer, Rule, Share, Zero
from relprop.support.errors import RuleError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Epsilon(Rule):
    """LRP_epsilon: R_i = sum_j z_ij / (z_j + eps sign(z_j)) R_j.

    Bach et al. (2015), eq. 58. The bias stands in the denominator.

    Attributes:
        eps: stabiliser.
        bias: True: the bias keeps its share; False: there is none, z_j = sum_i z_ij, so that the inputs take all in
            proportion to z_ij, without bound where these cancel; "inputs": its share goes to the inputs in proportion
            to abs(z_ij), which nothing cancels.
    """

    eps: float = 1e-6
    bias: bool | str = True
    fits: ClassVar[frozenset[str]] = LINEAR | SUMS
    can: ClassVar[frozenset[str]] = LINEAR | SUMS

    def __post_init__(self) -> None:
        if not self.eps >= 0:
            raise RuleError(f"{type(self).__name__}(eps={self.eps}): eps must be at least 0")
        if self.bias not in (True, False, "inputs"):
            raise RuleError(f"{type(self).__name__}(bias={self.bias!r}): bias is True, False or 'inputs'")

    def _says(self, name: str) -> bool:
        return name == "eps" or super()._says(name)

    def share(self, layer: Layer, R: Tensor) -> Share:
        """See the class."""
        if self.bias == "inputs" and layer.b is not None:
            return self._to_inputs(layer, layer.b, R)
        return layer.ratio(R, [(layer.x, layer.w)], layer.b if self.bias else None, self.eps)

    def _to_inputs(self, layer: Layer, b: Tensor, R: Tensor) -> Share:
        """R_i = sum_j (z_ij + abs(z_ij) / sum_i abs(z_ij) b_j) / (z_j + eps sign(z_j)) R_j."""
        plus, minus = layer.signed([+1, -1])
        s, eps = layer.quotient(R, layer.z, self.eps)
        size = plus - minus
        t = divide(s * b, size)
        below = layer.backward(s, layer.w).mul_(layer.x) + layer.signed_backward([t, -t], [+1, -1])
        left = layer.total(s * b * empty(size))  # of a neuron all of whose terms are 0
        return Share((below,), left, eps, zero=Zero.WITH_INPUT)


@dataclass(frozen=True, eq=False)
class Z(Epsilon):
    """LRP_z: R_i = sum_j z_ij / z_j R_j; a term whose z_j is 0 gives 0.

    Bach et al. (2015), eq. 56. In ReLU networks it equals gradient x input.
    """

    eps: float = field(default=0.0, init=False, repr=False)


@dataclass(frozen=True, eq=False)
class AlphaBeta(Rule):
    """LRP_alpha,beta: R_i = sum_j (alpha z_ij^+ / z_j^+ + beta z_ij^- / z_j^-) R_j, alpha + beta = 1.

    Bach et al. (2015), eq. 60. alpha 2 means beta -1. A side that is empty (z_j^+ = 0) gives 0.

    Attributes:
        alpha: weight of the positive side.
        beta: weight of the negative side; 1 - alpha if None.
        bias: True: b^+ joins z^+ and b^- joins z^-; False: no bias; "whole": all of b joins both.
        eps: stabiliser of both denominators (0 in the paper).
        empty: what becomes of an empty side's part: "lost" (the paper), or to the "other" side, which then takes all.
    """

    alpha: float = 1.0
    beta: float | None = None
    bias: bool | str = True
    eps: float = 0.0
    empty: str = "lost"

    def __post_init__(self) -> None:
        if self.beta is None:
            object.__setattr__(self, "beta", 1.0 - self.alpha)
        elif abs(self.alpha + self.beta - 1.0) > 1e-9:
            raise RuleError(
                f"AlphaBeta(alpha={self.alpha}, beta={self.beta}): alpha + beta must be 1 "
                f"(beta is added, so alpha 2 goes with beta -1)"
            )
        if self.bias not in (True, False, "whole"):
            raise RuleError(f"AlphaBeta(bias={self.bias!r}): bias is True, False or 'whole'")
        if self.empty not in ("lost", "other"):
            raise RuleError(f"AlphaBeta(empty={self.empty!r}): empty is 'lost' or 'other'")

    def _says(self, name: str) -> bool:
        return name == "alpha" or (name != "beta" and super()._says(name))

    @property
    def sides(self) -> int:
        """One if alpha or beta is 0, else two."""
        return len(self._weights())

    def _weights(self) -> dict[int, float]:
        return {side: weight for side, weight in ((+1, self.alpha), (-1, self.beta or 0.0)) if weight}

    def share(self, layer: Layer, R: Tensor) -> Share:
        """See the class."""
        if self.empty == "other":
            return self._both_sides(layer, R)
        sides = self._weights()
        shares: list[Tensor] = []
        bias: Tensor | float = 0.0
        eps: Tensor | float = 0.0
        for (side, weight), z in zip(sides.items(), layer.signed([*sides], self.bias), strict=True):
            s, took = layer.quotient(R, z, self.eps, weight, last=len(shares) == len(sides) - 1)
            bias, eps = bias + layer.dot(s, layer.signed_bias(side, self.bias)), eps + took
            shares.append(s)
        return Share((layer.signed_backward(shares, [*sides]),), bias, eps, zero=Zero.WITH_INPUT)

    def _both_sides(self, layer: Layer, R: Tensor) -> Share:
        """Where one side is empty, the other one has weight 1 = alpha + beta."""
        sides, weights = [+1, -1], (self.alpha, self.beta or 0.0)
        z = layer.signed(sides, self.bias)
        nothing = [empty(stabilize(d, self.eps)) for d in z]
        shares: list[Tensor] = []
        bias: Tensor | float = 0.0
        eps: Tensor | float = layer.total(R * (nothing[0] & nothing[1]))
        for k, side in enumerate(sides):
            s = divide(R, z[k], self.eps) * torch.where(nothing[1 - k], 1.0, weights[k]).to(R.dtype)
            bias = bias + layer.dot(s, layer.signed_bias(side, self.bias))
            eps = eps + layer.total(s * (self.eps * sign(z[k]))) if self.eps else eps
            shares.append(s)
        return Share((layer.signed_backward(shares, sides),), bias, eps, zero=Zero.WITH_INPUT)


@dataclass(frozen=True, eq=False)
class ZPlus(AlphaBeta):
    """z^+: R_i = sum_j z_ij^+ / z_j^+ R_j, which is LRP_alpha,beta with alpha 1 and beta 0.

    Montavon et al. (2017).
    """

    alpha: float = field(default=1.0, init=False, repr=False)
    beta: float | None = field(default=0.0, init=False, repr=False)

    def _says(self, name: str) -> bool:
        return name not in ("alpha", "beta") and super()._says(name)


@dataclass(frozen=True, eq=False)
class Gamma(Rule):
    """gamma, for inputs of both signs.

    R_i = sum_j (z_ij + gamma z_ij^s) / (z_j + gamma (sum_i z_ij^s + b_j^s)) R_j, s the sign of z_j.

    Montavon et al. (2019), generalised to inputs of both signs. gamma 0 is LRP_z.
    """

    gamma: float = 0.25
    eps: float = 0.0

    def __post_init__(self) -> None:
        if not self.gamma >= 0:
            raise RuleError(f"Gamma(gamma={self.gamma}): gamma must be at least 0")

    def _says(self, name: str) -> bool:
        return name == "gamma" or super()._says(name)

    def share(self, layer: Layer, R: Tensor) -> Share:
        """See the class."""
        s, eps = layer.quotient(R, layer.z + self.gamma * layer.own_sign(), self.eps)
        below = layer.backward(s, layer.w).mul_(layer.x) + layer.own_sign_backward(s).mul_(self.gamma)
        b_s = layer.own_sign_bias()
        bias = layer.dot(s, None if layer.b is None or b_s is None else layer.b + self.gamma * b_s)
        return Share((below,), bias, eps, zero=Zero.WITH_INPUT)


@dataclass(frozen=True, eq=False)
class Flat(Rule):
    """LRP_flat: R_i = sum_j 1 / (number of inputs of j) R_j, that is z_ij = 1; no bias.

    Lapuschkin et al. (2017). Never on fully connected layers. It also takes pools and additions, which
    then hand relevance down evenly, max-pools included.

    Attributes:
        padding: "real": padding is no input, so relevance is conserved; "kernel": every output is divided
            by the area of the kernel, so the share of the padding is lost.
        eps: stabiliser of the number of inputs (0 in the paper).
    """

    padding: str = "real"
    eps: float = 0.0
    fits: ClassVar[frozenset[str]] = LINEAR | {Kind.MAX_POOL, Kind.ADD}
    can: ClassVar[frozenset[str]] = LINEAR | {Kind.MAX_POOL, Kind.ADD}

    def __post_init__(self) -> None:
        if self.padding not in ("real", "kernel"):
            raise RuleError(f"Flat(padding={self.padding!r}): padding is 'real' or 'kernel'")

    def share(self, layer: Layer, R: Tensor) -> Share:
        """See the class."""
        n = layer.count()
        d = n if self.padding == "real" else torch.full_like(n, layer.kernel_area())
        stable = stabilize(d, self.eps)
        below = layer.spread(R, stable)
        if self.padding == "real" and not self.eps and not bool((n == 0).any()):
            return Share((below,))
        s = divide(R, stable)
        return Share(
            (below,),
            eps=layer.total((s * self.eps).expand(R.shape)),
            lost=layer.total(torch.where(empty(stable), R, s * (d - n))),
        )


@dataclass(frozen=True, eq=False)
class WSquare(Rule):
    """w-square: R_i = sum_j w_ij^2 / (sum_i w_ij^2) R_j; no bias.

    Montavon et al. (2017).

    Attributes:
        bias: True keeps b_j^2 in the denominator, as one peer does (False in the paper).
        eps: stabiliser of the denominator (0 in the paper).
    """

    bias: bool = False
    eps: float = 0.0

    def share(self, layer: Layer, R: Tensor) -> Share:
        """See the class."""
        b2 = layer.b**2 if self.bias and layer.b is not None else None
        return layer.ratio(R, [(None, layer.w**2)], b2, self.eps)


@dataclass(frozen=True, eq=False)
class ZBox(Rule):
    """zB: R_i = sum_j (x_i w_ij - l_i w_ij^+ - h_i w_ij^-) / (sum_i of the same) R_j.

    Montavon et al. (2017), the rule of Deep Taylor Decomposition for inputs that are bounded. The bias
    cancels.

    Attributes:
        low: the smallest value an input can have, one number or one per channel.
        high: the largest, likewise. Named methods take both from the model's preprocessing where they
            are not given.
        eps: stabiliser of the denominator (0 in the paper).
    """

    low: float | tuple[float, ...] | None = None
    high: float | tuple[float, ...] | None = None
    eps: float = 0.0

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            bound = getattr(self, name)
            if bound is None:
                raise RuleError(
                    "ZBox needs the bounds of the input, low and high: give them as numbers or one per "
                    "channel, ZBox(low, high), or as options of a method's name, ':low=-2.1,high=2.6'"
                )
            if not isinstance(bound, (int, float)):
                object.__setattr__(self, name, tuple(float(v) for v in bound))
        lows, highs = (list(b) if isinstance(b, tuple) else [b] for b in (self.low, self.high))
        lows, highs = lows * (len(highs) if len(lows) == 1 else 1), highs * (len(lows) if len(highs) == 1 else 1)
        if any(low > high for low, high in zip(lows, highs, strict=False) if low is not None and high is not None):
            raise RuleError(f"ZBox(low={self.low}, high={self.high}): low is above high")

    def share(self, layer: Layer, R: Tensor) -> Share:
        """See the class."""
        w_plus, w_minus = layer.w.clamp(min=0), layer.w.clamp(max=0)
        low, high = (layer.bounds(bound) for bound in (self.low, self.high) if bound is not None)
        return layer.ratio(R, [(layer.x_real, layer.w), (-low, w_plus), (-high, w_minus)], eps=self.eps)


@dataclass(frozen=True, eq=False)
class Pass(Rule):
    """R_i = R_i of the output: relevance is handed down unchanged, where input and output match in shape."""

    fits: ClassVar[frozenset[str]] = LINEAR | {Kind.MAX_POOL, Kind.ACTIVATION}
    can: ClassVar[frozenset[str]] = LINEAR | {Kind.MAX_POOL, Kind.ACTIVATION}
