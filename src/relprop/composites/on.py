"""Selectors: which ops of a recorded forward pass a composite means. `rp.on.conv`, `rp.on.first(3)`, ...

By kind of op, by module path, by order of execution; combined with & | ~.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from relprop.support.errors import RuleError
from relprop.support.suggest import did_you_mean

if TYPE_CHECKING:
    from relprop.tape.tape import Node

PATHS = "; relprop.plan and `relprop plan` show every path"
"""Where to look for one."""

Select = Callable[[Sequence["Node"]], "set[Node]"]


@dataclass(frozen=True)
class Selector:
    """Picks nodes out of those that the output depends on, given in order of execution.

    Attributes:
        text: as it was written, for people.
        select: nodes to the ones that are meant.
        kinds: the kinds of op that it asks for by name.
    """

    text: str
    select: Select
    kinds: frozenset[str] = frozenset()

    def __and__(self, other: Selector) -> Selector:
        """What both mean."""
        return Selector(
            f"({self} & {other})",
            lambda nodes: self.select(nodes) & other.select(nodes),
            self.kinds | other.kinds,
        )

    def __or__(self, other: Selector) -> Selector:
        """What either means."""
        return Selector(
            f"({self} | {other})",
            lambda nodes: self.select(nodes) | other.select(nodes),
            self.kinds | other.kinds,
        )

    def __invert__(self) -> Selector:
        """All the others."""
        return Selector(f"~{self}", lambda nodes: set(nodes) - self.select(nodes))

    def __str__(self) -> str:
        """As it was written."""
        return self.text

    __repr__ = __str__


def _kind(text: str, *kinds: str) -> Selector:
    return Selector(text, lambda nodes: {n for n in nodes if n.kind in kinds}, frozenset(kinds))


conv = _kind("on.conv", "conv")
"""Convolutions and transposed convolutions."""
linear = _kind("on.linear", "linear")
"""Linear layers and matrix products."""
weighted = Selector("on.weighted", (conv | linear).select)
"""Both."""
head = Selector("on.head", lambda nodes: {n for n in nodes if n.head})
"""Fully connected by the computation: linear ops, a convolution whose kernel covers its whole input, and a
1x1 convolution that is the last weighted op."""
pool = _kind("on.pool", "avg_pool", "max_pool")
"""Pools, means and sums."""
add = _kind("on.add", "add")
"""Additions and differences."""
norm = _kind("on.norm", "norm")
"""BatchNorm that is not merged into the layer before it."""
activation = _kind("on.activation", "activation")
"""Activations."""
any = Selector("on.any", set)  # noqa: A001  (rp.on.any is the public name)
"""Every op."""


def path(glob: str) -> Selector:
    """Ops by the path of the module that calls them, with the wildcards of file names: "features.*".

    Raises:
        RuleError: when used, if no op of the model has such a path.
    """

    def select(nodes: Sequence[Node]) -> set[Node]:
        found = {n for n in nodes if fnmatchcase(n.path, glob)}
        if not found:
            paths = list(dict.fromkeys(n.path for n in nodes if n.path))
            raise RuleError(f"on.path({glob!r}) matches no op of this model{did_you_mean(glob, paths) or PATHS}")
        return found

    return Selector(f"on.path({glob!r})", select)


def first(n: int = 1, of: Selector = weighted) -> Selector:
    """The first n of what another selector means, in order of execution."""
    return Selector(f"on.first({n}, of={of})", lambda nodes: set(_ordered(of, nodes)[:n]))


def last(n: int = 1, of: Selector = weighted) -> Selector:
    """The last n of what another selector means, in order of execution."""
    return Selector(f"on.last({n}, of={of})", lambda nodes: set(_ordered(of, nodes)[-n:]) if n else set())


def before(boundary: Selector, of: Selector = any) -> Selector:
    """What comes before the first op that another selector means; everything if it means none."""

    def select(nodes: Sequence[Node]) -> set[Node]:
        end = min((n.index for n in boundary.select(nodes)), default=float("inf"))
        return {n for n in of.select(nodes) if n.index < end}

    return Selector(f"on.before({boundary}, of={of})", select)


def _ordered(selector: Selector, nodes: Sequence[Node]) -> list[Node]:
    return sorted(selector.select(nodes), key=lambda n: n.index)
