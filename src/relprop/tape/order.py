"""What lies before and after a call, by how values depend on each other and not by when it ran.

A loop over pictures, or a network shown two pictures one after the other, has several first layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet

from relprop.tape.tape import Node, Value

Ends = Callable[[Node], tuple[Value, ...]]


def before(nodes: Sequence[Node], chosen: AbstractSet[Node]) -> dict[Node, int]:
    """For each node how many of the chosen lie on the longest way from the input to it.

    Args:
        nodes: in order of execution.
        chosen: some of them.
    """
    return _longest(nodes, chosen, lambda node: node.inputs, lambda node: node.outputs)


def after(nodes: Sequence[Node], chosen: AbstractSet[Node]) -> dict[Node, int]:
    """For each node how many of the chosen lie on the longest way from it to the output; arguments as for `before`."""
    return _longest(nodes[::-1], chosen, lambda node: node.outputs, lambda node: node.inputs)


def _longest(nodes: Iterable[Node], chosen: AbstractSet[Node], near: Ends, far: Ends) -> dict[Node, int]:
    met: dict[Value, int] = {}
    found: dict[Node, int] = {}
    for node in nodes:
        found[node] = max((met.get(value, 0) for value in near(node)), default=0)
        beyond = found[node] + (node in chosen)
        for value in far(node):
            met[value] = max(met.get(value, 0), beyond)
    return found
