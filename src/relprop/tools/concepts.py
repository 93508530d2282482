"""Concepts: the channels of a layer that matter most for a class, and the pictures that show best what each stands for.

Reference: Achtibat et al., "From attribution maps to human-understandable explanations through Concept Relevance
Propagation" (2023), Nature Machine Intelligence 5: relevance maximisation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from relprop.catalogue.names import Method
from relprop.catalogue.table import BEST
from relprop.support.class_names import class_index
from relprop.support.suggest import did_you_mean
from relprop.tools.concept_maps import Asked, Met, View, demand
from relprop.tools.concept_members import Members, Progress, Samples, label_of
from relprop.tools.concept_results import Concept, Concepts, Shown
from relprop.tools.streams import Best, Moments

BY = ("sum", "max")
"""How the relevance of a channel, which has many positions, becomes one number of a picture."""


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
    hands: Hands | None = None,
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
        hands: who explains; None: this process. Other processes are told pictures by their indices, so `data` needs
            `labels`.

    Returns:
        The channels, best first, each with its mean relevance in units of the logit, a 95 % bootstrap interval, the
        mean of its absolute relevance, and the pictures shown, with their maps and regions.

    Raises:
        InputError: no such layer, or one that is no module's single output; no such class, or no picture of it; a
            method without rules; numbers that are not positive; data that gives other pictures when read again; `hands`
            and no labels.
        UnsupportedOp, RuleError: as `relprop.attribute` does.

    Example:
        >>> import torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)).eval()
        >>> data = [(torch.randn(4), k % 2) for k in range(10)]
        >>> found = concepts(net, data, layer="1", target=0, top=2)
        >>> found.number, len(found.channels)
        (5, 2)
    """
    demand(by in BY, f"by is {by!r}{did_you_mean(by, BY)}")
    demand(min(top, shown, batch) >= 1, f"top {top}, shown {shown}, batch {batch}: each must be positive")
    asked = Asked(model, layer, outputs_of(target, model), method, profile, by)
    hands = hands or Here(asked, data)
    members = Members(data, asked.outputs)
    best, moments = Best(shown), Moments(seed)
    for met in hands.met(members, batch, progress):
        best.add(met.pictures, met.scores)
        moments.add(met.pictures, met.values, met.magnitudes)
    demand(moments.number > 0, members.missing(model))
    ranked = moments.mean.argsort(descending=True, stable=True)[:top].tolist()
    low, high = moments.interval(ranked)
    seen = _seen(hands, {k: best.of(k) for k in ranked}, batch, progress)
    channels = [
        Concept(k, float(moments.mean[k]), low[n], high[n], float(moments.magnitude[k]), tuple(seen[k]))
        for n, k in enumerate(ranked)
    ]
    total = float(moments.mean.sum())
    return Concepts(layer, asked.outputs, by, moments.number, tuple(members.skipped), total, tuple(channels))


def _seen(
    hands: Hands, wanted: Mapping[int, list[tuple[int, float]]], batch: int, progress: Progress
) -> dict[int, list[Shown]]:
    """The pictures of each channel again, with the map through that channel alone."""
    views = [
        View(channel, tuple(pictures[start : start + batch]))
        for channel, pictures in wanted.items()
        for start in range(0, len(pictures), batch)
    ]
    found: dict[int, list[Shown]] = {channel: [] for channel in wanted}
    total = sum(map(len, wanted.values()))
    for view, shown in zip(views, hands.seen(views), strict=True):
        found[view.channel] += shown
        progress("regions", sum(map(len, found.values())), total)
    return found


class Hands(Protocol):
    """Who explains the pictures."""

    def met(self, members: Members, batch: int, progress: Progress) -> Iterator[Met]:
        """What the pictures of a class tell, so many at once, in their order."""

    def seen(self, views: Sequence[View]) -> Iterator[list[Shown]]:
        """Each view's pictures, in order."""


@dataclass(frozen=True)
class Here:
    """This process, which reads each picture once where it looks for those of the class."""

    asked: Asked
    data: Samples

    def met(self, members: Members, batch: int, progress: Progress) -> Iterator[Met]:
        """As `Hands`."""
        for indices, x in members.batches(batch, progress):
            yield self.asked.met(indices, x)

    def seen(self, views: Sequence[View]) -> Iterator[list[Shown]]:
        """As `Hands`."""
        for view in views:
            yield self.asked.seen(view, self.data)


def outputs_of(target: Any, model: nn.Module) -> tuple[int, ...]:
    """The outputs that mean the class."""
    if isinstance(target, str):
        names = getattr(model, "classes", None)
        demand(
            bool(names), f"target is {target!r}, and the model has no .classes that name its outputs; give the index"
        )
        assert names is not None
        return (class_index(target, names),)
    found = label_of(target)
    demand(bool(found), f"target is {target!r}; an output, its name, or several outputs that mean one class are needed")
    return tuple(sorted(found))
