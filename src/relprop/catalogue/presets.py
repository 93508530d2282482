"""LRP's methods by name: the paper's configurations and the presets in common use, with their options."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from relprop.catalogue.backprop import Deconvnet, GuidedBackprop
from relprop.catalogue.pattern_rules import pattern_attribution, pattern_net
from relprop.catalogue.patterns import Patterns, patterns_for
from relprop.composites import on
from relprop.composites.composite import Composite
from relprop.composites.on import Selector
from relprop.rules.layer import Rule
from relprop.rules.lrp import AlphaBeta, Epsilon, Flat, Gamma, Z, ZBox, ZPlus
from relprop.support.errors import InputError
from relprop.support.suggest import did_you_mean

Bound = float | tuple[float, ...] | None


@dataclass(frozen=True)
class Options:
    """What may follow the colon in a method's name.

    Attributes:
        layers: how many of the lowest convolutions the flat rule covers, or "stack": every convolution,
            pool and addition before the first fully connected op.
        eps: epsilon of the epsilon rule.
        head: a module path (with wildcards) that names the fully connected ops, instead of the computation.
        low, high: the bounds of zB; from the model's preprocessing where not given.
        patterns: a file of patterns; the model's own `.patterns` where not given.
        model: what is to be explained, no option of the user's.
    """

    layers: int | str = 1
    eps: float = 1e-6
    head: str | None = None
    low: Bound = None
    high: Bound = None
    patterns: str | None = None
    model: Any = None

    @property
    def fully_connected(self) -> Selector:
        """The fully connected ops."""
        return on.head if self.head is None else on.path(self.head)


@dataclass(frozen=True)
class Preset:
    """A composite by name.

    Attributes:
        summary: one line for people.
        build: options to a composite.
        takes: the options that mean something here.
    """

    summary: str
    build: Callable[[Options], Composite]
    takes: frozenset[str] = frozenset()


def _uniform(rule: Callable[[Options], Rule], selector: Selector = on.any) -> Callable[[Options], Composite]:
    return lambda options: Composite([(selector, rule(options))])


def _composite(
    conv: Rule, input_layer: Callable[[Options], list[tuple[Selector, Rule]]] | None = None
) -> Callable[[Options], Composite]:
    """LRP_CMP: epsilon in the fully connected layers, another rule below, perhaps a third in the input layer."""
    return lambda options: Composite(
        [
            *(input_layer(options) if input_layer else []),
            (options.fully_connected, Epsilon(options.eps)),
            (on.weighted, conv),
        ]
    )


def _flat(options: Options) -> list[tuple[Selector, Rule]]:
    """The flat rule in the input layer, the lowest n convolutions, or the whole convolution stack."""
    if options.layers == 0:
        return []
    entries: list[tuple[Selector, Rule]] = [(on.first(1), Flat())]
    if options.layers == "stack":
        stack = (on.conv | on.pool | on.add | on.norm) & ~options.fully_connected
        entries.append((on.before(options.fully_connected, of=stack), Flat()))
    elif options.layers != 1:
        entries.append((on.first(int(options.layers), of=on.conv & ~options.fully_connected), Flat()))
    return entries


def _zbox(options: Options) -> list[tuple[Selector, Rule]]:
    """The rule for bounded inputs in the input layer."""
    return [(on.first(1), ZBox(options.low, options.high))]


_EPS, _HEAD = frozenset({"eps"}), frozenset({"eps", "head"})
_FLAT, _ZBOX = _HEAD | {"layers"}, _HEAD | {"low", "high"}
_PATTERNS = frozenset({"patterns"})

PRESETS: dict[str, Preset] = {
    "lrp-z": Preset("LRP_z in every layer; gradient x input in ReLU networks", _uniform(lambda _: Z())),
    "lrp-epsilon": Preset("LRP_epsilon in every layer", _uniform(lambda o: Epsilon(o.eps)), _EPS),
    "lrp-alpha1": Preset(
        "LRP_alpha,beta with alpha 1, beta 0 in every layer", _uniform(lambda _: AlphaBeta(1), on.weighted)
    ),
    "lrp-alpha2": Preset(
        "LRP_alpha,beta with alpha 2, beta -1 in every layer", _uniform(lambda _: AlphaBeta(2), on.weighted)
    ),
    "cmp-alpha1": Preset(
        "epsilon in the fully connected layers, alpha 1 in the convolutions", _composite(AlphaBeta(1)), _HEAD
    ),
    "cmp-alpha2": Preset(
        "epsilon in the fully connected layers, alpha 2 in the convolutions", _composite(AlphaBeta(2)), _HEAD
    ),
    "cmp-alpha1-flat": Preset(
        "cmp-alpha1 with the flat rule in the input layer", _composite(AlphaBeta(1), _flat), _FLAT
    ),
    "cmp-alpha2-flat": Preset(
        "cmp-alpha2 with the flat rule in the input layer; the paper's best, and our default",
        _composite(AlphaBeta(2), _flat),
        _FLAT,
    ),
    "cmp-alpha1-zbox": Preset("cmp-alpha1 with zB in the input layer", _composite(AlphaBeta(1), _zbox), _ZBOX),
    "cmp-alpha2-zbox": Preset("cmp-alpha2 with zB in the input layer", _composite(AlphaBeta(2), _zbox), _ZBOX),
    "epsilon-gamma-box": Preset(
        "epsilon, gamma 0.25 in the convolutions, zB in the input layer",
        _composite(Gamma(0.25), _zbox),
        _ZBOX,
    ),
    "epsilon-plus": Preset("epsilon, z+ in the convolutions", _composite(ZPlus()), _HEAD),
    "guided-backprop": Preset(
        "the gradient, of which only the positive part passes an activation",
        lambda _: Composite([(on.any, GuidedBackprop())], start="one"),
    ),
    "deconvnet": Preset(
        "the gradient, of which the positive part passes an activation whether or not the unit was active",
        lambda _: Composite([(on.any, Deconvnet())], start="one"),
    ),
    "excitation-backprop": Preset(
        "z+ without biases in every layer, started at one: the probabilities of a winner that is drawn going down",
        lambda _: Composite([(on.weighted, AlphaBeta(1, bias=False))], start="one"),
    ),
    "epsilon-plus-flat": Preset(
        "epsilon, z+ in the convolutions, flat in the input layer", _composite(ZPlus(), _flat), _FLAT
    ),
    "pattern-net": Preset(
        "the gradient with learned patterns in the place of the weights: the signal",
        lambda o: pattern_net(patterns_for(o.model, o.patterns, "pattern-net")),
        _PATTERNS,
    ),
    "pattern-attribution": Preset(
        "the gradient with weights times learned patterns in their place",
        lambda o: pattern_attribution(patterns_for(o.model, o.patterns, "pattern-attribution")),
        _PATTERNS,
    ),
}


def composite_named(
    name: str, eps: float = 1e-6, bounds: tuple[Bound, Bound] = (None, None), model: Any = None
) -> Composite:
    """The composite of a method's name with its options, "cmp-alpha1-flat:layers=3,eps=0.1".

    Args:
        name: the method, and options after a colon, separated by commas.
        eps: epsilon where the name gives none.
        bounds: low and high of the model's input where the name gives none.
        model: what is to be explained, which patterns must be of.

    Raises:
        InputError: for a name or an option that is not known, with the near one, and without patterns where the
            method needs some.
        RuleError: if zB has no bounds.
    """
    base, _, text = name.partition(":")
    preset = PRESETS[base]
    given = {"eps": eps, "low": bounds[0], "high": bounds[1], "model": model} | parse_options(name, text, preset.takes)
    return preset.build(Options(**given))


def patterns_named(name: str, model: Any) -> Patterns | None:
    """The patterns that a method explains a model with; None where it needs none.

    Raises:
        InputError: it needs some, and there are none, or they are another network's.
    """
    base, _, text = name.partition(":")
    if base not in PRESETS or "patterns" not in PRESETS[base].takes:
        return None
    return patterns_for(model, parse_options(name, text, PRESETS[base].takes).get("patterns"), base)


def parse_options(name: str, text: str, takes: frozenset[str]) -> dict[str, Any]:
    """The options in "layers=3,eps=0.1".

    Raises:
        InputError: for an option that the method does not take, or a value that is none.
    """
    given: dict[str, Any] = {}
    parts = [text] if "patterns" in takes else text.split(",")  # a file's name may hold commas
    for part in filter(None, parts):
        key, equals, value = part.partition("=")
        if key not in takes or not equals:
            known = [option for option in READERS if option in takes]
            raise InputError(
                f"{name!r}: no option {key!r}{did_you_mean(key, known) or '; it takes ' + (', '.join(known) or 'none')}"
            )
        if key in given:
            raise InputError(f"{name!r}: {key} is given twice")
        read, wanted = READERS[key]
        try:
            given[key] = read(value)
        except ValueError:
            raise InputError(f"{name!r}: {key} is {value!r}, and must be {wanted}") from None
    return given


def _number(text: str) -> float:
    """A finite number."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _from(least: int, read: Callable[[str], Any] = int) -> Callable[[str], Any]:
    """A number that is not smaller than `least`."""

    def checked(text: str) -> Any:
        number = read(text)
        if number < least:
            raise ValueError(text)
        return number

    return checked


def _or(word: str, read: Callable[[str], Any]) -> Callable[[str], Any]:
    """A word, or what `read` reads."""
    return lambda text: word if text == word else read(text)


def _some(text: str) -> str:
    """A text that is not empty."""
    if not text:
        raise ValueError(text)
    return text


READERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "layers": (_or("stack", _from(0)), "a whole number from 0 or 'stack'"),
    "eps": (_from(0, _number), "a number of at least 0"),
    "head": (_some, "a module path"),
    "low": (_number, "a number"),
    "high": (_number, "a number"),
    "patterns": (_some, "a file"),
    "samples": (_from(1), "a whole number from 1"),
    "std": (_from(0, _number), "a number of at least 0"),
    "seed": (_from(0), "a whole number from 0"),
    "steps": (_from(1), "a whole number from 1"),
    "baseline": (_or("black", _number), "a number or 'black'"),
    "layer": (_some, "a module path"),
}
"""Every option of every method: how its value is read, and what that must be."""
