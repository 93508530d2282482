"""How pictures are prepared for weights: what whoever converts says, or else what a card or the format says.

It is never guessed. What is said of neither is an error that names the flags.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relprop.data.preprocess import Preprocess
from relprop.models.files.checkpoints import CAFFE
from relprop.models.registry import family_of
from relprop.support.errors import RelpropError
from relprop.support.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relprop.models.files.weight_files import Weights

FLAGS = ("crop", "resize", "mean", "std", "channels", "scale")
"""What must be known of the preprocessing; each is a flag of the command line as well."""
PRESETS = ("torchvision", "embedded", "keras", "caffe")


class ConvertError(RelpropError):
    """What was asked for does not go together; the message says what is missing or wrong."""


@dataclass(frozen=True)
class Wanted:
    """What is to be converted, and what whoever converts says about it; None: nothing.

    Attributes:
        source: the weight file.
        model: a name that `relprop.models.load` knows, of a network that is embedded, torchvision's or CaffeNet.
        out: where the result goes.
        preset: one of `PRESETS`: "torchvision" and "embedded" are what the network's own published weights
            expect; "keras" is ``keras.applications.vgg16.preprocess_input`` with the paper's geometry; "caffe" is
            BGR in 0..255 with it, and leaves the mean open.
        mean: a ``.binaryproto`` file, or three numbers in the order of `channels`, in 0..scale.
        std, channels, scale, crop, resize: as `Preprocess` has them.
        classes: a file, or one of `class_names.NAMED`.
        prototxt: describes the network of a .caffemodel.
        force: whether `out` may replace any file.
    """

    source: Path
    model: str
    out: Path
    preset: str | None = None
    mean: str | None = None
    std: tuple[float, ...] | None = None
    channels: str | None = None
    scale: float | None = None
    crop: int | None = None
    resize: int | tuple[int, int] | None = None
    classes: str | None = None
    prototxt: Path | None = None
    force: bool = False


def preprocessing_for(wanted: Wanted, found: Weights) -> Preprocess:
    """Put together what is known of the preprocessing: what flags say, or else a preset, a card, the format.

    Raises:
        ConvertError: that is too little, or does not go together.
    """
    known = _base(wanted, found)
    said = {flag: getattr(wanted, flag) for flag in FLAGS if getattr(wanted, flag) is not None}
    other = [flag for flag in ("channels", "scale") if said.get(flag, known.get(flag)) != known.get(flag)]
    if other and "mean" in known and "mean" not in said:
        raise ConvertError(f"--{other[0]} changes what the mean is the mean of: give --mean too")
    known |= said
    missing = [flag for flag in FLAGS if flag not in known]
    if missing:
        raise ConvertError(_too_little(wanted, found, missing))
    if "mean" in said:
        known |= _mean(said["mean"], known)
    try:
        return Preprocess(**known)
    except ValueError as error:
        raise ConvertError(f"{error}; see --crop, --resize and --mean") from None


def _base(wanted: Wanted, found: Weights) -> dict[str, Any]:
    """What is known without flags."""
    preset = wanted.preset or ("caffe" if found.format == CAFFE else None)
    if preset is None:
        return _fields(found.preprocess)
    if preset not in PRESETS:
        raise ConvertError(f"no preprocessing {preset!r}{did_you_mean(preset, PRESETS)}")
    if preset == "caffe":
        from relprop.models.networks import caffenet  # noqa: PLC0415 - for Caffe alone

        sizes = {"vgg16": (224, 224), "caffenet": (caffenet.SIDE, (caffenet.SIDE, caffenet.SIDE))}
        size = dict(zip(("crop", "resize"), sizes.get(wanted.model, ()), strict=False))
        return {"channels": "BGR", "scale": 255.0, "std": (1.0, 1.0, 1.0)} | size
    if preset == "keras":
        from relprop.models.files import keras_weights  # noqa: PLC0415 - for Keras alone

        if wanted.model in keras_weights.BLOCKS:
            return _fields(keras_weights.PREPROCESS)
    elif preset == family_of(wanted.model).title:
        return _fields(_published(wanted.model))
    raise ConvertError(f"--preprocess {preset} says nothing about {wanted.model}; {_all_flags(FLAGS)}")


def _published(model: str) -> Preprocess:
    """What the network's own published weights expect."""
    if family_of(model).title == "embedded":
        from relprop.models.networks import digits  # noqa: PLC0415 - for these alone

        return digits.PREPROCESS
    from relprop.models.families import torchvision_zoo  # noqa: PLC0415 - torchvision takes long to import

    return torchvision_zoo.preprocessing(model)


def _fields(preprocess: Preprocess | None) -> dict[str, Any]:
    return {} if preprocess is None else {f.name: getattr(preprocess, f.name) for f in fields(preprocess)}


def _too_little(wanted: Wanted, found: Weights, missing: list[str]) -> str:
    if missing == ["mean"]:
        return f"{wanted.source}: nothing says which mean to subtract: add --mean FILE.binaryproto or --mean B,G,R"
    title = family_of(wanted.model).title
    preset = f"--preprocess {title} if they were trained with it, or " if title in PRESETS else ""
    reason = f"{wanted.source}: {found.format} weights without a card do not say how pictures are prepared for them"
    return f"{reason}; add {preset}{_all_flags(missing)}"


def _all_flags(flags: Iterable[str]) -> str:
    return f"say all of {' '.join(f'--{flag}' for flag in flags)}"


def _mean(text: str, known: dict[str, Any]) -> dict[str, Any]:
    """Numbers as typed, or the mean image of a file, with its channels' means beside it."""
    numbers = three(text)
    if numbers is not None:
        return {"mean": numbers, "mean_image": None}
    if Path(text).suffix != ".binaryproto":
        raise ConvertError(f"--mean {text}: give a .binaryproto file, or three numbers such as 104,117,123")
    from relprop.models.files import caffe  # noqa: PLC0415 - for Caffe alone

    image = caffe.read_mean(text)
    if (known["channels"], known["scale"]) != ("BGR", 255):
        reason = f"{text}: a .binaryproto has BGR in 0..255, and this network takes"
        raise ConvertError(f"{reason} {known['channels']} in 0..{known['scale']:g}; give --mean three numbers")
    return {"mean": tuple(image.mean((1, 2)).tolist()), "mean_image": image}


def three(text: str) -> tuple[float, ...] | None:
    """Read three finite numbers between commas; None: they are none."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        return None
    return numbers if len(numbers) == 3 and all(map(math.isfinite, numbers)) else None
