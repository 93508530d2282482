"""LRP's methods by name: the paper's configurations and the presets in common use, each a composite of rules.

`table` lists them, with the options that each takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from relprop.catalogue.backprop import Deconvnet, GuidedBackprop
from relprop.catalogue.options import parse_options
from relprop.catalogue.pattern_rules import pattern_attribution, pattern_net
from relprop.catalogue.patterns import Patterns, patterns_for
from relprop.catalogue.table import METHODS
from relprop.composites import on
from relprop.composites.composite import Composite
from relprop.composites.on import Selector
from relprop.rules.layer import Rule
from relprop.rules.lrp import AlphaBeta, Epsilon, Flat, Gamma, Z, ZBox, ZPlus
from relprop.rules.norms import Absolute, Apart

Bound = float | tuple[float, ...] | None


@dataclass(frozen=True)
class Options:
    """What a preset is built from: what follows the colon in its name, and what is known of the model.

    Attributes:
        layers: how many of the lowest convolutions the flat rule covers, or "stack": every convolution,
            pool and addition before the first fully connected op.
        eps: epsilon of the epsilon rule, where it was given.
        usual: epsilon where it was not.
        head: a module path (with wildcards) that names the fully connected ops, instead of the computation.
        low, high: the bounds of zB; from the model's preprocessing where not given.
        patterns: a file of patterns; the model's own `.patterns` where not given.
        conv, linear: gamma in convolutions and in linear layers.
        gamma: both.
        through: what of attention takes relevance, "all" or "values".
        bias: of alpha-beta and z+: "on", in the denominators; "off", none; "apart", each on its own behind its layer.
        projections: whether gamma is also for the layers that make queries, keys and values, and that read what
            attention gives: "on" or "off".
        model: what is to be explained, no option of the user's.
    """

    layers: int | str = 1
    eps: float | None = None
    usual: float = 1e-6
    head: str | None = None
    low: Bound = None
    high: Bound = None
    patterns: str | None = None
    conv: float | None = None
    linear: float | None = None
    gamma: float | None = None
    through: str | None = None
    projections: str | None = None
    bias: str = "on"
    model: Any = None

    @property
    def epsilon(self) -> float:
        """Epsilon of the epsilon rule."""
        return self.usual if self.eps is None else self.eps

    @property
    def fully_connected(self) -> Selector:
        """The fully connected ops."""
        return on.head if self.head is None else on.path(self.head)


Preset = Callable[[Options], Composite]


def everywhere(rule: Callable[[Options], Rule], selector: Selector = on.any, start: str | None = None) -> Preset:
    """One rule wherever the selector says."""
    return lambda options: Composite([(selector, rule(options))], start=start)


def biased(rule: Callable[..., Rule]) -> Callable[[Options], Rule]:
    """A rule with what becomes of biases: in its denominators, left out, or each on its own behind its layer."""

    def chosen(options: Options) -> Rule:
        if options.bias == "off":
            return rule(bias=False)
        return Apart(rule(), Absolute()) if options.bias == "apart" else rule()

    return chosen


alpha1, alpha2 = (biased(partial(AlphaBeta, alpha)) for alpha in (1, 2))
z_plus = biased(ZPlus)


def layered(
    conv: Callable[[Options], Rule], input_layer: Callable[[Options], list[tuple[Selector, Rule]]] | None = None
) -> Preset:
    """LRP_CMP: epsilon in the fully connected layers, another rule below, perhaps a third in the input layer."""
    return lambda options: Composite(
        [
            *(input_layer(options) if input_layer else []),
            (options.fully_connected, Epsilon(options.epsilon)),
            *([(on.norm, Absolute())] if options.bias == "apart" else []),
            (on.weighted, conv(options)),
        ]
    )


def flat(options: Options) -> list[tuple[Selector, Rule]]:
    """The flat rule in the input layer, the lowest n convolutions, or the whole convolution stack.

    Not where it is fully connected: a network of linear layers is explained without it, as the plan shows.
    """
    if options.layers == 0:
        return []
    entries: list[tuple[Selector, Rule]] = [(on.first(1) & ~options.fully_connected, Flat())]
    if options.layers == "stack":
        stack = (on.conv | on.pool | on.add | on.norm) & ~options.fully_connected
        entries.append((on.before(options.fully_connected, of=stack), Flat()))
    elif options.layers != 1:
        entries.append((on.first(int(options.layers), of=on.conv & ~options.fully_connected), Flat()))
    return entries


def zbox(options: Options) -> list[tuple[Selector, Rule]]:
    """The rule for bounded inputs in the input layer."""
    return [(on.first(1), ZBox(options.low, options.high))]


lrp_z = everywhere(lambda _: Z())
lrp_epsilon = everywhere(lambda options: Epsilon(options.epsilon))
lrp_alpha1 = everywhere(alpha1, on.weighted)
lrp_alpha2 = everywhere(alpha2, on.weighted)

cmp_alpha1 = layered(alpha1)
cmp_alpha2 = layered(alpha2)
cmp_alpha1_flat = layered(alpha1, flat)
cmp_alpha2_flat = layered(alpha2, flat)
cmp_alpha1_zbox = layered(alpha1, zbox)
cmp_alpha2_zbox = layered(alpha2, zbox)


def cmp_alpha2_flat_apart(options: Options) -> Composite:
    """The paper's best with each bias on its own behind its layer, for networks with BatchNorm."""
    return cmp_alpha2_flat(replace(options, bias="apart"))


epsilon_gamma_box = layered(lambda _: Gamma(0.25), zbox)
epsilon_plus = layered(z_plus)
epsilon_plus_flat = layered(z_plus, flat)

guided_backprop = everywhere(lambda _: GuidedBackprop(), start="one")
deconvnet = everywhere(lambda _: Deconvnet(), start="one")
excitation_backprop = everywhere(lambda _: AlphaBeta(1, bias=False), on.weighted, start="one")


def learned_signal(options: Options) -> Composite:
    """PatternNet."""
    return pattern_net(patterns_for(options.model, options.patterns, "pattern-net"))


def learned_attribution(options: Options) -> Composite:
    """Pattern Attribution."""
    return pattern_attribution(patterns_for(options.model, options.patterns, "pattern-attribution"))


def patterns_named(name: str, model: Any) -> Patterns | None:
    """The patterns that a method explains a model with; None where it needs none.

    Raises:
        InputError: it needs some, and there are none, or they are another network's.
    """
    base, _, text = name.partition(":")
    if base not in METHODS or "patterns" not in METHODS[base].options:
        return None
    return patterns_for(model, parse_options(name, text, METHODS[base].options).get("patterns"), base)
