"""The rules of LRP: one frozen dataclass and one formula each.

Notation (Kohlbrenner et al., 2020): a layer has inputs x_i, weights w_ij, biases b_j; z_ij = x_i w_ij;
z_j = sum_i z_ij + b_j; z^+ = max(z, 0) and z^- = min(z, 0) are taken term by term. R_j is the relevance
that comes from above, R_i what the rule hands down. In the code `s` is always relevance divided by a
denominator, and `layer.backward(s, w)` is sum_j w_ij s_j.

A rule sees a layer only through `Layer`, so every rule serves every kind of linear op.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, ClassVar, Protocol

import torch

from relprop.stabilize import divide, empty, stabilize
from relprop.support.errors import RuleError

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTED = frozenset({"conv", "linear"})
LINEAR = WEIGHTED | {"avg_pool", "norm"}


class Layer(Protocol):
    """A linear op with the numbers of one forward pass, as the rules see it (see `ops.linear`)."""

    x: Tensor
    """Input."""
    w: Tensor
    """Weight."""
    b: Tensor | None
    """Bias, broadcastable to z."""

    @property
    def z(self) -> Tensor:
        """Output, bias included; where an in-place ReLU overwrote it, and R is 0 where that gave 0, what it left."""
        ...

    @property
    def fires(self) -> bool:
        """Whether R is proved to be 0 wherever z is not positive, as it is below a ReLU."""
        ...

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        """sum_i x_i w_ij + b_j."""
        ...

    def backward(self, s: Tensor, w: Tensor) -> Tensor:
        """sum_j w_ij s_j for s of shape (T, *z.shape); (T, *x.shape)."""
        ...

    def quotient(
        self, R: Tensor, z: Tensor, eps: float = 0.0, scale: float = 1.0, *, last: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Scale R / (z + eps sign(z)), and the sum per map and picture of what eps and empty denominators took.

        Args:
            R: relevance from above, (T, *z.shape); overwritten if nobody else needs it and this is its last use.
            z: the denominator before stabilisation: `z`, or a tensor that the rule does not need again.
            eps: at least 0.
            scale: a factor.
            last: whether the rule does not need R again.
        """
        ...

    def signed(self, signs: Sequence[int], bias: bool | str = False) -> list[Tensor]:
        """sum_i z_ij^+ (sign +1) or sum_i z_ij^- (sign -1) for each sign, with the `signed_bias`.

        Where `fires` holds, what is given for z_j that are not positive may be anything finite.
        """
        ...

    def signed_bias(self, sign: int, bias: bool | str) -> Tensor | None:
        """b^+ or b^- (bias is True), b ("whole"), or none (False)."""
        ...

    def signed_backward(self, s: Sequence[Tensor], signs: Sequence[int]) -> Tensor:
        """sum_j z_ij^+ s_j (sign +1) or sum_j z_ij^- s_j (sign -1), summed over the signs; (T, *x.shape)."""
        ...

    def count(self) -> Tensor:
        """The number of real inputs (padding is none) of each output, broadcastable to z."""
        ...

    def kernel_area(self) -> int:
        """The number of inputs of an output that no padding touches."""
        ...

    def spread(self, R: Tensor, d: Tensor) -> Tensor:
        """sum_j R_j / d_j over the outputs j that i is connected with, for d like `count`; (T, *x.shape)."""
        ...

    def total(self, R: Tensor) -> Tensor:
        """The sum of R (T, *z.shape) per map and picture; (T, B)."""
        ...

    def dot(self, s: Tensor, v: Tensor | None) -> Tensor | float:
        """The sum of s v per map and picture, for v that can be broadcast to z; (T, B), or 0 without v."""
        ...

    def bounds(self, bound: float | tuple[float, ...]) -> Tensor:
        """A bound, or one per channel, as a tensor of the shape of x."""
        ...


@dataclass
class Share:
    """What a rule makes of the relevance from above: they add up to it."""

    relevance: tuple[Tensor | None, ...]
    """What each input of the op gets, (T, *shape); None for nothing."""
    bias: Tensor | float = 0.0
    """What the bias took, (T, B)."""
    eps: Tensor | float = 0.0
    """What the stabiliser took, and what an empty denominator could not hand out, (T, B)."""
    lost: Tensor | float = 0.0
    """What went to constants, padding, or nowhere, (T, B)."""
    proportional: bool | None = False
    """Whether each input's relevance is proved to be 0 where the input is 0; None: if it is 0 where the input is not
    positive provided that the output's is so."""


@dataclass(frozen=True)
class Rule:
    """A rule is numbers and one formula.

    Attributes:
        fits: the kinds of op that take the rule whenever a selector hands it to them; other kinds keep
            their default.
        can: the kinds that take it if the selector names their kind (`rp.on.pool`, `rp.on.norm`).
        everywhere: whether it also goes where relevance does not: through gates.
    """

    fits: ClassVar[frozenset[str]] = WEIGHTED
    can: ClassVar[frozenset[str]] = LINEAR
    everywhere: ClassVar[bool] = False

    @property
    def sides(self) -> int:
        """How many denominators of terms of one sign the formula has."""
        return 0

    def share(self, layer: Layer, R: Tensor) -> Share:
        """Hand R, (T, *z.shape), down through the layer."""
        raise NotImplementedError

    def __str__(self) -> str:
        """The rule with the numbers that differ from their defaults."""
        shown = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.repr and self._says(f.name)]
        return f"{type(self).__name__}({', '.join(shown)})"

    def _says(self, name: str) -> bool:
        return bool(getattr(self, name) != type(self).__dataclass_fields__[name].default)


@dataclass(frozen=True)
class Epsilon(Rule):
    """LRP_epsilon: R_i = sum_j z_ij / (z_j + eps sign(z_j)) R_j.

    Bach et al. (2015), eq. 58. The bias stands in the denominator.
    """

    eps: float = 1e-6
    fits: ClassVar[frozenset[str]] = LINEAR | {"add"}
    can: ClassVar[frozenset[str]] = LINEAR | {"add"}

    def __post_init__(self) -> None:
        if not self.eps >= 0:
            raise RuleError(f"Epsilon(eps={self.eps}): eps must be at least 0")

    def _says(self, name: str) -> bool:
        return name == "eps"

    def share(self, layer: Layer, R: Tensor) -> Share:
        """See the class."""
        s, eps = layer.quotient(R, layer.z, self.eps)
        return Share((layer.backward(s, layer.w).mul_(layer.x),), layer.dot(s, layer.b), eps, proportional=True)


@dataclass(frozen=True)
class Z(Epsilon):
    """LRP_z: R_i = sum_j z_ij / z_j R_j; a term whose z_j is 0 gives 0.

    Bach et al. (2015), eq. 56. In ReLU networks it equals gradient x input.
    """

    eps: float = field(default=0.0, init=False, repr=False)


@dataclass(frozen=True)
class AlphaBeta(Rule):
    """LRP_alpha,beta: R_i = sum_j (alpha z_ij^+ / z_j^+ + beta z_ij^- / z_j^-) R_j, alpha + beta = 1.

    Bach et al. (2015), eq. 60. alpha 2 means beta -1. A side that is empty (z_j^+ = 0) gives 0.

    Attributes:
        alpha: weight of the positive side.
        beta: weight of the negative side; 1 - alpha if None.
        bias: True: b^+ joins z^+ and b^- joins z^-; False: no bias; "whole": all of b joins both.
        eps: stabiliser of both denominators (0 in the paper).
    """

    alpha: float = 1.0
    beta: float | None = None
    bias: bool | str = True
    eps: float = 0.0

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
        sides = self._weights()
        shares: list[Tensor] = []
        bias: Tensor | float = 0.0
        eps: Tensor | float = 0.0
        for (side, weight), z in zip(sides.items(), layer.signed([*sides], self.bias), strict=True):
            s, took = layer.quotient(R, z, self.eps, weight, last=len(shares) == len(sides) - 1)
            bias, eps = bias + layer.dot(s, layer.signed_bias(side, self.bias)), eps + took
            shares.append(s)
        return Share((layer.signed_backward(shares, [*sides]),), bias, eps, proportional=True)


@dataclass(frozen=True)
class ZPlus(AlphaBeta):
    """z^+: R_i = sum_j z_ij^+ / z_j^+ R_j, which is LRP_alpha,beta with alpha 1 and beta 0.

    Montavon et al. (2017).
    """

    alpha: float = field(default=1.0, init=False, repr=False)
    beta: float | None = field(default=0.0, init=False, repr=False)

    def _says(self, name: str) -> bool:
        return name not in ("alpha", "beta") and super()._says(name)


@dataclass(frozen=True)
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
        z, b = layer.z, layer.b
        positive = z >= 0
        signs = [+1] if layer.fires else [+1, -1]  # below a ReLU, s is + wherever there is relevance
        z_plus, *z_minus = layer.signed(signs, True)
        z_signed = torch.where(positive, z_plus, z_minus[0] if z_minus else 0.0)
        s, eps = layer.quotient(R, z + self.gamma * z_signed, self.eps)
        below = layer.backward(s, layer.w).mul_(layer.x)
        sides = [s * at for at in (positive, ~positive)[: len(signs)]]
        below += layer.signed_backward(sides, signs).mul_(self.gamma)
        b = None if b is None else b + self.gamma * torch.where(positive, b.clamp(min=0), b.clamp(max=0))
        return Share((below,), layer.dot(s, b), eps, proportional=True)


@dataclass(frozen=True)
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
    fits: ClassVar[frozenset[str]] = LINEAR | {"max_pool", "add"}
    can: ClassVar[frozenset[str]] = LINEAR | {"max_pool", "add"}

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


@dataclass(frozen=True)
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
        w2 = layer.w**2
        d = layer.forward(torch.ones_like(layer.x), w2)
        b2 = layer.b**2 if self.bias and layer.b is not None else None
        d = d if b2 is None else d + b2
        s, eps = layer.quotient(R, d, self.eps)
        return Share((layer.backward(s, w2),), layer.dot(s, b2), eps)


@dataclass(frozen=True)
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
        lows, highs = (b if isinstance(b, tuple) else (b,) for b in (self.low, self.high))
        if any(low > high for low, high in zip(lows, highs, strict=False) if low is not None and high is not None):
            raise RuleError(f"ZBox(low={self.low}, high={self.high}): low is above high")

    def share(self, layer: Layer, R: Tensor) -> Share:
        """See the class."""
        x, w = layer.x, layer.w
        w_plus, w_minus = w.clamp(min=0), w.clamp(max=0)
        l, h = (layer.bounds(bound) for bound in (self.low, self.high) if bound is not None)  # noqa: E741  (the paper's l)
        d = layer.forward(x, w) - layer.forward(l, w_plus) - layer.forward(h, w_minus)
        s, eps = layer.quotient(R, d, self.eps)
        below = layer.backward(s, w).mul_(x)
        below -= layer.backward(s, w_plus).mul_(l)
        below -= layer.backward(s, w_minus).mul_(h)
        return Share((below,), eps=eps)


@dataclass(frozen=True)
class Pass(Rule):
    """R_i = R_i of the output: relevance is handed down unchanged, where input and output match in shape."""

    fits: ClassVar[frozenset[str]] = LINEAR | {"max_pool", "activation"}
    can: ClassVar[frozenset[str]] = LINEAR | {"max_pool", "activation"}


@dataclass(frozen=True)
class Own(Rule):
    """What an op does by its nature, whatever the composite says; its name is for the plan to show."""

    name: str = ""
    can: ClassVar[frozenset[str]] = frozenset()
    fits: ClassVar[frozenset[str]] = frozenset()

    def __str__(self) -> str:
        """Its name."""
        return self.name
