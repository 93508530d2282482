"""Candidates explained together: what they share of the way down is walked once.

A walk splits where methods give an op different rules, and never joins again. So candidates are put in order of their
rules from the output down, those that give every op the same rule are one, and as many as memory lets go into one call.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from relprop.catalogue.names import Function, resolve, source_sha256
from relprop.composites.composite import Composite, assign
from relprop.composites.profiles import profile_named
from relprop.composites.written import WrittenError, to_toml
from relprop.data.pictures import PictureError
from relprop.propagate import explain
from relprop.record.inputs import inputs_of
from relprop.record.prepare import recorded
from relprop.rules.layer import WEIGHTED
from relprop.support.devices import device_of
from relprop.support.errors import InputError, RelpropError
from relprop.targets import Starts
from relprop.tools.tune_case import Case
from relprop.tools.tune_data import Framed, Sample, Samples
from relprop.tools.tune_measures import Measure, measured
from relprop.tools.tune_store import Measured, Rows

MEMORY = 1 << 29
"""Bytes that the relevance of all candidates at the largest layer may take."""
COPIES = 3
"""A rule holds so many tensors of that size at once."""
AT_ONCE = 16
"""Pictures in a call at most."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Planned:
    """A method that can explain the network.

    Attributes:
        name: as results call it.
        method: a composite, a function or a name.
        key: of what was measured of it: the same for what gives the same maps by the same text.
        rules: those of the weighted ops, from the output down.
        same: names of others that give every op the same rule.
    """

    name: str
    method: Composite | Function | str
    key: str
    rules: tuple[str, ...]
    same: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Call:
    """What is explained in one call.

    Attributes:
        methods: candidates.
        pictures: on how many pictures they are wanted.
        missing: those of these, by index, on which some of them are not measured yet.
    """

    methods: tuple[Planned, ...]
    pictures: int
    missing: tuple[int, ...]


Hands = Callable[["Judge", list[Call]], Iterator[Call]]
"""Lets others answer calls, adds what they found to the judge's values, and yields each call that is answered."""


def key_of(method: Composite | Function | str, name: str) -> str:
    """A key of what was measured of a method."""
    if isinstance(method, Composite):
        try:
            text = to_toml(method)
        except WrittenError:
            text = f"{name} {method!r}"
    else:
        text = f"{name} {source_sha256(name) or ''}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Judge:
    """Explains pictures by candidates, and measures the maps.

    Args:
        model: in eval mode.
        samples: the pictures.
        measures: by name.
        profile: numeric conventions.
        values: what is measured already.
        hands: who answers calls; None: the judge itself.

    Attributes:
        skipped: why pictures cannot be read, by index.
        maps: how many pairs of a candidate and a picture were explained.
        elsewhere: seconds of processors that others took.
    """

    def __init__(
        self,
        model: nn.Module,
        samples: Samples | Framed,
        measures: Mapping[str, Measure],
        profile: str,
        values: Measured,
        hands: Hands | None = None,
    ) -> None:
        self.model, self.samples, self.measures, self.profile, self.values = model, samples, measures, profile, values
        self.hands = hands
        self.skipped: dict[int, str] = {}
        self.maps, self.elsewhere = 0, 0.0
        self._largest = 1
        self._checked = False

    def planned(
        self, methods: Mapping[str, Composite | Function | str], pictures: Sequence[int]
    ) -> tuple[list[Planned], dict[str, str]]:
        """Return the methods that fit the network, in order of their rules from the output down; and why others do not.

        Those that give every op the same rule are one.
        """
        profile = profile_named(self.profile)
        refused: dict[str, str] = {}
        resolved: dict[str, Composite | Function] = {}
        for name, method in methods.items():
            try:
                resolved[name] = resolve(method, self.model, profile)
            except RelpropError as error:
                refused[name] = str(error)
        inputs = inputs_of(self._first(pictures).x[None].to(device_of(self.model)))
        known = [method for method in resolved.values() if isinstance(method, Composite)]
        roots = Starts(None, self.model, None, inputs).find
        tape = recorded(self.model, inputs, roots=roots, composites=known)
        self._largest = max(value.data.numel() * 4 for node in tape.nodes for value in node.outputs)
        found: dict[Any, Planned] = {}
        for name, method in resolved.items():
            if not isinstance(method, Composite):
                found[name] = Planned(name, methods[name], key_of(method, name), ())
                continue
            try:
                steps = assign(method, tape.nodes, profile)
            except RelpropError as error:
                refused[name] = str(error)
                continue
            way = tuple(step.rule for step in reversed(steps))
            weighted = zip(reversed(tape.nodes), way, strict=True)
            shown = tuple(str(rule) for node, rule in weighted if node.kind in WEIGHTED)
            planned = Planned(name, method, key_of(method, name), shown)
            first = found.setdefault((method.start, *way), planned)
            if first is not planned:
                first.same.append(name)
        return sorted(found.values(), key=lambda each: each.rules), refused

    def _first(self, pictures: Iterable[int]) -> Sample:
        for index in pictures:
            sample = self._sample(index)
            if sample is not None and sample.outputs:
                return sample
        raise InputError(f"none of the pictures can be explained; {next(iter(self.skipped.values()), 'no class of')}")

    def _sample(self, index: int) -> Sample | None:
        try:
            return self.samples[index]
        except PictureError as error:
            self.skipped[index] = str(error)
            return None

    def measure(self, methods: Sequence[Planned], pictures: Sequence[int], told: Callable[[int], None]) -> None:
        """Measure what is not measured yet; what was is kept, also where this is interrupted.

        Args:
            methods: in their order.
            pictures: by index.
            told: called with how many more pairs of a method and a picture are done.
        """
        calls = self._calls(methods, pictures)
        try:
            for call in self.hands(self, list(calls)) if self.hands else map(self.answer, calls):
                told(len(call.methods) * call.pictures)
                self.values.keep()
        finally:
            self.values.keep(now=True)

    def _calls(self, methods: Sequence[Planned], pictures: Sequence[int]) -> Iterator[Call]:
        """As many methods and pictures as go into one call."""
        most = max(1, MEMORY // (COPIES * self._largest))  # maps at once
        for some in (methods[start : start + most] for start in range(0, len(methods), most)):
            batch = max(1, min(AT_ONCE, most // len(some)))
            for start in range(0, len(pictures), batch):
                part = pictures[start : start + batch]
                missing = [k for k in part if any(not self.values.has(m.key, k) for m in some)]
                yield Call(tuple(some), len(part), tuple(missing))

    def answer(self, call: Call) -> Call:
        """Measure what a call asks for, here."""
        self._measure(call.methods, call.missing)
        return call

    def _measure(self, methods: Sequence[Planned], pictures: Sequence[int]) -> None:
        """Some methods on a few pictures, those with as many classes to explain in one call."""
        missing = [m for m in methods if any(not self.values.has(m.key, k) for k in pictures)]
        by_number: dict[int, list[tuple[int, Sample]]] = {}
        for index in pictures:
            sample = self._sample(index)
            by_number.setdefault(len(sample.outputs) if sample else 0, []).append((index, sample))  # type: ignore[arg-type]
        for index, _ in by_number.pop(0, []):
            for method in missing:
                self.values.add(method.key, index, [])
        for some in by_number.values():
            self._explained(missing, some)

    def _explained(self, methods: Sequence[Planned], pictures: list[tuple[int, Sample]]) -> None:
        samples = [sample for _, sample in pictures]
        x = torch.stack([sample.x for sample in samples]).to(device_of(self.model))
        known = all(sample.masks is not None for sample in samples)
        inside = torch.stack([sample.masks for sample in samples if sample.masks is not None], 1) if known else None
        chosen: list[Tensor] = []

        def highest(logits: Tensor) -> list[Tensor]:
            chosen[:] = _highest(logits, samples)
            return chosen

        explanation = explain(
            self.model,
            x,
            highest,
            {m.name: m.method for m in methods},
            profile=self.profile,
            check=not self._checked,
        )
        self._checked = True
        self.maps += len(methods) * len(pictures)
        rows: dict[str, list[Rows]] = {m.name: [[] for _ in pictures] for m in methods}
        for t, targets in enumerate(chosen):
            for method in methods:
                R = explanation.relevance[method.name][t].sum(1, dtype=torch.float64).cpu()
                case = Case(self.model, x, targets, R, None if inside is None else inside[t])
                found = measured(self.measures, case)
                ledger = explanation.ledger.get(method.name)
                if ledger is not None:  # what does not add up is no map
                    found[ledger.open[t].cpu()] = torch.nan
                for b, numbers in enumerate(found.tolist()):
                    rows[method.name][b].append(numbers)
        for method in methods:
            for (index, _), each in zip(pictures, rows[method.name], strict=True):
                self.values.add(method.key, index, each)


def _highest(logits: Tensor, samples: Sequence[Sample]) -> list[Tensor]:
    """For each class of some pictures with as many the highest of the outputs that mean it, (B,) each."""
    most = logits.shape[1]
    for sample in samples:
        for outputs in sample.outputs:
            if not all(0 <= output < most for output in outputs):
                raise InputError(f"target {max(outputs)} is out of range: the model has classes 0 to {most - 1}")
    return [
        torch.tensor(
            [max(s.outputs[t], key=lambda k: (float(row[k]), -k)) for s, row in zip(samples, logits, strict=True)],
            device=logits.device,
        )
        for t in range(len(samples[0].outputs))
    ]
