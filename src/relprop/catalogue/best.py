"""Best practice where no method is named: what the measurements favour for what the model is made of."""

from __future__ import annotations

from collections.abc import Sequence

from relprop.catalogue.table import BEST, BEST_FOR_TEXTS, BEST_WHERE_IT_ATTENDS
from relprop.record.inputs import Inputs
from relprop.rules.layer import Kind
from relprop.tape.tape import Node
from relprop.tokens import is_text


def best_practice(nodes: Sequence[Node], inputs: Inputs) -> tuple[str, str]:
    """A method's name, and why it is the one.

    Args:
        nodes: the calls that the output depends on.
        inputs: what goes into the model.
    """
    if is_text(inputs):
        return BEST_FOR_TEXTS, "it reads tokens, and no other method was never behind the best (docs/transformers.md)"
    if attends(nodes):
        return BEST_WHERE_IT_ATTENDS, "it attends, and flipping favours this one there (docs/transformers.md)"
    return BEST, "it does not attend, and the paper's best is for convolutions"


def attends(nodes: Sequence[Node]) -> bool:
    """Whether one of the calls is attention, or softmax and a product of two matrices of values are among them."""
    kinds = {node.kind for node in nodes}
    return Kind.ATTENTION in kinds or {Kind.SOFTMAX, Kind.BILINEAR} <= kinds
