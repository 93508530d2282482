"""A class is explained on its pictures, at one layer: through all of its channels, or through one of them."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from relprop.catalogue.names import Method
from relprop.explanation import Explanation
from relprop.propagate import GROWN, explain
from relprop.record.prepare import recorded
from relprop.support.devices import device_of
from relprop.support.errors import InputError, RelpropError
from relprop.support.suggest import did_you_mean
from relprop.tools.concept_members import Samples
from relprop.tools.concept_results import Shown
from relprop.tools.regions import region_of
from relprop.walk.conditions import channels_of

AGAIN = 1e-2
"""So much of its own size may the relevance of a channel differ when a picture is read again: rounding, and no more."""


@dataclass(frozen=True)
class Met:
    """What pictures tell of a layer's channels.

    Attributes:
        pictures: B indices.
        scores: what pictures are compared by, (B, channels).
        values, magnitudes: a channel's relevance, and that of its positions without their signs, (B, channels).
    """

    pictures: tuple[int, ...]
    scores: Tensor
    values: Tensor
    magnitudes: Tensor


@dataclass(frozen=True)
class View:
    """Pictures that are to be seen through one channel, each with its score."""

    channel: int
    pictures: tuple[tuple[int, float], ...]


@dataclass
class Asked:
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

    def met(self, pictures: Sequence[int], x: Tensor) -> Met:
        """What some pictures (B, ...) add to what is known of the channels."""
        R = self.at_layer(self.explain(on_device_of(self.model, x), inside=True))
        return Met(tuple(pictures), self.score(R), R.sum(2), R.abs().sum(2))

    def seen(self, view: View, data: Samples) -> list[Shown]:
        """Some pictures again, with the map through one channel alone."""
        x = torch.stack([data[index][0] for index, _ in view.pictures])
        explanation = self.explain(on_device_of(self.model, x), inside=True, channel=view.channel)
        again = self.score(self.at_layer(explanation))[:, view.channel].tolist()
        for (index, score), other in zip(view.pictures, again, strict=True):
            if abs(score - other) > AGAIN * abs(score):
                raise InputError(
                    f"data[{index}] was another picture when it was read again; leave random augmentation out"
                )
        maps = explanation.relevance["it"][0].cpu()
        return [
            Shown(index, score, float(value), region_of(R), R)
            for (index, score), value, R in zip(view.pictures, explanation.values[0], maps, strict=True)
        ]

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
    demand(layer in modules, f"layer {layer!r} is no module of the model{did_you_mean(layer, modules)}")
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


def on_device_of(model: nn.Module, x: Tensor) -> Tensor:
    """Pictures where the model's parameters are."""
    return x.to(device_of(model))


def demand(holds: bool, otherwise: str) -> None:
    """Raise an `InputError` otherwise."""
    if not holds:
        raise InputError(otherwise)
