"""`attribute` and `explain`: record a model, give every op its rule, and walk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from relprop.catalogue.names import Function, Method, resolve
from relprop.catalogue.table import BEST
from relprop.composites.composite import Composite, assign
from relprop.composites.profiles import profile_named
from relprop.record.acceptance import Model
from relprop.record.logits import OneOutput, Output
from relprop.record.prepare import demand_known_gates, outputs_of, recorded
from relprop.support.errors import InputError, RelpropError
from relprop.support.tables import counted, html_table, text_table
from relprop.tape.visit import Conventions
from relprop.targets import Target, Targets, starting_relevance, targets_of
from relprop.walk.ledger import Ledger
from relprop.walk.walk import Walk

GROWN = "the method's numbers outgrew their precision, or it divides by zero; in Python, dtype=torch.float64 may help"
"""What is to be done about a map that is not finite."""


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """What `explain` returns; T targets, B pictures. It prints as a table; two are equal if they are one.

    Attributes:
        outputs: (B, C) logits, from the one forward pass that all methods share.
        targets: (T, B) class indices that were explained.
        relevance: per method (T, B, *x.shape[1:]).
        ledger: per method a row per op; a function of the user's own has none.
    """

    outputs: Tensor
    targets: Tensor
    relevance: dict[str, Tensor]
    ledger: dict[str, Ledger]

    def __repr__(self) -> str:
        """Short: `print` and a notebook show a table."""
        return f"Explanation({self._extent()}: {', '.join(self.relevance)})"

    def __str__(self) -> str:
        """A row per target and method, for the first picture."""
        return f"{self._extent()}, the first picture:\n\n{text_table(HEAD, self._rows())}"

    def _repr_html_(self) -> str:
        """What a notebook shows: the same table."""
        return html_table(f"{self._extent()}, the first picture", HEAD, self._rows())

    def _extent(self) -> str:
        targets, pictures = self.targets.shape
        return (
            f"{counted(targets, 'target')}, {counted(pictures, 'picture')}, {counted(self.outputs.shape[1], 'output')}"
        )

    def _rows(self) -> list[tuple[str, ...]]:
        rows = []
        for t, index in enumerate(self.targets[:, 0].tolist()):
            logit = f"{float(self.outputs[0, index]):.6g}"
            for name, maps in self.relevance.items():
                ledger = self.ledger.get(name)
                lost = [float(ledger.sum(column)[t, 0]) for column in HEAD[4:]] if ledger else []
                numbers = [f"{number:.6g}" for number in (float(maps[t, 0].sum(dtype=torch.float64)), *lost)]
                rows.append((str(index), logit, name, *numbers, *["-"] * (len(HEAD) - 3 - len(numbers))))
        return rows


HEAD = ("target", "logit", "method", "relevance", "bias", "eps", "lost")


def attribute(
    model: Model,
    x: Tensor,
    target: Target = None,
    method: Method | Function = BEST,
    *,
    profile: str = "paper",
    start: str = "logit",
    dtype: torch.dtype | None = None,
    output: Output = None,
    check: bool = False,
) -> Tensor:
    """Explain one decision per picture.

    Args:
        model: any PyTorch model (or function) in eval mode that maps x to logits (B, C). It is not changed.
        x: pictures, (B, ...), floating point and finite.
        target: the class to explain: an index for all, a name where the model has `.classes`, a (B,) integer tensor, or
            None for the predicted one.
        method: a name (`relprop.methods()`), with options after a colon; a `Composite`; or a function
            (model, x, target (B,)) -> relevance of x's shape.
        profile: numeric conventions: paper, innvestigate, toolbox or zennit.
        start: relevance starts as the target's "logit" (the paper), or as "one".
        dtype: precision of relevance, and of all that rules compute on the way down: torch.float64, float32 or
            bfloat16, which is coarse (see docs/exactness.md) and saves time on a GPU. None: x's own, at least float32.
        output: which of several outputs is explained, a key or an index.
        check: whether the record is replayed first and compared with the model, as `relprop.check` does; that costs
            three more forward passes.

    Returns:
        Relevance of x's shape; float32, or float64 where x is. Positive numbers speak for the target. Where its logit
        is negative, that depends on the rule of the last layer. Under z and epsilon, which the composites (cmp-...)
        have there, they still do. Under alpha-beta and z-plus relevance keeps the sign that it starts with: all of
        lrp-alpha1 is then negative, and numbers below zero speak for the target; start="one" puts that right there,
        and would turn the signs of the others the wrong way.

    Raises:
        UnsupportedOp: if relevance cannot pass some op of the model; all of them are named.
        RuleError: if a rule does not fit an op.
        InputError: if model, x, target or method are not what they must be.
        RelpropError: if the map is not finite, or its ledger does not close. `explain` gives such maps as they are.

    Reference: Kohlbrenner et al. (2020), section II.
    """
    explanation = explain(
        model, x, [target], {"it": method}, profile=profile, start=start, dtype=dtype, output=output, check=check
    )
    R = explanation.relevance["it"][0]
    if not torch.isfinite(R).all():
        name = method if isinstance(method, str) else "the method"
        raise RelpropError(f"{name}: its map is not finite; {GROWN}")
    if "it" in explanation.ledger:
        explanation.ledger["it"].demand_closed()
    return R


def explain(
    model: Model,
    x: Tensor,
    targets: Targets = None,
    methods: Sequence[str] | Mapping[str, Method | Function] | str = (BEST,),
    *,
    profile: str = "paper",
    start: str = "logit",
    dtype: torch.dtype | None = None,
    output: Output = None,
    check: bool = False,
) -> Explanation:
    """Explain several classes by several methods with one forward pass and one walk.

    Args:
        model: as for `attribute`.
        x: pictures, (B, ...).
        targets: the classes, each as for `attribute`; None for the predicted one; or a function from the
            logits (B, C) to such a list, where the choice depends on them.
        methods: names, or a mapping from names of your own to composites, names or functions.
        profile: as for `attribute`.
        start: as for `attribute`.
        dtype: as for `attribute`; functions among the methods choose their own.
        output: as for `attribute`.
        check: as for `attribute`.

    Returns:
        Logits, relevance (T, B, *x.shape[1:]) and ledger of every method.

    Raises:
        UnsupportedOp, RuleError, InputError: as `attribute` does.
    """
    if start not in ("logit", "one"):
        raise InputError(f"start is {start!r}, and must be 'logit' or 'one'")
    named = profile_named(profile)
    resolved = {name: resolve(method, model, named) for name, method in _named(methods).items()}
    composites = {name: method for name, method in resolved.items() if isinstance(method, Composite)}
    chosen = model if output is None else OneOutput(model, output)
    if not composites:  # no rule has to follow what the model does
        outputs = outputs_of(model, x, output)
        wanted = targets_of(targets, outputs, model)
        return Explanation(outputs, wanted, by_functions(resolved, chosen, x, wanted), {})
    tape = recorded(model, x, lean=True, output=output, check=check)
    if any(rule.everywhere for composite in composites.values() for _, rule in composite):
        demand_known_gates(tape)
    outputs = tape.output.data
    wanted = targets_of(targets, outputs, model)
    conventions = Conventions(precision(dtype, x), named.ties)
    plans = {name: assign(composite, tape.nodes, named) for name, composite in composites.items()}
    with torch.inference_mode(mode=False), torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        first = {
            name: starting_relevance(outputs, wanted, composite.start or start, conventions.dtype)
            for name, composite in composites.items()
        }
        relevance, ledger = Walk(tape, plans, conventions).down(first)
        at_least = torch.promote_types(conventions.dtype, torch.float32)
        relevance = {name: R.to(at_least) for name, R in relevance.items()}
    relevance |= by_functions(resolved, chosen, x, wanted)
    return Explanation(outputs, wanted, {name: relevance[name] for name in resolved}, ledger)


def precision(dtype: Any, x: Tensor) -> torch.dtype:
    """The precision of relevance.

    Raises:
        InputError: for one that rules cannot work in: float16 has no numbers as small as their epsilon.
    """
    if dtype is None:
        return torch.promote_types(x.dtype, torch.float32)
    if dtype not in (torch.float64, torch.float32, torch.bfloat16):
        raise InputError(f"dtype is {dtype!r}, and must be torch.float64, torch.float32 or torch.bfloat16")
    chosen: torch.dtype = dtype
    return chosen


def _named(methods: Any) -> dict[str, Any]:
    """Methods by the names that their results get."""
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


def by_functions(
    methods: Mapping[str, Composite | Function], model: Model, x: Tensor, targets: Tensor
) -> dict[str, Tensor]:
    """Relevance (T, B, ...) by those of the methods that are functions, for targets (T, B)."""
    with torch.inference_mode(mode=False):  # tensors of that mode cannot be differentiated by or with
        x, targets = x.clone(), targets.clone()
    return {
        name: torch.stack([_by_function(name, method, model, x, target) for target in targets])
        for name, method in methods.items()
        if not isinstance(method, Composite)
    }


def _by_function(name: str, function: Function, model: Model, x: Tensor, target: Tensor) -> Tensor:
    """Relevance by a function."""
    with torch.inference_mode(mode=False):  # of its own, to write into; of that mode none could be differentiated
        x_of_its_own, target_of_its_own = x.clone(), target.clone()
    R = function(model, x_of_its_own, target_of_its_own)
    if not isinstance(R, Tensor) or R.shape != x.shape:
        got = tuple(R.shape) if isinstance(R, Tensor) else type(R).__name__
        raise InputError(f"method {name!r} returned {got}, and must return a tensor of x's shape {tuple(x.shape)}")
    return R.detach().to(x.device, torch.promote_types(x.dtype, torch.float32))
