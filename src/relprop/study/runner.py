"""The measurement: one decode and one forward pass per picture for all methods, part by part, resumable."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from relprop.catalogue.names import resolve
from relprop.composites.profiles import profile_named
from relprop.data.entries import Dataset
from relprop.data.geometry import normalise
from relprop.data.mean_image import mean_image
from relprop.data.prefetch import chosen
from relprop.propagate import explain
from relprop.record.logits import logits_of
from relprop.study.chosen import later
from relprop.study.continuing import demand_annotations_as_before, demand_as_measured
from relprop.study.decoding import Decoder
from relprop.study.measure import Network
from relprop.study.records import Picture, Record, prediction, to_measure, undefined_rows
from relprop.study.schema import TABLES, Column
from relprop.study.store import Store
from relprop.study.task import Task, highest
from relprop.support.devices import Sender, Taken, device_named
from relprop.support.shrinking import Shrinking

Progress = Callable[[int], None]
"""Called with a number of pictures: first of those that earlier runs have measured, then of each batch."""


@dataclass
class Clock:
    """Seconds by what they were spent on.

    Attributes:
        spent: what was counted.
        asking: the measures that ask the network.
    """

    spent: dict[str, float] = field(default_factory=dict)
    asking: frozenset[str] = frozenset()
    _within: float = 0.0  # seconds that were counted elsewhere since the innermost count began

    @classmethod
    def of(cls, task: Task) -> Clock:
        """Of nothing yet."""
        return cls(asking=frozenset(measure.name for measure in task.measured if measure.needs_model))

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        """Count the time in here, less what is counted within it on something else."""
        start, outside, self._within = time.perf_counter(), self._within, 0.0
        try:
            yield
        finally:
            took = time.perf_counter() - start
            self.spent[what] = self.spent.get(what, 0.0) + took - self._within
            self._within = outside + took

    @property
    def overhead(self) -> float:
        """The share of the time outside of forward passes and attribution."""
        whole = sum(self.spent.values())
        return 1 - sum(self.spent.get(k, 0.0) for k in ("attribution", *self.asking)) / whole if whole else 0.0


def run(
    task: Task,
    folder: Path,
    *,
    batch: int = 16,
    shard: tuple[int, int] = (1, 1),
    device: str = "cpu",
    workers: int | None = None,
    progress: Progress = lambda _: None,
) -> Clock:
    """Measure what is not measured yet.

    The result depends neither on the number of shards nor on interruptions, bit for bit. Another batch size
    changes the order of sums in the network's own float32 arithmetic: mu then agrees to about 2e-6, mu_w to 1e-5.

    Args:
        task: what to measure.
        folder: of the study; begun here or continued.
        batch: pictures at once; where they need more memory than there is half as many, which is said on stderr.
        shard: (i, n): of all parts those with number i-1 modulo n.
        device: where to compute.
        workers: processes that read pictures ahead: see `relprop.data.prefetch.chosen`. The result does not depend on
            them.
        progress: called first with the number of pictures that earlier runs have measured, then with each batch's.

    Raises:
        StudyError: the folder holds another study, a part of it that is damaged or of pictures that were edited since,
            or cannot be written to; or annotations were edited while this ran.
        RelpropError: the model cannot be explained, or there is no such method or device; nothing is written then.
    """
    device_named(device)
    clock = Clock.of(task)
    begun = begin(task, folder, shard, clock)
    ahead = [indices for part, indices in begun.parts.items() if part not in begun.done]
    readers = readers_for(task, workers, device, sum(map(len, ahead)))
    model = task.model.to(device)
    measurement = Measurement(task, model, device, begun.store.cache, clock, workers=readers, ahead=ahead)
    progress(task.pictures(begun.parts) - sum(map(len, ahead)))
    with closing(measurement.decoder):
        for part, indices in begun.parts.items():
            if part not in begun.done:
                tables = measurement.part(indices, batch, progress)
                with clock.on("writing"):
                    begun.store.write(part, tables, measurement.later)
    begun.demand_still_so(task.data)
    return clock


@dataclass(frozen=True)
class Begun:
    """A study that was begun or is continued, as far as one shard goes.

    Attributes:
        store: its folder.
        config: what `run.json` says.
        number: of pictures that the study has.
        parts: the shard's, by number, with the positions of their pictures.
        done: parts that were written before, of any shard.
    """

    store: Store
    config: dict[str, Any]
    number: int
    parts: dict[int, range]
    done: set[int]

    def demand_still_so(self, data: Dataset) -> None:
        """Refuse to call these parts finished if annotations were edited since, and any part was measured.

        Raises:
            StudyError: they were.
        """
        if not self.done.issuperset(self.parts):
            demand_annotations_as_before(data, self.number, self.config.get("annotations_sha256", ""))


def begin(task: Task, folder: Path, shard: tuple[int, int], clock: Clock) -> Begun:
    """Begin a study or continue it, without measuring anything.

    Raises:
        StudyError, RelpropError: as `run`.
    """
    for method in task.methods:
        resolve(method, task.model, profile_named(task.profile))
    store = Store(folder)
    config = task.config()
    store.begin(config)
    parts, done = task.parts(shard), store.done()
    with clock.on("checking"):
        demand_as_measured(task.data, store, {part: parts[part] for part in parts if part in done})
    return Begun(store, config, task.number, parts, done)


def readers_for(task: Task, workers: int | None, device: str, number: int) -> int:
    """Return how many processes read ahead for so many pictures: see `relprop.data.prefetch.chosen`."""
    return chosen(workers, remote=getattr(task.data, "remote", False), device=device, number=number)


@dataclass
class Measurement:
    """The measurement of some pictures."""

    task: Task
    model: torch.nn.Module
    device: str
    cache: Path
    clock: Clock
    fill: Tensor | None = None
    at_once: int = 1
    shrinking: Shrinking = field(default_factory=Shrinking)
    checked: bool = False
    """Whether the record of the network was replayed; the first batch proves it for all."""
    workers: int = 0
    """Processes that read pictures ahead."""
    ahead: Sequence[Sequence[int]] = ()
    """The parts that are to be measured, in order, as far as they are known."""

    @cached_property
    def decoder(self) -> Decoder:
        """What reads the pictures."""
        return Decoder(self.task, self.workers, self.ahead)

    @cached_property
    def later(self) -> dict[str, tuple[Column, ...]]:
        """The columns of the tables that measures add."""
        return later(self.task.measured)

    def part(self, indices: Sequence[int], batch: int, progress: Progress = lambda _: None) -> dict[str, list[Record]]:
        """All tables for these pictures, in their final order."""
        with self.clock.on("decoding"):  # where others read ahead, what is waited for them
            pictures = self.decoder.part(indices)
        methods = list(self.task.methods)
        self.at_once = batch
        tables: dict[str, list[Record]] = {name: [] for name in (*TABLES, *self.later)}
        for alike in with_as_many_classes(pictures):
            for some, found in self.shrinking.over(alike, batch, self._send, self._explain):
                for name, records in found.items():
                    tables[name] += records
                progress(len(some))
        progress(sum(picture.x is None for picture in pictures))  # those that cannot be read
        for picture in pictures:
            tables["rows"] += undefined_rows(picture, methods)
            tables["predictions"].append(prediction(picture, dict(self.task.targets), self.task.data.classes))
        order = {method: k for k, method in enumerate(methods)}
        tables["rows"].sort(key=lambda r: (r["image_index"], r["class_name"], order[r["method"]]))
        tables["pairs"].sort(key=lambda r: (r["image_index"], r["class_a"], r["class_b"], order[r["method"]]))
        for name in ("occlusion", *self.later):  # of one pair and method the order is the measure's own
            tables[name].sort(key=lambda r: (r["image_index"], r["class_name"], order.get(r.get("method", ""), -1)))
        return tables

    @cached_property
    def _sender(self) -> Sender:
        return Sender(torch.device(self.device))

    def _send(self, pictures: Sequence[Picture]) -> Taken:
        """Begin to bring a batch to where the network is."""
        return self._sender.send(lambda: torch.stack([p.x for p in pictures if p.x is not None]))

    def _explain(self, pictures: Sequence[Picture], x: Tensor) -> dict[str, list[Record]]:
        """One forward pass for the batch, all classes and methods; then rows, pairs and the measures' tables."""
        if not pictures[0].targets:
            with self.clock.on("attribution"), torch.no_grad():
                self._note(pictures, logits_of(self.model(x)))
            return {}
        with self.clock.on("attribution"):
            explanation = explain(
                self.model,
                x,
                lambda outputs: self._note(pictures, outputs),
                self.task.methods,
                profile=self.task.profile,
                check=not self.checked,
            )
            self.checked = True
        with self.clock.on("metrics"):
            measured = to_measure(pictures, x, explanation, self.task.top_k)
            rows, pairs = measured.rows_and_pairs()
        found = {"rows": rows, "pairs": pairs}
        for measure in self.task.measured[1:]:  # localisation is what rows are made of
            network = self._network() if measure.needs_model else None
            with self.clock.on(measure.name if measure.needs_model else "metrics"):
                found[measure.name] = measured.rows_of(measure, network)
        return found

    def _note(self, pictures: Sequence[Picture], outputs: Tensor) -> Tensor:
        """Choose for each class the highest of its outputs; (T, B), filled up with what is explained anyway."""
        most = max(len(p.targets) for p in pictures)
        chosen = torch.zeros(most, len(pictures), dtype=torch.long)
        for b, picture in enumerate(pictures):
            picture.logits = outputs[b].detach().float().cpu()
            for t, name in enumerate(picture.targets):
                index = highest(picture.logits, self.task.targets[name])
                picture.targets[name] = index
                chosen[t:, b] = index
        return chosen

    def _network(self) -> Network:
        """The network, for measures that ask it something; versions of a picture come as many as pictures do."""
        return Network(self.model, self.shrinking.at_once(self.at_once), self._mean_image, self._explained)

    def _mean_image(self) -> Tensor:
        """The data set's mean image, normalised: computed when a measure first asks for it."""
        if self.fill is None:
            with self.clock.on("mean image"):
                mean = mean_image(self.task.data, self.task.geometry, self.cache, self.workers)
                self.fill = normalise(mean.pixels, self.task.preprocess)
        return self.fill

    def _explained(self, model: torch.nn.Module, x: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Maps of all methods from another model of the same kind, (N, H, W) each."""
        found = explain(model, x, [targets], self.task.methods, profile=self.task.profile)
        return {method: R[0].sum(1, dtype=torch.float64).cpu() for method, R in found.relevance.items()}


def with_as_many_classes(pictures: Sequence[Picture]) -> Iterator[list[Picture]]:
    """Readable pictures by how many classes of each are to be explained: in batches of these none is in vain."""
    by_number: dict[int, list[Picture]] = {}
    for picture in pictures:
        if picture.x is not None:
            by_number.setdefault(len(picture.targets), []).append(picture)
    for _, alike in sorted(by_number.items()):
        yield alike
