"""Rules for networks with BatchNorm: the shift and the layer before it as two ops, and shares by size.

A layer and the BatchNorm that alone reads it are one layer to a rule, w scaled and the shift its bias. `Apart` sees
them as the two that they are written as.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from relprop.rules.layer import LINEAR, Layer, Rule, Share, Zero
from relprop.rules.lrp import Pass

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Absolute(Rule):
    """Shares by size: R_i = sum_j abs(z_ij) / (sum_i abs(z_ij) + abs(b_j)) R_j.

    Nothing cancels, so no share is above 1. On a BatchNorm y = scale x + shift it is the rule that Hui and Binder
    (2019), "BatchNorm Decomposition for Deep Neural Network Interpretation", propose for it.

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
    """A layer by one rule and the BatchNorm merged into it by another, first the norm, then the layer as it was.

    Without a BatchNorm behind it the layer goes by its rule alone.

    Attributes:
        layer: rule of the layer, its own bias included.
        norm: rule of y = scale z + shift. `Pass`: the shift takes nothing. `Epsilon`: scale z / y, without bound where
            shift and scale z cancel. `Absolute`: at most all.

    Example:
        >>> import relprop as rp
        >>> conv = rp.rules.Apart(rp.rules.AlphaBeta(2), rp.rules.Absolute())
        >>> rp.Composite([(rp.on.head, rp.rules.Epsilon()), (rp.on.conv, conv)])
        Composite([
            (on.head, Epsilon(eps=1e-06)),
            (on.conv, Apart(layer=AlphaBeta(alpha=2), norm=Absolute())),
        ])
    """

    layer: Rule
    norm: Rule = field(default_factory=Pass)

    @property
    def sides(self) -> int:
        """Of the layer's rule."""
        return self.layer.sides

    def _says(self, name: str) -> bool:
        return name in ("layer", "norm")

    def share(self, layer: Layer, R: Tensor) -> Share:
        """See the class."""
        both = layer.apart()
        if both is None:
            return self.layer.share(layer, R)
        inner, norm = both
        upper = Share((R,)) if isinstance(self.norm, Pass) else self.norm.share(norm, R)
        (middle,) = upper.relevance
        assert middle is not None
        below = self.layer.share(inner, middle)
        return Share(
            below.relevance, upper.bias + below.bias, upper.eps + below.eps, upper.lost + below.lost, zero=below.zero
        )
