"""Files of Keras written by hand, in the layouts that its versions had, and a VGG so small that tests are quick.

Run as a program, ``keras_files.py FILE FOLDER``, it lets Keras itself work: it writes the small VGG in every layout
that Keras still can, with its logits on `picture`, and reads a file into VGG-16 and writes that one's logits.
"""

# ruff: noqa: PLC0415 - Keras is slow to import, and is there for the program alone

import os
import sys
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import nn
from torchvision.models import vgg
from torchvision.models.vgg import VGG, make_layers

BLOCKS = (2, 2, 3, 3, 3)
WIDTHS = (64, 128, 256, 512, 512)
SMALL = (2, 3, 4, 4, 5)
"""Channels per block of the small VGG."""
HIDDEN = 6
"""Width of its fully connected layers."""
PERIOD = 1_000_003
"""Kernels of more numbers repeat themselves: a prime, so that no two rows, columns or channels are alike."""
SMALL_PLAN = [part for width, depth in zip(SMALL, BLOCKS, strict=True) for part in [*[width] * depth, "M"]]
"""The small VGG's convolutions and pools in the words of torchvision's `cfgs`."""


def layers(widths=WIDTHS, hidden=4096, classes=1000, blocks=BLOCKS):
    """Every layer by name with the shape of its kernel, None for those without weights, as Keras orders them."""
    yield "input_1", None
    before = 3
    for block, (width, depth) in enumerate(zip(widths, blocks, strict=True), start=1):
        for number in range(1, depth + 1):
            yield f"block{block}_conv{number}", (3, 3, before, width)
            before = width
        yield f"block{block}_pool", None
    yield "flatten", None
    sizes = pairwise((49 * before, hidden, hidden, classes))
    yield from zip(("fc1", "fc2", "predictions"), sizes, strict=True)


def small(classes=7, **said):
    return layers(SMALL, HIDDEN, classes, **said)


def weights(shapes, seed=0):
    """Random kernels and biases by layer, large enough for logits of all sizes."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, shape in shapes:
        if shape is None:
            found[name] = None
            continue
        kernel = np.resize(rng.standard_normal(min(np.prod(shape), PERIOD), dtype=np.float32), shape)
        kernel *= np.float32((2 / np.prod(shape[:-1])) ** 0.5)
        found[name] = kernel, rng.standard_normal(shape[-1], dtype=np.float32) * np.float32(0.05)
    return found


NAMES = {
    "keras1": "{layer}_W_1:0 {layer}_b_1:0",  # as the published VGG files have it
    "keras2": "{layer}/kernel:0 {layer}/bias:0",
    "again": "{layer}_1/kernel:0 {layer}_1/bias:0",  # a second network in one session of Keras 2
    "keras3": "{layer}/kernel {layer}/bias",
}


def write(path, found, layout="keras1", dtype="f4", **storage):
    """Write weights by layer into a file; `storage` is what h5py's create_dataset takes besides."""
    with h5py.File(path, "w") as file:
        if layout == ".weights.h5":
            _write_by_kind(file, found)
            return path
        group = file.create_group("model_weights") if layout == "whole" else file
        group.attrs["layer_names"] = [name.encode() for name in found]
        group.attrs["backend"] = b"tensorflow"
        group.attrs["keras_version"] = b"2.1.6"
        for layer, arrays in found.items():
            inner = group.create_group(layer)
            names = NAMES["keras2" if layout == "whole" else layout].format(layer=layer).split() if arrays else []
            inner.attrs["weight_names"] = [name.encode() for name in names]
            for name, array in zip(names, arrays or (), strict=True):
                inner.create_dataset(name, data=array.astype(dtype), **storage)
    return path


def _write_by_kind(file, found):
    """Keras 3: groups called conv2d, conv2d_1, ... in no order that would say which is which."""
    kinds = {1: "flatten", 2: "dense", 4: "conv2d"}
    counts = dict.fromkeys(kinds.values(), 0)
    for layer, arrays in found.items():
        kind = kinds[arrays[0].ndim if arrays else 1]
        group = file.create_group(f"layers/{kind}_{counts[kind]}".removesuffix("_0")).create_group("vars")
        counts[kind] += 1
        group.attrs["name"] = layer
        for number, array in enumerate(arrays or ()):
            group[str(number)] = array


def torch_vgg(classes=7):
    """The small VGG with torchvision's own code."""
    return NarrowVGG(make_layers(SMALL_PLAN), classes).eval()


class NarrowVGG(VGG):
    """A VGG whose fully connected layers are as narrow as those of the small one."""

    def __init__(self, features, num_classes=1000, **_):
        with torch.device("meta"):
            super().__init__(nn.Sequential(), num_classes, init_weights=False)
        self.features = features
        sizes = pairwise((49 * SMALL[-1], HIDDEN, HIDDEN, num_classes))
        for index, (before, after) in zip((0, 3, 6), sizes, strict=True):
            self.classifier[index] = nn.Linear(before, after)


def narrow_vgg16(monkeypatch):
    """Let torchvision build its vgg16 as narrow as the small VGG; depth, kernels and names stay."""
    monkeypatch.setitem(vgg.cfgs, "D", SMALL_PLAN)
    monkeypatch.setattr(vgg, "VGG", NarrowVGG)


def picture(seed=0, height=224, width=224):
    """Noise that is smooth enough to survive pooling: (height, width, 3) uint8, RGB."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return coarse.repeat(8, 0).repeat(8, 1)


def keras_answers(model, logits):
    """Write what a network of Keras answers to the picture, prepared by Keras."""
    import keras

    x = keras.applications.vgg16.preprocess_input(picture()[None].astype("f4"))
    np.save(logits, model.predict(x, verbose=0)[0])


def keras_small():
    """The small VGG built with Keras, with random weights and biases."""
    import keras

    x = start = keras.Input((224, 224, 3))
    for name, shape in [*small()][1:]:
        if shape is None:
            layer = keras.layers.Flatten if name == "flatten" else keras.layers.MaxPooling2D
            x = layer(name=name)(x)
        else:
            said = {"name": name, "activation": None if name == "predictions" else "relu"}
            dense = len(shape) == 2
            layer = keras.layers.Dense if dense else keras.layers.Conv2D
            x = (layer(shape[-1], **said) if dense else layer(shape[-1], 3, padding="same", **said))(x)
    model = keras.Model(start, x, name="vgg16")
    for layer in model.layers:
        arrays = weights(small())[layer.name] if layer.weights else None
        if arrays:
            layer.set_weights(arrays)
    return model


def keras_writes(folder):
    """Every layout that Keras writes."""
    from keras.src.legacy.saving import legacy_h5_format

    model = keras_small()
    keras_answers(model, folder / "logits.npy")
    model.save_weights(folder / "small.weights.h5")
    model.save(folder / "whole.h5")
    model.save(folder / "small.keras")
    with h5py.File(folder / "legacy.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def keras_reads(path, logits):
    """Keras' own VGG-16 with the weights of a file."""
    import keras

    keras_answers(keras.applications.VGG16(weights=path, classifier_activation=None), logits)


if __name__ == "__main__":
    os.environ["KERAS_BACKEND"] = "torch"
    torch.set_num_threads(1)
    keras_writes(Path(sys.argv[2]))
    keras_reads(sys.argv[1], Path(sys.argv[2]) / "whole.npy")
