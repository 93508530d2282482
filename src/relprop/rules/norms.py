"""Rules for networks with BatchNorm, whose shifts are large biases: the bias on its own, and shares by size.

To a rule a layer and the BatchNorm that alone reads it are one layer, w scaled, and the shift with what is left of the
layer's own bias is b; so it is where BatchNorm was folded into the weights, which nobody can tell then. `Apart` sees
the bias as an op of its own behind the layer, in both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from relprop.rules.layer import LINEAR, Layer, Rule, Share, Zero
from relprop.rules.lrp import Pass
from relprop.support.errors import RuleError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Absolute(Rule):
    """Shares by size: R_i = sum_j abs(z_ij) / (sum_i abs(z_ij) + abs(b_j)) R_j.

    Nothing cancels, so no share is above 1. For BatchNorm, y = scale x + shift, after Hui and Binder (2019), "BatchNorm
    Decomposition for Deep Neural Network Interpretation", who found epsilon, alpha-beta and passing to fail there.

    Attributes:
        eps: stabiliser of the denominator.
    """

    eps: float = 0.0
    can: ClassVar[frozenset[str]] = LINEAR

    def share(self, layer: Layer, R: Tensor) -> Share:
        """See the class."""
        plus, minus = layer.signed([+1, -1], bias=True)
        s, eps = layer.quotient(R, plus - minus, self.eps)
        bias = layer.dot(s, None if layer.b is None else layer.b.abs())
        return Share((layer.signed_backward([s, -s], [+1, -1]),), bias, eps, zero=Zero.WITH_INPUT)


@dataclass(frozen=True, eq=False)
class Apart(Rule):
    """A layer in two steps: y_j = z_j + b_j by one rule, z_j = sum_i z_ij by another, which sees no bias.

    The first says what the bias keeps of R_j, the second hands down what is left. That is BatchNorm on its own behind
    the layer, up to the sign of its scale, which goes with the weights. Whether the shift comes after the scale,
    s z + t, or before it, s (z + t / s), shares do not tell. A layer without a bias goes by the second alone.

    Attributes:
        layer: rule of the layer without its bias.
        bias: rule of z_j + b_j, a layer of one input. `Pass`: the bias keeps nothing. `Epsilon`: b_j / y_j of R_j is
            its own, without bound where z_j and b_j cancel. `Absolute`: in proportion to their sizes, at most all.

    Example:
        >>> import relprop as rp
        >>> conv = rp.rules.Apart(rp.rules.AlphaBeta(2), rp.rules.Absolute())
        >>> rp.Composite([(rp.on.head, rp.rules.Epsilon()), (rp.on.conv, conv)])  # doctest: +ELLIPSIS
        Composite([
            (on.head, Epsilon(eps=1e-06)),
            (on.conv, Apart(layer=AlphaBeta(alpha=2, ...), bias=Absolute(...))),
        ])
    """

    layer: Rule
    bias: Rule = field(default_factory=Absolute)

    def __post_init__(self) -> None:
        if isinstance(self.layer, Pass) or not (self.layer.conserves and self.bias.conserves):
            raise RuleError(
                f"{self}: its rules hand down what a layer's inputs or its bias have a share in; give one such as "
                f"AlphaBeta(2) for the layer, and Pass, Epsilon or Absolute for the bias"
            )

    @property
    def sides(self) -> int:
        """Of the layer's rule."""
        return self.layer.sides

    def _says(self, name: str) -> bool:
        return name in ("layer", "bias")

    def share(self, layer: Layer, R: Tensor) -> Share:
        """See the class."""
        both = layer.apart()
        if both is None:
            return self.layer.share(layer, R)
        bare, shifted = both
        upper = Share((R,)) if isinstance(self.bias, Pass) else self.bias.share(shifted, R)
        (middle,) = upper.relevance
        assert middle is not None
        below = self.layer.share(bare, middle)
        return Share(
            below.relevance, upper.bias + below.bias, upper.eps + below.eps, upper.lost + below.lost, zero=below.zero
        )
