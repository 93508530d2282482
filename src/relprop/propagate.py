"""`attribute` and `explain`: record a model, give every op its rule, and walk."""

from __future__ import annotations

import functools
import glob
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from relprop.catalogue.best import best_practice
from relprop.catalogue.functions import by_functions
from relprop.catalogue.names import Function, Method, resolve
from relprop.composites.composite import Composite, assign
from relprop.composites.profiles import Profile, profile_named
from relprop.explanation import Explanation, finite
from relprop.from_pictures import as_input
from relprop.record.acceptance import Model
from relprop.record.inputs import Inputs, Of, inputs_of, plain
from relprop.record.logits import Output
from relprop.record.prepare import demand_known_gates, recorded, roots_of
from relprop.support.errors import InputError, RelpropError
from relprop.support.suggest import did_you_mean
from relprop.tape.tape import Node, Tape, Value
from relprop.tape.trees import mapped
from relprop.tape.visit import Conventions
from relprop.targets import Starts, Target, Targets
from relprop.walk.conditions import UNCONDITIONAL, Condition, conditions_at
from relprop.walk.walk import Arrived, Walk

BEST_PRACTICE = "best practice"
"""What a method that nobody named is called until it is chosen."""

GROWN = "the method's numbers outgrew their precision, or it divides by zero; in Python, dtype=torch.float64 may help"
"""What is to be done about a map that is not finite."""


def attribute(
    model: Model,
    x: Any,
    target: Target = None,
    method: Method | Function | None = None,
    *,
    profile: str = "paper",
    start: str = "logit",
    dtype: torch.dtype | None = None,
    output: Output = None,
    of: Of = None,
    check: bool = False,
) -> Any:
    """Explain one decision per picture.

    Args:
        model: any PyTorch model (or function) in eval mode. It is not changed.
        x: pictures, (B, ...), floating point and finite; or token ids (B, L); or several inputs, a tuple that the
            model is called with by position, or a mapping by keyword. Where the model has `.preprocess`, also the path
            of a picture, a picture of Pillow's, or a list of these.
        target: what to explain. A class, where the model gives logits (B, C) or a regression's (B,): an index for all,
            a name where the model has `.classes`, a (B,) integer tensor, or None for the predicted one. Or a function
            of what the model returned to one number per picture, (B,), whose own ops take part:
            `lambda y: y[:, 3] - y[:, 5]` asks why 3 rather than 5, `lambda y: y["out"][:, 15].mean((1, 2))` for a
            region.
        method: a name (`relprop.methods()`), with options after a colon; a `Composite`; or a function
            (model, x, target (B,)) -> relevance of x's shape. None: best practice for what the model is made of,
            cmp-alpha2-flat, where it attends attnlrp-vit, where it reads tokens cp-lrp; `plan` says which and why.
        profile: numeric conventions: paper, innvestigate, toolbox or zennit.
        start: relevance starts as the target's "logit" (the paper), or as "one".
        dtype: precision of relevance, and of all that rules compute on the way down: torch.float64, float32 or
            bfloat16, which is coarse (see docs/exactness.md) and saves time on a GPU. None: x's own, at least float32.
        output: which of several outputs is explained, a key or an index; a function gets that one alone.
        of: which of several inputs are explained, keys or places; None: all that can be. The others are constants.
        check: whether the record is replayed first and compared with the model, as `relprop.check` does; that costs
            three more forward passes.

    Returns:
        Relevance of x's shape; float32, or float64 where x is. Of token ids it is relevance per token, (B, L). Of
        several inputs it has their structure: a tuple, with None for what is not explained, or a mapping of what is;
        of a mapping of which one input alone is explained it is that one's. Positive numbers speak for the target.
        Where its logit is negative, that depends on the rule of the last layer. Under z and epsilon, which the
        composites (cmp-...) have there, they still do. Under alpha-beta and z-plus relevance keeps the sign that it
        starts with: all of lrp-alpha1 is then negative, and numbers below zero speak for the target; start="one" puts
        that right there, and would turn the signs of the others the wrong way.

    Raises:
        UnsupportedOp: if relevance cannot pass some op of the model; all of them are named.
        RuleError: if a rule does not fit an op.
        InputError: if model, x, target or method are not what they must be.
        RelpropError: if the map is not finite, or its ledger does not close. `explain` gives such maps as they are.

    Reference: Kohlbrenner et al. (2020), section II.

    Example:
        >>> import torch, relprop as rp
        >>> model = rp.models.load("digits-shallow")  # or any model of yours, in eval mode
        >>> x = torch.rand(2, 3, 64, 64)
        >>> rp.attribute(model, x, target="six", method="cmp-alpha2-flat").shape
        torch.Size([2, 3, 64, 64])
        >>> R = rp.attribute(model, x, target=lambda y: y[:, 6] - y[:, 7])  # why six rather than seven
    """
    explanation = explain(
        model, x, [target], {"it": method}, profile=profile, start=start, dtype=dtype, output=output, of=of, check=check
    )
    maps = explanation.relevance["it"]
    if not finite(maps):
        name = method if isinstance(method, str) else "the method"
        raise RelpropError(f"{name}: its map is not finite; {GROWN}")
    if "it" in explanation.ledger:
        explanation.ledger["it"].demand_closed()
    return mapped(Tensor, lambda R: R[0], maps)


def explain(
    model: Model,
    x: Any,
    targets: Targets = None,
    methods: Sequence[str] | Mapping[str, Method | Function | None] | str | None = None,
    *,
    profile: str = "paper",
    start: str = "logit",
    dtype: torch.dtype | None = None,
    output: Output = None,
    of: Of = None,
    inside: str | Sequence[str] | None = None,
    conditions: Sequence[Condition] | None = None,
    check: bool = False,
) -> Explanation:
    """Explain several classes by several methods with one forward pass and one walk.

    Args:
        model: as for `attribute`.
        x: as for `attribute`.
        targets: classes and functions, each as for `attribute`; None for the predicted class; one function; or a
            function from the logits (B, C) to a list of classes, where the choice depends on them.
        methods: names, or a mapping from names of your own to composites, names or functions; None, also in a mapping,
            for best practice, as for `attribute`.
        profile: as for `attribute`.
        start: as for `attribute`.
        dtype: as for `attribute`; functions among the methods choose their own.
        output: as for `attribute`.
        of: as for `attribute`.
        inside: paths of modules, or patterns such as "features.*", at whose outputs relevance is kept, for every
            method that has rules. A module's second call is named "path (call 2)", the first of several tensors that
            it returns "path[0]".
        conditions: relevance through some channels alone (concept relevance): for each condition a mapping from module
            paths to what is let through at the output of that module, a list of channels, or a boolean mask of the
            output's shape without the batch. Channels are axis 1, behind linear layers on (B, L, D) the last one. There
            is then a map for every target and condition, target by target. What goes around a module, as skip
            connections do, is not restricted; what a condition takes is lost in the ledger, in a row of its own.
        check: as for `attribute`.

    Returns:
        Outputs, relevance (T, B, *x.shape[1:]), ledger, and what was asked for inside, of every method.

    Raises:
        UnsupportedOp, RuleError, InputError: as `attribute` does.

    Example:
        >>> import torch, relprop as rp
        >>> model, x = rp.models.load("digits-shallow"), torch.rand(2, 3, 64, 64)
        >>> e = rp.explain(model, x, targets=[6, 7], methods=["lrp-z", "cmp-alpha1"])
        >>> e.relevance["cmp-alpha1"].shape  # (targets, pictures, ...)
        torch.Size([2, 2, 3, 64, 64])
        >>> e
        Explanation(2 targets, 2 pictures, 10 outputs: lrp-z, cmp-alpha1)
    """
    if start not in ("logit", "one"):
        raise InputError(f"start is {start!r}, and must be 'logit' or 'one'")
    named = profile_named(profile)
    inputs = inputs_of(as_input(model, x), of)
    resolved = {
        name: Unnamed() if method is None else resolve(method, model, named) for name, method in _named(methods).items()
    }
    composites = {name: method for name, method in resolved.items() if isinstance(method, (Composite, Unnamed))}
    functions: dict[str, Any] = {name: method for name, method in resolved.items() if name not in composites}
    starts = Starts(targets, model, output, inputs)
    look = Look(_patterns(inside), _listed(conditions))
    if functions and look.conditions:
        raise InputError(f"conditions hold inside the model, of which {', '.join(functions)} knows nothing")
    arrived: dict[str, Arrived] = {}
    if composites:
        arrived = _walked(model, inputs, starts, composites, named, start, dtype, look, check=check)
    else:  # no rule has to follow what the model does
        roots_of(model, inputs, starts.find)
    unnamed = resolved.get(BEST_PRACTICE)
    if methods is None and isinstance(unnamed, Unnamed):
        arrived, resolved = {unnamed.name: arrived[BEST_PRACTICE]}, {unnamed.name: unnamed}
    relevance = {name: inputs.like([_readable(R) for R in found.inputs]) for name, found in arrived.items()}
    relevance |= by_functions(functions, model, inputs, starts)
    return Explanation(
        starts.outputs,
        starts.indices.repeat_interleave(look.number, 0),
        starts.values().repeat_interleave(look.number, 0),
        {name: relevance[name] for name in resolved},
        {name: found.ledger for name, found in arrived.items() if found.ledger is not None},
        {name: found.inside for name, found in arrived.items()} if inside is not None else {},
        tuple(label for label in starts.labels for _ in range(look.number)),
        tuple(getattr(model, "classes", None) or ()),
        plain(inputs.tensors[0]) if _of_pictures(inputs) else None,
        getattr(model, "preprocess", None),
    )


def _of_pictures(inputs: Inputs) -> bool:
    """Whether what is explained can be looked at."""
    t = inputs.tensors[0]
    return inputs.alone and t.ndim == 4 and t.shape[1] in (1, 3) and t.is_floating_point()


@dataclass(frozen=True)
class Look:
    """What is looked at inside of a model.

    Attributes:
        inside: patterns of the modules at whose outputs relevance is kept.
        conditions: what relevance may pass there.
    """

    inside: Sequence[str]
    conditions: Sequence[Condition]

    @property
    def number(self) -> int:
        """How many maps each target gets."""
        return max(len(self.conditions), 1)

    def watched(self) -> list[str]:
        """Patterns of all modules whose outputs are needed."""
        named = dict.fromkeys(path for condition in self.conditions for path in condition)
        return [*self.inside, *(glob.escape(path) for path in named)]

    def places(self, tape: Tape, model: Model) -> dict[str, Value]:
        """The outputs at which relevance is kept.

        Raises:
            InputError: a pattern fits no module that ran.
        """
        for pattern in self.inside:
            if not any(_fits(name, pattern) for name in tape.places):
                near = did_you_mean(pattern, _modules(model))
                raise InputError(f"inside names {pattern!r}, which fits no module that gave a recorded tensor{near}")
        return {name: v for name, v in tape.places.items() if any(_fits(name, pattern) for pattern in self.inside)}


def _fits(name: str, pattern: str) -> bool:
    """Whether a module's output, such as "lstm[0]" or "block (call 2)", is meant by a pattern of paths."""
    return fnmatchcase(name, pattern) or fnmatchcase(re.split(r" \(call |\[", name)[0], pattern)


def _modules(model: Model) -> list[str]:
    """The paths of a model's modules."""
    return [name for name, _ in model.named_modules() if name] if isinstance(model, nn.Module) else []


def _patterns(inside: Any) -> list[str]:
    """Patterns of modules, as a list."""
    patterns = [inside] if isinstance(inside, str) else inside
    if patterns is None:
        return []
    if not isinstance(patterns, (list, tuple)) or not all(isinstance(pattern, str) for pattern in patterns):
        raise InputError(f"inside takes paths of modules, or patterns such as 'features.*', not {inside!r}")
    return list(patterns)


def _listed(conditions: Any) -> list[Condition]:
    """Conditions, as a list."""
    if conditions is None:
        return []
    if not isinstance(conditions, (list, tuple)) or not all(isinstance(each, Mapping) for each in conditions):
        raise InputError(
            f"conditions takes a list of mappings from module paths to channels, such as [{{'features.28': [17]}}], "
            f"not {conditions!r}"
        )
    return list(conditions)


def _walked(
    model: Model,
    inputs: Inputs,
    starts: Starts,
    methods: Mapping[str, Composite | Unnamed],
    profile: Profile,
    start: str,
    dtype: torch.dtype | None,
    look: Look,
    *,
    check: bool,
) -> dict[str, Arrived]:
    """Record the model, give every op its rule, and walk."""
    known = [method for method in methods.values() if isinstance(method, Composite)]
    tape = recorded(model, inputs, lean=True, roots=starts.find, watch=look.watched(), composites=known, check=check)
    composites = {
        name: method.choose(tape.nodes, inputs, model, profile) if isinstance(method, Unnamed) else method
        for name, method in methods.items()
    }
    if any(rule.everywhere for composite in composites.values() for _, rule in composite):
        demand_known_gates(tape)
    places = look.places(tape, model)
    starts.narrow(tape)
    through = conditions_at(look.conditions, tape.places, _modules(model)) if look.conditions else UNCONDITIONAL
    conventions = Conventions(precision(dtype, inputs.tensors, starts.roots), profile.ties)
    with torch.inference_mode(mode=False), torch.no_grad(), torch.autocast(inputs.device.type, enabled=False):
        plans = {name: assign(composite, tape.nodes, profile) for name, composite in composites.items()}
        first = {name: starts.relevance(c.start or start, conventions.dtype) for name, c in composites.items()}
        return Walk(tape, plans, conventions, through, places).down(first)


@dataclass
class Unnamed:
    """A method that nobody named: best practice for the model at hand, chosen when it has run.

    Attributes:
        name: of the method, once it was chosen.
    """

    name: str = ""

    def choose(self, nodes: Sequence[Node], inputs: Inputs, model: Model, profile: Profile) -> Composite:
        """The composite for what the model is made of."""
        best = best_practice(nodes, inputs, model, profile)
        self.name = best.name
        return best.composite


def _readable(R: Tensor | None) -> Tensor | None:
    """A map in at least float32."""
    return None if R is None else R.to(torch.promote_types(R.dtype, torch.float32))


def precision(dtype: Any, tensors: Sequence[Tensor], roots: Sequence[Tensor]) -> torch.dtype:
    """The precision of relevance: as asked for, or that of the input, or of the outputs where token ids go in.

    Raises:
        InputError: for one that rules cannot work in: float16 has no numbers as small as their epsilon.
    """
    if dtype is None:
        floats = [t.dtype for t in tensors if t.is_floating_point()] or [t.dtype for t in roots]
        return functools.reduce(torch.promote_types, floats, torch.float32)
    if dtype not in (torch.float64, torch.float32, torch.bfloat16):
        raise InputError(f"dtype is {dtype!r}, and must be torch.float64, torch.float32 or torch.bfloat16")
    chosen: torch.dtype = dtype
    return chosen


def _named(methods: Any) -> dict[str, Any]:
    """Methods by the names that their results get."""
    if methods is None:
        return {BEST_PRACTICE: None}
    methods = [methods] if isinstance(methods, str) else methods
    if not isinstance(methods, (Mapping, Sequence)):
        raise InputError(f"methods takes names, or a mapping from names of your own to methods; not {methods!r}")
    if not isinstance(methods, Mapping):
        for method in methods:
            if not isinstance(method, str):
                raise InputError(
                    f"methods takes names, or a mapping from names of your own to composites and functions; "
                    f"not {method!r}"
                )
        methods = {name: name for name in methods}
    if not methods:
        raise InputError("no method was named; see relprop.methods()")
    return dict(methods)
