"""What a rule is, what it sees of a layer, and what it makes of the relevance that comes from above.

Notation (Kohlbrenner et al., 2020): a layer has inputs x_i, weights w_ij, biases b_j; z_ij = x_i w_ij;
z_j = sum_i z_ij + b_j; z^+ = max(z, 0) and z^- = min(z, 0) are taken term by term. R_j is the relevance
that comes from above, R_i what the rule hands down. In the code `s` is always relevance divided by a
denominator, and `layer.backward(s, w)` is sum_j w_ij s_j.

A rule sees a layer only through `Layer`, so every rule serves every kind of linear op.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, Protocol

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
class Own(Rule):
    """What an op does by its nature, whatever the composite says; its name is for the plan to show."""

    name: str = ""
    can: ClassVar[frozenset[str]] = frozenset()
    fits: ClassVar[frozenset[str]] = frozenset()

    def __str__(self) -> str:
        """Its name."""
        return self.name
