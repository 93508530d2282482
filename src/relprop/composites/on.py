"""Selectors: which ops of a recorded forward pass a composite means. `rp.on.conv`, `rp.on.first(3)`, ...

By kind of op, by module path, by what lies before and after; combined with & | ~.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from relprop.rules.layer import Kind
from relprop.support.errors import RuleError
from relprop.support.suggest import did_you_mean
from relprop.tape import order
from relprop.tape.tape import Node

__all__ = [
    "Selector",
    "activation",
    "add",
    "any",
    "attention",
    "before",
    "conv",
    "first",
    "head",
    "last",
    "layer_norm",
    "linear",
    "norm",
    "path",
    "pool",
    "product",
    "projection",
    "weighted",
]


def __dir__() -> list[str]:
    return __all__


@dataclass(frozen=True)
class Selector:
    """Picks nodes out of those that the output depends on. Selectors that are built alike are equal."""

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of op that it asks for by name."""
        return frozenset()

    def select(self, nodes: Sequence[Node]) -> set[Node]:
        """Those of the nodes, given in order of execution, that are meant."""
        raise NotImplementedError

    def __and__(self, other: Selector) -> Selector:
        """What both mean."""
        return Both(self, other)

    def __or__(self, other: Selector) -> Selector:
        """What either means."""
        return Either(self, other)

    def __invert__(self) -> Selector:
        """All the others."""
        return Others(self)

    def __repr__(self) -> str:
        """As it was written."""
        return str(self)


@dataclass(frozen=True, repr=False)
class OfKind(Selector):
    """Ops of some kinds, by the name that `rp.on` gives them."""

    name: str
    asked: frozenset[str]
    by_name: bool = True
    """Whether a rule that can, but is not made to, serve these kinds does so here."""

    @property
    def kinds(self) -> frozenset[str]:
        """All of them."""
        return self.asked if self.by_name else frozenset()

    def select(self, nodes: Sequence[Node]) -> set[Node]:
        """By kind."""
        return {n for n in nodes if n.kind in self.asked}

    def __str__(self) -> str:
        return f"on.{self.name}"


@dataclass(frozen=True, repr=False)
class FullyConnected(Selector):
    """`rp.on.head`."""

    def select(self, nodes: Sequence[Node]) -> set[Node]:
        """By what `record.prepare` found of the computation."""
        return {n for n in nodes if n.head}

    def __str__(self) -> str:
        return "on.head"


@dataclass(frozen=True, repr=False)
class Everything(Selector):
    """`rp.on.any`."""

    def select(self, nodes: Sequence[Node]) -> set[Node]:
        """All of them."""
        return set(nodes)

    def __str__(self) -> str:
        return "on.any"


@dataclass(frozen=True, repr=False)
class OnPath(Selector):
    """`rp.on.path`."""

    glob: str

    def select(self, nodes: Sequence[Node]) -> set[Node]:
        """By module path.

        Raises:
            RuleError: no op has such a path.
        """
        found = {n for n in nodes if fnmatchcase(n.path, self.glob)}
        if not found:
            paths = list(dict.fromkeys(n.path for n in nodes if n.path))
            raise RuleError(f"{self} matches no op of this model{did_you_mean(self.glob, paths) or WHERE_PATHS_ARE}")
        return found

    def __str__(self) -> str:
        return f"on.path({self.glob!r})"


@dataclass(frozen=True, repr=False)
class First(Selector):
    """`rp.on.first`."""

    n: float
    of: Selector

    def select(self, nodes: Sequence[Node]) -> set[Node]:
        """By what lies before them."""
        chosen = self.of.select(nodes)
        depth = order.before(nodes, chosen)
        return _up_to(self.n, {node: depth[node] for node in chosen})

    def __str__(self) -> str:
        return f"on.first({self.n}, of={self.of})"


@dataclass(frozen=True, repr=False)
class Last(Selector):
    """`rp.on.last`."""

    n: float
    of: Selector

    def select(self, nodes: Sequence[Node]) -> set[Node]:
        """By what lies after them."""
        chosen = {node for node in self.of.select(nodes) if not node.beyond}
        depth = order.after(nodes, chosen)
        return _up_to(self.n, {node: depth[node] for node in chosen})

    def __str__(self) -> str:
        return f"on.last({self.n}, of={self.of})"


def _up_to(n: float, depth: dict[Node, int]) -> set[Node]:
    """Those of a depth below n, or, where n is a share, below that share of the greatest depth, rounded up."""
    most = math.ceil(n * (max(depth.values(), default=0) + 1)) if 0 < n < 1 else n
    return {node for node, at in depth.items() if at < most}


@dataclass(frozen=True, repr=False)
class Before(Selector):
    """`rp.on.before`."""

    boundary: Selector
    of: Selector

    def select(self, nodes: Sequence[Node]) -> set[Node]:
        """By what lies before them."""
        boundary = self.boundary.select(nodes)
        depth = order.before(nodes, boundary)
        return {node for node in self.of.select(nodes) if depth[node] == 0 and node not in boundary}

    def __str__(self) -> str:
        return f"on.before({self.boundary}, of={self.of})"


@dataclass(frozen=True, repr=False)
class Projections(Selector):
    """`rp.on.projection`."""

    def select(self, nodes: Sequence[Node]) -> set[Node]:
        """By what they feed, and what they read, with no other layer between."""
        attending = {n for n in nodes if n.kind in ATTENTION}
        linear = {n for n in nodes if n.kind == Kind.LINEAR}
        feeding = order.nearest_before(nodes, attending, linear, lambda node: node.kind != Kind.CONV)
        return feeding | order.nearest_after(nodes, attending, linear, lambda node: node.kind in MOVED)

    def __str__(self) -> str:
        return "on.projection"


ATTENTION = frozenset({Kind.ATTENTION, Kind.SOFTMAX, Kind.BILINEAR})
MOVED = frozenset({Kind.MOVE, Kind.PRODUCT})


@dataclass(frozen=True, repr=False)
class Both(Selector):
    """a & b."""

    a: Selector
    b: Selector

    @property
    def kinds(self) -> frozenset[str]:
        """Of both."""
        return self.a.kinds | self.b.kinds

    def select(self, nodes: Sequence[Node]) -> set[Node]:
        """What both mean."""
        return self.a.select(nodes) & self.b.select(nodes)

    def __str__(self) -> str:
        return f"({self.a} & {self.b})"


@dataclass(frozen=True, repr=False)
class Either(Selector):
    """a | b."""

    a: Selector
    b: Selector

    @property
    def kinds(self) -> frozenset[str]:
        """Of both."""
        return self.a.kinds | self.b.kinds

    def select(self, nodes: Sequence[Node]) -> set[Node]:
        """What either means."""
        return self.a.select(nodes) | self.b.select(nodes)

    def __str__(self) -> str:
        return f"({self.a} | {self.b})"


@dataclass(frozen=True, repr=False)
class Others(Selector):
    """~a."""

    a: Selector

    def select(self, nodes: Sequence[Node]) -> set[Node]:
        """What a does not mean."""
        return set(nodes) - self.a.select(nodes)

    def __str__(self) -> str:
        return f"~{self.a}"


WHERE_PATHS_ARE = "; relprop.plan and `relprop plan` show every path"


def _kinds(name: str, *kinds: Kind, by_name: bool = True) -> Selector:
    return OfKind(name, frozenset(kinds), by_name)


conv = _kinds("conv", Kind.CONV)
"""Convolutions and transposed convolutions."""
linear = _kinds("linear", Kind.LINEAR)
"""Linear layers and matrix products."""
weighted = _kinds("weighted", Kind.CONV, Kind.LINEAR, by_name=False)
"""Both."""
head = FullyConnected()
"""Fully connected by the computation: linear ops, a convolution whose kernel covers its whole input, and a
1x1 convolution that is the last weighted op."""
pool = _kinds("pool", Kind.AVG_POOL, Kind.MAX_POOL)
"""Pools, means and sums."""
add = _kinds("add", Kind.ADD)
"""Additions and differences."""
norm = _kinds("norm", Kind.NORM)
"""BatchNorm that is not merged into the layer before it."""
layer_norm = _kinds("layer_norm", Kind.LAYER_NORM)
"""LayerNorm, GroupNorm, InstanceNorm and RMSNorm: what a picture's own statistics normalise."""
product = _kinds("product", Kind.PRODUCT, Kind.BILINEAR)
"""Products, of two values or with a constant, one by one or of matrices."""
attention = _kinds("attention", *ATTENTION)
"""Attention in one call, and what it is made of: softmax, and products of two matrices of values."""
projection = Projections()
"""Linear layers that make queries, keys and values, and those that read what attention gives."""
activation = _kinds("activation", Kind.ACTIVATION)
"""Activations."""
any = Everything()  # noqa: A001  (rp.on.any is the public name)
"""Every op."""


def path(glob: str) -> Selector:
    """Ops by the path of the module that calls them, with the wildcards of file names: "features.*".

    Raises:
        RuleError: when used, if no op of the model has such a path.

    Example:
        >>> import relprop as rp
        >>> rp.on.path("features.*") & ~rp.on.path("features.0")
        (on.path('features.*') & ~on.path('features.0'))
    """
    return OnPath(glob)


def first(n: float = 1, of: Selector = weighted) -> Selector:
    """The first n of what another selector means: at most n - 1 others lie on any way from the input to them.

    An n between 0 and 1 is a share of the longest way, rounded up: on.first(1 / 3) is the lowest third. It goes by how
    the ops depend on each other: a network that is shown two pictures has two first layers.

    Example:
        >>> import relprop as rp
        >>> rp.on.first(3, of=rp.on.conv)
        on.first(3, of=on.conv)
    """
    return First(n, of)


def last(n: float = 1, of: Selector = weighted) -> Selector:
    """The last n of what another selector means: at most n - 1 others lie on any way from them to the output.

    An n between 0 and 1 is a share of the longest way, as for `first`.

    Example:
        >>> import relprop as rp
        >>> rp.on.last(of=rp.on.linear)
        on.last(1, of=on.linear)
    """
    return Last(n, of)


def before(boundary: Selector, of: Selector = any) -> Selector:
    """What no op that another selector means lies before; everything if it means none.

    Example:
        >>> import relprop as rp
        >>> rp.on.before(rp.on.head) & rp.on.conv
        (on.before(on.head, of=on.any) & on.conv)
    """
    return Before(boundary, of)
