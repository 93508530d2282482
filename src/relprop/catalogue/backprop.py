"""Methods that carry the gradient, with another rule at the activations: Guided Backprop and Deconvnet.

They are rules of the same engine, so they work on functional ReLUs too, and leave the model alone. They start at one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from relprop.rules.layer import LINEAR, SUMS, Call, Kind, Layer, Rule, Share

OTHERWISE = frozenset({Kind.ACTIVATION, Kind.PRODUCT, Kind.LAYER_NORM, Kind.SOFTMAX, *SUMS})
"""Kinds of op that hand relevance down otherwise than a gradient."""


@dataclass(frozen=True, eq=False)
class Backprop(Rule):
    """The gradient: R_i = sum_j dz_j / dx_i R_j, through gates as well."""

    fits: ClassVar[frozenset[str]] = LINEAR | OTHERWISE | {Kind.MAX_POOL}
    can: ClassVar[frozenset[str]] = fits
    everywhere: ClassVar[bool] = True
    conserves: ClassVar[bool] = False

    def share(self, layer: Layer, R: Tensor) -> Share:
        """sum_j w_ij R_j."""
        return Share((layer.backward(R, layer.w),))

    def hand_down(self, call: Call, R: list[Tensor]) -> Share | None:
        """The gradient, where relevance has a way of its own."""
        if call.kind not in OTHERWISE:
            return None
        if call.kind == Kind.ACTIVATION:
            return Share((self.at_activation(call, R[0]), *[None] * (call.inputs - 1)))
        return Share(call.gradient(R))

    def at_activation(self, call: Call, R: Tensor) -> Tensor:
        """What the activation hands down."""
        return call.gradient([R])[0]


@dataclass(frozen=True, eq=False)
class GuidedBackprop(Backprop):
    """The gradient, of which only the positive part passes an activation.

    Springenberg et al. (2015).
    """

    def at_activation(self, call: Call, R: Tensor) -> Tensor:
        """The gradient of the positive part."""
        return call.gradient([R.clamp(min=0)])[0]


@dataclass(frozen=True, eq=False)
class Deconvnet(Backprop):
    """The gradient, with the activation applied to what comes from above instead of its derivative.

    Zeiler and Fergus (2014), for ReLU.
    """

    def at_activation(self, call: Call, R: Tensor) -> Tensor:
        """The positive part, whether or not the unit was active."""
        del call
        return R.clamp(min=0)
