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


Passes = Callable[[Node], bool]
"""Whether a way goes on through a node."""


def nearest_before(
    nodes: Sequence[Node], ends: AbstractSet[Node], wanted: AbstractSet[Node], passes: Passes
) -> set[Node]:
    """The wanted nodes from which a way leads to one of the ends, through what it passes and none of the wanted."""
    return _nearest(nodes[::-1], ends, wanted, passes, lambda node: node.outputs, lambda node: node.inputs)


def nearest_after(
    nodes: Sequence[Node], ends: AbstractSet[Node], wanted: AbstractSet[Node], passes: Passes
) -> set[Node]:
    """The wanted nodes to which a way leads from one of the ends, likewise."""
    return _nearest(nodes, ends, wanted, passes, lambda node: node.inputs, lambda node: node.outputs)


def _nearest(
    nodes: Iterable[Node], ends: AbstractSet[Node], wanted: AbstractSet[Node], passes: Passes, near: Ends, far: Ends
) -> set[Node]:
    on_way: set[Value] = set()
    found: set[Node] = set()
    for node in nodes:
        if node in ends:
            on_way.update(far(node))
        elif not on_way.isdisjoint(near(node)):
            if node in wanted:
                found.add(node)
            elif passes(node):
                on_way.update(far(node))
    return found
