"""LRP's methods by name: the paper's configurations and the presets in common use, with their options."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from relprop import on
from relprop.backprop import GuidedBackprop
from relprop.composites import Composite
from relprop.errors import InputError
from relprop.on import Selector
from relprop.rules import AlphaBeta, Epsilon, Flat, Gamma, Rule, Z, ZBox, ZPlus
from relprop.suggest import did_you_mean

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
    """

    layers: int | str = 1
    eps: float = 1e-6
    head: str | None = None
    low: Bound = None
    high: Bound = None

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
    "epsilon-plus-flat": Preset(
        "epsilon, z+ in the convolutions, flat in the input layer", _composite(ZPlus(), _flat), _FLAT
    ),
}


def composite_named(name: str, eps: float = 1e-6, bounds: tuple[Bound, Bound] = (None, None)) -> Composite:
    """The composite of a method's name with its options, "cmp-alpha1-flat:layers=3,eps=0.1".

    Args:
        name: the method, and options after a colon, separated by commas.
        eps: epsilon where the name gives none.
        bounds: low and high of the model's input where the name gives none.

    Raises:
        InputError: for a name or an option that is not known, with the near one.
        RuleError: if zB has no bounds.
    """
    base, _, text = name.partition(":")
    preset = PRESETS[base]
    given = {"eps": eps, "low": bounds[0], "high": bounds[1]} | parse_options(name, text, preset.takes)
    return preset.build(Options(**given))


def parse_options(name: str, text: str, takes: frozenset[str]) -> dict[str, Any]:
    """The options in "layers=3,eps=0.1".

    Raises:
        InputError: for an option that the method does not take, or a value that is none.
    """
    given: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if key not in takes or not equals:
            known = [f.name for f in fields(Options) if f.name in takes]
            raise InputError(
                f"{name!r}: no option {key!r}{did_you_mean(key, known) or '; it takes ' + (', '.join(known) or 'none')}"
            )
        given[key] = value if key == "head" else _number(name, key, value)
    return given


def _number(name: str, key: str, value: str) -> Any:
    if key == "layers" and value == "stack":
        return value
    try:
        number = int(value) if key == "layers" else float(value)
    except ValueError:
        number = -1 if key == "layers" else float("nan")
    if (key in ("layers", "eps") and not number >= 0) or math.isnan(number):
        wanted = (
            "a whole number from 0 or 'stack'"
            if key == "layers"
            else "a number" + (" of at least 0" if key == "eps" else "")
        )
        raise InputError(f"{name!r}: {key} is {value!r}, and must be {wanted}")
    return number
