"""What is proved of a call's output: that it holds no negative number."""

from __future__ import annotations

from relprop.tape.tape import Node


def always(node: Node) -> bool:
    """The output is never negative."""
    del node
    return True


def where_inputs_are(node: Node) -> bool:
    """The output is not negative where the inputs are not."""
    return not node.constants and all(value.nonneg for value in node.inputs)
