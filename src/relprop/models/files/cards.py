"""The card that travels with weights: what they are of, what pictures they expect, what they answer.

It is JSON in the metadata of a safetensors file, under one key; a mean image, where there is one, is a tensor beside
the weights. `relprop convert` writes both, `relprop.models.load` believes them, after checking every value: a file may
come from anyone.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

import torch

from relprop.data.preprocess import Preprocess
from relprop.models.errors import ModelError
from relprop.models.files.checkpoints import RESERVED
from relprop.support.one_line import printable

KEY = "relprop"
"""Of the card among a safetensors file's texts."""
MEAN_IMAGE = f"{RESERVED}mean_image"
"""Of the mean image among its tensors."""
VERSION = 1
"""Of the card's own layout."""
LONGEST = 4 << 20
"""Characters of a card."""
MOST_CLASSES = 100_000
LONGEST_NAME = 1_000
"""Characters of a class, a file's name and so on."""
EXACT = 1 << 53
"""Whole numbers up to here, as those that JSON readers agree on."""


@dataclass(frozen=True)
class Origin:
    """The file that the weights are from.

    Attributes:
        file: its name, without folders.
        sha256: of its content.
        format: as `checkpoints.format_of` tells it.
    """

    file: str
    sha256: str
    format: str


@dataclass(frozen=True)
class Check:
    """What the network answers to a fixed picture, as `relprop.models.convert.self_check` has it.

    Attributes:
        input: the picture, in words.
        sha256: of the rounded logits.
        top: the highest logits, (index, logit), highest first.
    """

    input: str
    sha256: str
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Card:
    """What is known about weights.

    Attributes:
        model: the network, by the name that `relprop.models.load` knows.
        classes: a name per logit.
        preprocess: what pictures must go through.
        source: where the weights are from.
        check: what they answer.
        relprop: the version that wrote the card.
    """

    model: str
    classes: tuple[str, ...]
    preprocess: Preprocess
    source: Origin
    check: Check
    relprop: str

    def as_data(self) -> dict[str, Any]:
        """All but the mean image, fit for JSON."""
        return {
            "format": VERSION,
            "model": self.model,
            "classes": list(self.classes),
            "preprocess": self.preprocess.as_data(),
            "mean_image": self.preprocess.mean_image is not None,
            "source": vars(self.source),
            "check": vars(self.check),
            "relprop": self.relprop,
        }


def write(card: Card) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Return the texts and the tensors that a safetensors file carries a card in."""
    image = card.preprocess.mean_image
    tensors = {} if image is None else {MEAN_IMAGE: image.float().contiguous()}
    return {KEY: json.dumps(card.as_data(), sort_keys=True)}, tensors


def read(texts: dict[str, str], tensors: dict[str, torch.Tensor], source: str) -> Card | None:
    """Read what `write` gave; None where there is no card.

    Args:
        texts: a safetensors file's metadata.
        tensors: those of its tensors whose keys are reserved for relprop.
        source: the file, for the error.

    Raises:
        ModelError: the card is damaged or made to do harm, or a later version of relprop wrote it.
    """
    unknown = [key for key in tensors if key != MEAN_IMAGE]
    if unknown or (tensors and KEY not in texts):
        key = printable([*unknown, MEAN_IMAGE][0])
        raise ModelError(f"{source}: {key} belongs to no card; convert its source again")
    if KEY not in texts:
        return None
    try:
        return _card(_parsed(texts[KEY]), tensors.get(MEAN_IMAGE))
    except (ValueError, TypeError, RecursionError) as error:
        reason = printable(str(error), 200)
        raise ModelError(f"{source}: its card cannot be used ({reason}); convert the source again") from None


def _parsed(text: str) -> dict[str, Any]:
    if len(text) > LONGEST:
        raise ValueError(f"{len(text)} characters")
    found = json.loads(text, parse_float=_finite, parse_int=_whole, parse_constant=_finite)
    if not isinstance(found, dict):
        raise TypeError("not an object")
    version = found.get("format")
    if isinstance(version, int) and version > VERSION:
        raise ValueError(f"of format {version}, and this relprop reads {VERSION}: update it")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:20]}")
    return number


def _whole(text: str) -> int:
    number = int(text)
    if abs(number) > EXACT:
        raise ValueError(f"the number {text[:20]}")
    return number


def _card(data: dict[str, Any], mean_image: torch.Tensor | None) -> Card:
    """Check every value.

    Raises:
        ValueError: one of them is not what a card says there.
    """
    if data.get("format") != VERSION:
        raise ValueError("no format")
    if data.get("mean_image") is not (mean_image is not None):
        raise ValueError("its mean image is not there, or is there unsaid")
    classes = _list(data, "classes", MOST_CLASSES)
    return Card(
        model=_text(data.get("model"), "model"),
        classes=tuple(_text(name, "a class") for name in classes),
        preprocess=_preprocess(data.get("preprocess"), mean_image),
        source=_origin(data.get("source")),
        check=_check(data.get("check"), len(classes)),
        relprop=_text(data.get("relprop"), "relprop"),
    )


def _preprocess(data: Any, mean_image: torch.Tensor | None) -> Preprocess:
    if not isinstance(data, dict) or any(isinstance(value, bool) for value in data.values()):
        raise ValueError(f"preprocess is {data!r:.80}")
    if mean_image is not None and not (mean_image.is_floating_point() and mean_image.isfinite().all()):
        raise ValueError("its mean image has numbers that are none")
    if mean_image is not None and (mean_image.ndim != 3 or len(mean_image) != 3):
        raise ValueError(f"its mean image has shape {list(mean_image.shape)}, not [3, height, width]")
    return Preprocess.from_data(data, None if mean_image is None else mean_image.float())


def _origin(data: Any) -> Origin:
    if not isinstance(data, dict) or data.keys() != {"file", "sha256", "format"}:
        raise ValueError(f"source is {data!r:.80}")
    return Origin(_text(data["file"], "source"), _sha256(data["sha256"]), _text(data["format"], "source"))


def _check(data: Any, classes: int) -> Check:
    if not isinstance(data, dict) or data.keys() != {"input", "sha256", "top"}:
        raise ValueError(f"check is {data!r:.80}")
    top = _list(data, "top", classes)
    for pair in top:
        whole = isinstance(pair, list) and len(pair) == 2 and type(pair[0]) is int and type(pair[1]) in (int, float)
        if not whole or not 0 <= pair[0] < classes:
            raise ValueError(f"check has the logit {pair!r:.80}")
    pairs = tuple((index, float(logit)) for index, logit in top)
    return Check(_text(data["input"], "check"), _sha256(data["sha256"]), pairs)


def _list(data: dict[str, Any], key: str, most: int) -> list[Any]:
    found = data.get(key)
    if not isinstance(found, list) or not 1 <= len(found) <= most:
        raise ValueError(f"{key} is {found!r:.80}")
    return found


def _text(value: Any, what: str) -> str:
    """A text of one line, fit to be printed."""
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME or not value.isprintable():
        raise ValueError(f"{what} is {value!r:.80}")
    return value


def _sha256(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError(f"sha256 is {value!r:.80}")
    return value
