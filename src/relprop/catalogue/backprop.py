"""Methods that carry the gradient, with another rule at the activations: Guided Backprop and Deconvnet.

They are rules of the same engine, so they work on functional ReLUs too, and leave the model alone. They start at one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from relprop.ops.vjp import vjp
from relprop.rules.layer import LINEAR, Layer, Rule, Share
from relprop.tape.trees import float_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from relprop.ops.context import Context
    from relprop.tape.tape import Node

DERIVED = frozenset({"activation", "add", "product"})
"""Kinds of op that hand relevance down otherwise than a gradient."""


@dataclass(frozen=True)
class Backprop(Rule):
    """The gradient: R_i = sum_j dz_j / dx_i R_j, through gates as well."""

    fits: ClassVar[frozenset[str]] = LINEAR | DERIVED | {"max_pool"}
    can: ClassVar[frozenset[str]] = fits
    everywhere: ClassVar[bool] = True

    def share(self, layer: Layer, R: Tensor) -> Share:
        """sum_j w_ij R_j."""
        return Share((layer.backward(R, layer.w),))

    def at_activation(self, node: Node, R: Tensor, context: Context) -> Tensor:
        """What the activation hands down."""
        return derivative(node, [R], context)[0]


@dataclass(frozen=True)
class GuidedBackprop(Backprop):
    """The gradient, of which only the positive part passes an activation.

    Springenberg et al. (2015).
    """

    def at_activation(self, node: Node, R: Tensor, context: Context) -> Tensor:
        """The gradient of the positive part."""
        return derivative(node, [R.clamp(min=0)], context)[0]


@dataclass(frozen=True)
class Deconvnet(Backprop):
    """The gradient, with the activation applied to what comes from above instead of its derivative.

    Zeiler and Fergus (2014), for ReLU.
    """

    def at_activation(self, node: Node, R: Tensor, context: Context) -> Tensor:
        """The positive part, whether or not the unit was active."""
        del node, context
        return R.clamp(min=0)


def derived(node: Node, rule: Backprop, R: list[Tensor], context: Context) -> Share:
    """Hand a gradient down through an op that relevance has a way of its own through."""
    if node.kind == "activation":
        return Share((rule.at_activation(node, R[0], context), *[None] * (len(node.inputs) - 1)))
    return Share(derivative(node, R, context))


def derivative(node: Node, R: list[Tensor], context: Context) -> tuple[Tensor, ...]:
    """The vector-Jacobian product of a node."""
    inputs = [context.data(value) for value in node.inputs]
    return vjp(lambda *leaves: float_tensors(node.call(leaves, context.dtype)), inputs, R)
