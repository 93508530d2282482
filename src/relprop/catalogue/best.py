"""Best practice where no method is named: what the measurements favour for what the model is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from relprop.catalogue.names import resolve
from relprop.catalogue.table import BEST, BEST_FOR_TEXTS, BEST_WHERE_IT_ATTENDS, BEST_WITH_BATCHNORM
from relprop.composites.composite import Composite
from relprop.composites.profiles import Profile
from relprop.record.acceptance import Model
from relprop.record.inputs import Inputs
from relprop.rules.layer import Kind
from relprop.tape.tape import Node
from relprop.tokens import is_text


class Best(NamedTuple):
    """The method that was chosen: its name, why it is the one, and its rules."""

    name: str
    why: str
    composite: Composite


def best_practice(nodes: Sequence[Node], inputs: Inputs, model: Model, profile: Profile) -> Best:
    """The method for a model that has run.

    Args:
        nodes: the calls that the output depends on.
        inputs: what goes into the model.
        model: it may know the bounds of its input.
        profile: whose conventions the method follows.
    """
    name, why = _named(nodes, inputs)
    composite = resolve(name, model, profile)
    assert isinstance(composite, Composite)
    return Best(name, why, composite)


def _named(nodes: Sequence[Node], inputs: Inputs) -> tuple[str, str]:
    """A method's name, and why it is the one."""
    if is_text(inputs):
        return BEST_FOR_TEXTS, "it reads tokens, and no other method was never behind the best (docs/transformers.md)"
    if attends(nodes):
        return BEST_WHERE_IT_ATTENDS, "it attends, and flipping favours this one there (docs/transformers.md)"
    if normalises_batches(nodes):
        return BEST_WITH_BATCHNORM, "it has BatchNorm, whose shifts are large biases (docs/batchnorm.md)"
    return BEST, "it does not attend, and the paper's best is for convolutions"


def attends(nodes: Sequence[Node]) -> bool:
    """Whether one of the calls is attention, or softmax and a product of two matrices of values are among them."""
    kinds = {node.kind for node in nodes}
    return Kind.ATTENTION in kinds or {Kind.SOFTMAX, Kind.BILINEAR} <= kinds


def normalises_batches(nodes: Sequence[Node]) -> bool:
    """Whether a BatchNorm is among the calls, merged or not, that is no mere normalisation of the input."""
    return any(node.op.name == "batch_norm" and node.inputs[0].after_weighted for node in nodes)
