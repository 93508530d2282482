"""Is a network that Caffe describes one of ours? CaffeNet and AlexNet have weights of the same shapes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from string import ascii_letters
from typing import Any

import torch
from torch import nn

from relprop.models.errors import ModelError
from relprop.models.files import caffe
from relprop.models.files.caffe import Layer, Net
from relprop.models.networks.caffenet import SIDE, CaffeNet
from relprop.support.suggest import did_you_mean

WEIGHTED = {
    "caffenet": tuple("conv1 conv2 conv3 conv4 conv5 fc6 fc7 fc8".split()),
    "vgg16": tuple(
        "conv1_1 conv1_2 conv2_1 conv2_2 conv3_1 conv3_2 conv3_3 conv4_1 conv4_2 conv4_3 conv5_1 conv5_2 conv5_3 "
        "fc6 fc7 fc8".split()
    ),
}
"""Caffe's names of the layers that have weights, in order, of each network that a .caffemodel can be put into."""
INPUT_SIDES = {"caffenet": SIDE, "vgg16": 224}

PASSING = ("Dropout", "Flatten", "Split")
"""Types of layers that change no number once a network is trained."""
READERS = ("Accuracy", "ArgMax", "Sigmoid", "Silence", "Softmax")
"""Types that may stand after the logits, as may every loss."""


def check_prototxt(path: str | Path, model_name: str) -> None:
    """Compare the network that a ``.prototxt`` describes with ours: order, wiring and settings of its layers.

    Args:
        path: for deployment or for training; data layers, dropout, losses and accuracies do not count.
        model_name: one of `WEIGHTED`.

    Raises:
        ModelError: it cannot be read, or is another network; the first layer that differs is named.
    """
    _known(model_name)
    net = caffe.read_prototxt(path)
    if not any(layer.bottoms for layer in net.layers):
        raise ModelError(f"{path}: none of its layers has a bottom, so it describes no network")
    check(net, model_name, str(path))


def check(net: Net, name: str, source: str) -> None:
    """Compare a network with ours, as `check_prototxt` does.

    A file that holds weights alone, in layers without bottoms, describes no network and passes.

    Raises:
        ModelError: it is another network; the first layer that differs is named.
    """
    begin = f"{source}: not {name}"
    side = INPUT_SIDES[name]
    wrong = [size for size in net.input_sizes if size != (side, side)]
    if wrong:
        raise ModelError(f"{begin}: its input is {'x'.join(map(str, wrong[0]))} pixels, not {side}x{side}")
    found = [layer for layer in net.layers if layer.bottoms and layer.type not in PASSING]
    if not found:
        return
    expected = list(_expected(name))
    for ours, theirs in zip_longest(expected, found):
        if ours is None:
            if theirs.type not in READERS and not theirs.type.endswith("Loss"):
                raise ModelError(f"{begin}: {_called(theirs)} comes after the last layer, {expected[-1].name}")
        elif theirs is None:
            raise ModelError(f"{begin}: it ends before {_called(ours)}")
        elif theirs.type != ours.type:
            raise ModelError(f"{begin}: {_called(theirs)} stands where {_called(ours)} belongs")
        else:
            _check_settings(ours, theirs, begin)
    _check_wiring(net, found[: len(expected)], begin)


def _check_settings(ours: Layer, theirs: Layer, begin: str) -> None:
    for key, value in ours.settings.items():
        given = theirs.settings[key]
        same = math.isclose(given, value, rel_tol=1e-5) if isinstance(value, float) else given == value
        if not same:
            reason = f"{key} {_setting(given)} where {ours.name} has {_setting(value)}"
            raise ModelError(f"{begin}: {_called(theirs)} has {reason}")


def _check_wiring(net: Net, chain: list[Layer], begin: str) -> None:
    """Each layer reads what the one before it wrote, be it through layers that change nothing."""
    writer: dict[str, Layer | None] = {}  # of each blob, so far, the layer of the chain
    place = {id(layer): n for n, layer in enumerate(chain)}
    for layer in net.layers:
        n = place.get(id(layer))
        read = [writer.get(bottom) for bottom in layer.bottoms]
        if n is not None:
            before = chain[n - 1] if n else None
            if len(read) != 1 or read[0] is not before:
                from_ = before.name if before else "the data"
                raise ModelError(f"{begin}: {_called(layer)} reads {', '.join(layer.bottoms[:3])}, not {from_}")
        passed = layer if n is not None else read[0] if read and layer.type in PASSING else None
        writer |= dict.fromkeys(layer.tops, passed)


def _called(layer: Layer) -> str:
    return f"layer {layer.name!r} ({layer.type})"


def _setting(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else f"{value}"


def _known(name: str) -> None:
    if name not in WEIGHTED:
        raise ModelError(f"no network {name!r} is read from Caffe's files{did_you_mean(name, WEIGHTED)}")


def structure(name: str, classes: int) -> nn.Module:
    """The network without any numbers."""
    with torch.device("meta"):
        if name == "caffenet":
            return CaffeNet(classes)
        from torchvision.models import vgg16  # type: ignore[import-untyped]  # noqa: PLC0415 - slow import

        network: nn.Module = vgg16(num_classes=classes, init_weights=False)
        return network


def _expected(name: str) -> Iterator[Layer]:
    """Our network as Caffe would describe it; the number of classes is left open."""
    names = iter(WEIGHTED[name])
    last = ""
    for module in structure(name, 1).modules():
        for kind, (type_, settings, prefix) in _DESCRIBED.items():
            if isinstance(module, kind):
                if not prefix:
                    last = next(names)
                number = last.lstrip(ascii_letters)
                number = number.split("_")[0] if prefix == "pool" else number  # pool1 follows conv1_2
                described = settings(module)
                if last == WEIGHTED[name][-1]:
                    del described["num_output"]
                yield Layer(f"{prefix}{number}" if prefix else last, type_, (), (), described, ())


def _two(size: int | tuple[int, ...]) -> tuple[int, ...]:
    return (size, size) if isinstance(size, int) else tuple(size)


def _convolution(module: Any) -> dict[str, Any]:
    return {
        "num_output": module.out_channels,
        "kernel_size": module.kernel_size,
        "stride": module.stride,
        "pad": module.padding,
        "dilation": module.dilation,
        "group": module.groups,
        "bias_term": True,
    }


def _pooling(module: Any) -> dict[str, Any]:
    settings = {
        "pool": "MAX",
        "kernel_size": _two(module.kernel_size),
        "stride": _two(module.stride),
        "pad": _two(module.padding),
        "global_pooling": False,
    }
    # VGG's pools divide their inputs evenly, so that there is nothing to round.
    return settings | ({"round_mode": "CEIL"} if module.ceil_mode else {})


def _lrn(module: Any) -> dict[str, Any]:
    return {
        "local_size": module.size,
        "alpha": module.alpha,
        "beta": module.beta,
        "k": module.k,
        "norm_region": "ACROSS_CHANNELS",
    }


def _linear(module: Any) -> dict[str, Any]:
    return {"num_output": module.out_features, "bias_term": True, "transpose": False}


_DESCRIBED: dict[type[nn.Module], tuple[str, Any, str]] = {
    nn.Conv2d: ("Convolution", _convolution, ""),
    nn.ReLU: ("ReLU", lambda _: {"negative_slope": 0.0}, "relu"),
    nn.MaxPool2d: ("Pooling", _pooling, "pool"),
    nn.LocalResponseNorm: ("LRN", _lrn, "norm"),
    nn.Linear: ("InnerProduct", _linear, ""),
}
"""Modules in Caffe's words: type, settings, and how the names of those without weights begin."""
