"""What a weight file of any format gives a network: weights, and where it says so preprocessing and classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from relprop.models.errors import ModelError
from relprop.models.files import cards, checkpoints
from relprop.models.files.checkpoints import CAFFE, HDF5

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relprop.data.preprocess import Preprocess
    from relprop.models.files.cards import Card
    from relprop.models.files.checkpoints import State


@dataclass(frozen=True)
class Weights:
    """What a file holds, for one network.

    Attributes:
        source: the file, for errors.
        format: as `checkpoints.format_of` tells it.
        state: the weights under the network's own names, as far as the format is another.
        preprocess: what the file's card or its format says; None: nothing.
        classes: what the file's card says; None: nothing.
        card: None: it has none.
    """

    source: str
    format: str
    state: State
    preprocess: Preprocess | None = None
    classes: tuple[str, ...] | None = None
    card: Card | None = None

    def names(self, count: int, known: tuple[str, ...]) -> tuple[str, ...]:
        """Return a name for each of `count` logits: the card's, or `known` if these are as many, or numbers.

        Raises:
            ModelError: the card has another number of classes than the weights.
        """
        if self.classes is None:
            return known if len(known) == count else numbered(count)
        if len(self.classes) != count:
            reason = f"its card names {len(self.classes)} classes, and its weights have {count}"
            raise ModelError(f"{self.source}: {reason}; convert its source again")
        return self.classes


def numbered(count: int) -> tuple[str, ...]:
    """Names for classes that have none."""
    return tuple(f"class {index}" for index in range(count))


def weights_for(name: str, weights: str | Path | Weights, words: Iterable[str] = ()) -> Weights:
    """Open weights for the network `name`, ready for use.

    Args:
        name: of the network.
        weights: a file; or what is opened already, which is returned.
        words: what else could have been meant where no such file is.

    Raises:
        ModelError: as `open_weights`; or the file says too little to be used as it is.
    """
    if isinstance(weights, Weights):
        return weights
    path = Path(weights)
    checkpoints.demand(path, words)
    if checkpoints.format_of(path) == CAFFE:
        way = f"relprop convert {quote(str(path))} --model {name} --mean MEAN"
        raise ModelError(f"{path}: a .caffemodel does not say which mean its pictures lack; convert it once: {way}")
    return open_weights(path, name)


def open_weights(path: Path, name: str, prototxt: Path | None = None) -> Weights:
    """Read a weight file of any format for the network `name`.

    Args:
        path: safetensors (with a card or without), torch, Keras' .h5 or .caffemodel.
        name: of the network.
        prototxt: what describes the network of a .caffemodel, to be compared with ours.

    Raises:
        ModelError: the file is missing, damaged, made to do harm or of another network than `name`.
    """
    checkpoints.demand(path)
    kind = checkpoints.format_of(path)
    if prototxt is not None and kind != CAFFE:
        raise ModelError(f"{prototxt}: a .prototxt describes a .caffemodel, and {path} is none; leave --prototxt out")
    if kind == HDF5:
        from relprop.models.files import keras_weights  # noqa: PLC0415 - for such files alone

        return Weights(str(path), kind, keras_weights.state(path, name), keras_weights.PREPROCESS)
    if kind == CAFFE:
        return Weights(str(path), kind, _from_caffe(path, name, prototxt))
    state, texts, reserved = checkpoints.read_with_notes(path)
    card = cards.read(texts, reserved, str(path))
    if card is None:
        return Weights(str(path), kind, state)
    if card.model != name:
        raise ModelError(f"{path}: its card says that it is for {card.model}, not {name}; use --model {card.model}")
    return Weights(str(path), kind, state, card.preprocess, card.classes, card)


def _from_caffe(path: Path, name: str, prototxt: Path | None) -> State:
    from relprop.models.files import caffe, caffe_description, caffe_weights  # noqa: PLC0415 - for such files alone

    states = {"caffenet": caffe_weights.caffenet_state, "vgg16": caffe_weights.vgg16_state}
    if name not in states:
        raise ModelError(f"{path}: a .caffemodel, which is read for {' and '.join(states)} alone, not for {name}")
    if prototxt is not None:
        caffe_description.check_prototxt(prototxt, name)
    net = caffe.read_caffemodel(path)
    caffe_description.check(net, name, str(path))
    return states[name](net.weighted, str(path))
