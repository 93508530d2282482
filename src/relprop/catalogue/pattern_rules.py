"""PatternNet and Pattern Attribution: the gradient's way back with learned patterns in the place of the weights.

Kindermans et al. (2018), section 4.3. Both start from the output neuron's value, as the paper and its authors' code
do (section 3: r_i = y), so that a linear neuron gives its signal a y, or the attribution w a y.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from relprop.catalogue.backprop import Backprop
from relprop.catalogue.patterns import HOW, PatternError, Patterns
from relprop.composites import on
from relprop.composites.composite import Composite
from relprop.composites.on import Selector
from relprop.ops.weighted import weight_of
from relprop.rules.division import divide
from relprop.rules.layer import WEIGHTED, Call, Kind, Layer, Rule, Share
from relprop.rules.lrp import Pass
from relprop.tape.tape import Node


@dataclass(frozen=True, eq=False)
class PatternNet(Backprop):
    """The signal: R_i = sum_j a_ij R_j, with the layer's learned pattern a.

    Attributes:
        patterns: the network's.
        layer: which of them, by its key.
    """

    patterns: Patterns = field(repr=False)
    layer: str

    def share(self, layer: Layer, R: Tensor) -> Share:
        """See the class."""
        return Share((layer.backward(R, self.weight(layer)),))

    def weight(self, layer: Layer) -> Tensor:
        """What stands in the place of w."""
        return self.patterns.layers[self.layer].a.to(layer.w)


@dataclass(frozen=True, eq=False)
class PatternAttribution(PatternNet):
    """The attribution: R_i = sum_j w_ij a_ij R_j.

    Where w^T a = 1 it hands on all that comes from above, but for what padding would get.
    """

    def weight(self, layer: Layer) -> Tensor:
        """Element by element."""
        return super().weight(layer) * layer.w


@dataclass(frozen=True, eq=False)
class AsGradient(Backprop):
    """The gradient, where nothing is learned; local response normalisation passes, as in the authors' code."""

    def at_activation(self, call: Call, R: Tensor) -> Tensor:
        """The gradient, or R as it came."""
        return R if call.name == "local_response_norm" else super().at_activation(call, R)


@dataclass(frozen=True, eq=False)
class Inverse(Backprop):
    """R_i = R_j / w_i: the pattern of a neuron with one input is 1 / w, whatever the data."""

    fits: ClassVar[frozenset[str]] = frozenset({Kind.NORM})
    can: ClassVar[frozenset[str]] = fits

    def share(self, layer: Layer, R: Tensor) -> Share:
        """See the class."""
        return Share((divide(R, layer.w),))


def pattern_net(patterns: Patterns) -> Composite:
    """PatternNet with these patterns."""
    return _composite(PatternNet, Inverse(), patterns)


def pattern_attribution(patterns: Patterns) -> Composite:
    """Pattern Attribution with these patterns."""
    return _composite(PatternAttribution, Pass(), patterns)


def _composite(rule: type[PatternNet], norm: Rule, patterns: Patterns) -> Composite:
    """A rule for each layer; a BatchNorm that is a layer of its own; the gradient through all else."""
    layers: list[tuple[Selector, Rule]] = [(LayerOfKey(key), rule(patterns, key)) for key in patterns.layers]
    return Composite([(on.norm, norm), (NoLayer(patterns), AsGradient()), *layers])


def keyed(nodes: Sequence[Node]) -> Iterator[tuple[str, Node]]:
    """Every call of a weighted op by its key (see `Patterns.layers`), in order of execution."""
    calls: Counter[str] = Counter()
    for node in nodes:
        if node.kind in WEIGHTED:
            calls[node.path] += 1
            yield f"{node.path}#{calls[node.path]}", node


@dataclass(frozen=True, repr=False)
class LayerOfKey(Selector):
    """The call of a weighted op that has this key."""

    key: str

    def select(self, nodes: Sequence[Node]) -> set[Node]:
        """By key."""
        return {node for key, node in keyed(nodes) if key == self.key}

    def __str__(self) -> str:
        return f"layer {self.key}"


@dataclass(frozen=True, repr=False)
class NoLayer(Selector):
    """What is no layer; layers without a pattern of their shape are refused."""

    patterns: Patterns

    def select(self, nodes: Sequence[Node]) -> set[Node]:
        """By kind.

        Raises:
            PatternError: a layer has no pattern of its shape.
        """
        for key, node in keyed(nodes):
            _demand(self.patterns, key, node)
        return {node for node in nodes if node.kind not in WEIGHTED}

    def __str__(self) -> str:
        return "~on.weighted"


def _demand(patterns: Patterns, key: str, node: Node) -> None:
    found = patterns.layers.get(key)
    if found is None:
        raise PatternError(
            f"{patterns.source}: no pattern for {node.where} ({key}), which no input ran through when they were "
            f"fitted; {HOW}"
        )
    own = tuple(weight_of(node).shape)
    if found.a.shape != own:
        raise PatternError(
            f"{patterns.source}: the pattern of {key} has shape {tuple(found.a.shape)}, its weight {own}; {HOW}"
        )
