"""Concepts: the channels of a layer that matter most for a class, and the pictures that show best what each stands for.

Reference: Achtibat et al., "From attribution maps to human-understandable explanations through Concept Relevance
Propagation" (2023), Nature Machine Intelligence 5: relevance maximisation.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from relprop.catalogue.names import Method
from relprop.catalogue.table import BEST
from relprop.data.pictures import PictureError
from relprop.explanation import Explanation
from relprop.propagate import GROWN, explain
from relprop.record.prepare import recorded
from relprop.support.class_names import class_index
from relprop.support.devices import device_of
from relprop.support.errors import InputError, RelpropError
from relprop.support.suggest import did_you_mean
from relprop.tools.concept_results import Concept, Concepts, Shown
from relprop.tools.regions import region_of
from relprop.tools.streams import Best, Moments
from relprop.walk.conditions import channels_of

Label = int | Collection[int]
"""The output of the model that means a picture's class, or several of them."""
Progress = Callable[[str, int, int], None]
"""Called with what is being done ("pictures", "regions"), how many are done, and how many there are."""

BY = ("sum", "max")
"""How the relevance of a channel, which has many positions, becomes one number of a picture."""
AGAIN = 1e-2
"""So much of its own size may the relevance of a channel differ when a picture is read again: rounding, and no more."""


class Samples(Protocol):
    """Pictures ready for the network, each with its class, in a fixed order; the same each time they are read.

    Where there is a method `labels`, from an index to the label alone, pictures of other classes are never read.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Tensor, Label]: ...


def concepts(
    model: nn.Module,
    data: Samples,
    layer: str,
    target: int | str | Sequence[int],
    method: Method = BEST,
    *,
    top: int = 8,
    shown: int = 8,
    by: str = "sum",
    profile: str = "paper",
    batch: int = 16,
    seed: int = 0,
    progress: Progress = lambda *_: None,
) -> Concepts:
    """Find the channels of a layer that matter most for a class, and the pictures and regions that show each best.

    The class's own output is explained on every picture of the class. A channel's relevance is what arrives at the
    output of the layer in that channel. One pass over the data keeps, for each channel, sums and a table of the best
    pictures, never the pictures; the few that are shown are read a second time, for the map through that channel alone.

    Args:
        model: in eval mode, with logits (B, C). It is not changed; batches go to the device that its parameters are on.
        data: pictures (C, H, W), or whatever the model takes of one sample, each with the output that means its class,
            or several; such as a torch data set, a list of pairs, or `relprop.data.labelled.Labelled`.
        layer: path of a module that runs once and returns one tensor, such as "features.29". Channels are axis 1,
            behind linear layers on (B, L, D) the last one.
        target: the class: an output, its name where the model has `.classes`, or several outputs that all mean the
            class, of which the highest is explained in each picture.
        method: a method that has rules, by name, or a `Composite`.
        top: how many channels, by their mean relevance; positive relevance speaks for the class.
        shown: how many pictures of each: those in which the channel's relevance is greatest, and positive.
        by: what makes one number of a channel's positions where pictures are compared: "sum", which is what the map
            through the channel adds up to above the layer, or "max", which favours small and strong spots. The mean
            that ranks channels is of the sum in either case.
        profile: numeric conventions, as for `relprop.attribute`.
        batch: pictures at once.
        seed: of the bootstrap.
        progress: called as work goes on.

    Returns:
        The channels, best first, each with its mean relevance in units of the logit, a 95 % bootstrap interval, the
        mean of its absolute relevance, and the pictures shown, with their maps and regions.

    Raises:
        InputError: no such layer, or one that is no module's single output; no such class, or no picture of it; a
            method without rules; numbers that are not positive; data that gives other pictures when read again.
        UnsupportedOp, RuleError: as `relprop.attribute` does.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)).eval()
        >>> data = [(torch.randn(4), k % 2) for k in range(10)]
        >>> found = concepts(net, data, layer="1", target=0, top=2)
        >>> found.number, len(found.channels)
        (5, 2)
    """
    _demand(by in BY, f"by is {by!r}{did_you_mean(by, BY)}")
    _demand(min(top, shown, batch) >= 1, f"top {top}, shown {shown}, batch {batch}: each must be positive")
    asked = _Asked(model, layer, _outputs(target, model), method, profile, by)
    members = _Members(data, asked.outputs, progress)
    best, moments = Best(shown), Moments(seed)
    for indices, x in members.batches(batch):
        R = asked.at_layer(asked.explain(on_device_of(model, x), inside=True))
        best.add(indices, asked.score(R))
        moments.add(indices, R.sum(2), R.abs().sum(2))
    _demand(moments.number > 0, members.missing(model))
    ranked = moments.mean.argsort(descending=True, stable=True)[:top].tolist()
    low, high = moments.interval(ranked)
    wanted = {k: best.of(k) for k in ranked}
    views = _views(asked, data, wanted, batch, progress)
    channels = [
        Concept(k, float(moments.mean[k]), low[n], high[n], float(moments.magnitude[k]), tuple(views[k]))
        for n, k in enumerate(ranked)
    ]
    total = float(moments.mean.sum())
    return Concepts(layer, asked.outputs, by, moments.number, tuple(members.skipped), total, tuple(channels))


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise InputError(otherwise)


def _outputs(target: Any, model: nn.Module) -> tuple[int, ...]:
    """The outputs that mean the class."""
    if isinstance(target, str):
        names = getattr(model, "classes", None)
        _demand(
            bool(names), f"target is {target!r}, and the model has no .classes that name its outputs; give the index"
        )
        assert names is not None
        return (class_index(target, names),)
    found = _label(target)
    _demand(
        bool(found), f"target is {target!r}; an output, its name, or several outputs that mean one class are needed"
    )
    return tuple(sorted(found))


def _label(label: Any) -> frozenset[int]:
    """The outputs that a label means."""
    if isinstance(label, Tensor):
        label = label.tolist()
    try:
        return frozenset([int(label)] if not isinstance(label, Collection) else map(int, label))
    except (TypeError, ValueError):
        raise InputError(
            f"data gives the label {label!r}; the index of the output that means the class, or several, is needed"
        ) from None


# -- explaining --------------------------------------------------------------------------------------


@dataclass
class _Asked:
    """What is explained, and at which layer.

    Attributes:
        axis: of the layer's channels; known once a picture has gone through.
    """

    model: nn.Module
    layer: str
    outputs: tuple[int, ...]
    method: Method
    profile: str
    by: str
    axis: int = 0

    def explain(self, x: Tensor, inside: bool = False, channel: int | None = None) -> Explanation:
        """Explain the class on pictures (B, ...), through all of the layer's channels or through one of them."""
        first = not self.axis
        if first:
            self.axis = channel_axis(self.model, x[:1], self.layer)
        explanation = explain(
            self.model,
            x,
            self.targets,
            {"it": self.method},
            profile=self.profile,
            inside=glob.escape(self.layer) if inside else None,
            conditions=None if channel is None else [{self.layer: [channel]}],
            check=first,
        )
        if "it" not in explanation.ledger:
            raise InputError(
                f"{self.method} has no rules, and gives no relevance inside of a model; choose an LRP method"
            )
        explanation.ledger["it"].demand_closed()
        return explanation

    def targets(self, logits: Tensor) -> list[Tensor]:
        """Of the outputs that mean the class the highest, (B,)."""
        if max(self.outputs) >= logits.shape[1] or min(self.outputs) < 0:
            raise InputError(
                f"target {max(self.outputs)} is out of range: the model has classes 0 to {logits.shape[1] - 1}"
            )
        outputs = torch.tensor(self.outputs, device=logits.device)
        return [outputs[logits[:, outputs].argmax(1)]]

    def at_layer(self, explanation: Explanation) -> Tensor:
        """Relevance at the layer, (B, channels, positions), float64."""
        R = explanation.inside["it"][self.layer][0].double().movedim(self.axis, 1)
        R = R.flatten(2) if R.ndim > 2 else R[:, :, None]
        if not bool(torch.isfinite(R).all()):
            raise RelpropError(f"{self.method}: relevance at {self.layer} is not finite; {GROWN}")
        return R.cpu()

    def score(self, R: Tensor) -> Tensor:
        """What pictures are compared by, (B, channels)."""
        return R.sum(2) if self.by == "sum" else R.amax(2)


def channel_axis(model: nn.Module, x: Tensor, layer: str) -> int:
    """The axis of a layer's channels.

    Args:
        model: the model.
        x: pictures, to be sent through it.
        layer: path of a module.

    Raises:
        InputError: it is no module of the model, or does not return one tensor once, with the pictures along axis 0.
    """
    modules = [name for name, _ in model.named_modules() if name]
    _demand(layer in modules, f"layer {layer!r} is no module of the model{did_you_mean(layer, modules)}")
    tape = recorded(model, x, watch=[glob.escape(layer)])  # to be kept: values know their nodes by weak references
    places = tape.places
    if len(places) != 1:
        within = [name for name in modules if name.startswith(f"{layer}.")][:3]
        more = f"; name one of those within it, such as {', '.join(within)}" if within else "; name another"
        what = f"returns {len(places)} tensors" if places else "does not run, or returns no recorded tensor"
        raise InputError(f"layer {layer!r} {what}, and the output of a module that returns one, once, is needed{more}")
    (value,) = places.values()
    if not value.owners.batch_first or len(value.shape) < 2:
        raise InputError(
            f"layer {layer!r}: its output {tuple(value.shape)} has no axis of pictures and one of channels"
        )
    return channels_of(value)


# -- the data ----------------------------------------------------------------------------------------


@dataclass
class _Members:
    """The pictures of a class, read one after the other.

    Attributes:
        skipped: why a picture cannot be read.
        met: the labels that came by.
    """

    data: Samples
    outputs: tuple[int, ...]
    progress: Progress
    skipped: list[str] = field(default_factory=list)
    met: set[int] = field(default_factory=set)

    def batches(self, size: int) -> Iterator[tuple[list[int], Tensor]]:
        """Indices and pictures (B, ...)."""
        indices: list[int] = []
        pictures: list[Tensor] = []
        for index in range(len(self.data)):
            x = self._read(index)
            if x is not None:
                indices.append(index)
                pictures.append(x)
            if len(pictures) == size:
                yield indices, torch.stack(pictures)
                indices, pictures = [], []
            self.progress("pictures", index + 1, len(self.data))
        if pictures:
            yield indices, torch.stack(pictures)

    def _read(self, index: int) -> Tensor | None:
        """A picture; None where it is of another class, or cannot be read."""
        alone = getattr(self.data, "labels", None)
        try:
            if callable(alone) and not self._mine(alone(index)):
                return None
            x, label = self.data[index]
        except PictureError as error:
            self.skipped.append(str(error))
            return None
        return x if self._mine(label) else None

    def _mine(self, label: Label) -> bool:
        found = _label(label)
        self.met |= found
        return not found.isdisjoint(self.outputs)

    def missing(self, model: nn.Module) -> str:
        """What to say where there is no picture."""
        names = tuple(getattr(model, "classes", None) or ())

        def word(k: int) -> str:
            return f"{k} ({names[k]})" if 0 <= k < len(names) else str(k)

        wanted = " or ".join(map(word, self.outputs))
        if self.skipped:
            return f"no picture of class {wanted} can be read; of {len(self.skipped)} the first: {self.skipped[0]}"
        met = sorted(self.met)
        there = ", ".join(map(word, met[:10])) + ", ..." * (len(met) > 10) if met else "none"
        return f"none of the data's {len(self.data)} pictures is of class {wanted}; classes that are there: {there}"


def _views(
    asked: _Asked, data: Samples, wanted: Mapping[int, list[tuple[int, float]]], batch: int, progress: Progress
) -> dict[int, list[Shown]]:
    """The pictures of each channel again, with the map through that channel alone."""
    total = sum(map(len, wanted.values()))
    views: dict[int, list[Shown]] = {}
    for channel, pictures in wanted.items():
        views[channel] = []
        for start in range(0, len(pictures), batch):
            views[channel] += _seen(asked, data, channel, pictures[start : start + batch])
            progress("regions", sum(map(len, views.values())), total)
    return views


def _seen(asked: _Asked, data: Samples, channel: int, pictures: list[tuple[int, float]]) -> list[Shown]:
    """Some pictures of one channel."""
    x = torch.stack([data[index][0] for index, _ in pictures])
    explanation = asked.explain(on_device_of(asked.model, x), inside=True, channel=channel)
    again = asked.score(asked.at_layer(explanation))[:, channel].tolist()
    for (index, score), other in zip(pictures, again, strict=True):
        if abs(score - other) > AGAIN * abs(score):
            raise InputError(f"data[{index}] was another picture when it was read again; leave random augmentation out")
    maps = explanation.relevance["it"][0].cpu()
    return [
        Shown(index, score, float(value), region_of(R), R)
        for (index, score), value, R in zip(pictures, explanation.values[0], maps, strict=True)
    ]


def on_device_of(model: nn.Module, x: Tensor) -> Tensor:
    """Pictures where the model's parameters are."""
    return x.to(device_of(model))
