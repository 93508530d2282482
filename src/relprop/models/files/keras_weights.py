"""VGG-16 and VGG-19 from the files of Keras' applications.

Three layouts of HDF5 are read: what ``save_weights`` of Keras 1 and 2 and the published files have (a group per layer,
named), whole models saved as ``.h5`` (the same under ``model_weights``), and the ``.weights.h5`` of Keras 3 where its
layers carry their names. Layers are recognised by these names alone: ``block1_conv1`` to ``block5_conv3``, ``fc1``,
``fc2``, ``predictions``.

The file is opened by another process, `relprop.models.files.hdf5_child`, which may crash without harm.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from threading import Event, Timer
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import torch

from relprop.data.preprocess import Preprocess
from relprop.models.errors import ModelError
from relprop.models.files import hdf5_child

if TYPE_CHECKING:
    from relprop.models.files.checkpoints import State

Layers = dict[str, dict[str, torch.Tensor]]

BLOCKS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
"""Convolutions per block of the networks that can be read."""
MEAN = (103.939, 116.779, 123.68)
"""What ``keras.applications.vgg16.preprocess_input`` subtracts from blue, green and red in 0..255."""
PREPROCESS = Preprocess(224, 224, MEAN, (1.0, 1.0, 1.0), channels="BGR", scale=255.0)
"""That function's numbers, and the paper's geometry: the shorter side becomes 224 pixels, the centre is cut out."""
SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""The first bytes of an HDF5 file."""
PATIENCE = 60
"""Seconds that reading may take, and one more per `SPEED` bytes of the file."""
SPEED = 4 << 20

_ROLE = re.compile(r"(?:.*_)?(kernel|W|bias|b)(?:_\d+)?(?::\d+)?")  # block1_conv1_W_1:0, kernel:0, kernel
_ROLES = {"kernel": "kernel", "W": "kernel", "0": "kernel", "bias": "bias", "b": "bias", "1": "bias"}


def state(path: str | Path, name: str) -> State:
    """Read the weights of a VGG network, under torchvision's names and in its order of dimensions.

    Args:
        path: the file.
        name: one of `BLOCKS`.

    Raises:
        ModelError: another network is asked for, or the file is damaged, hostile, of another network or layout.
    """
    if name not in BLOCKS:
        known = " and ".join(BLOCKS)
        raise ModelError(f"{path}: an HDF5 file of Keras, which is read for {known} alone, not for {name}")
    return vgg_state(read(path), name, str(path))


def vgg_state(layers: Layers, name: str, source: str) -> State:
    """Translate layers of Keras' VGG into torchvision's state dict.

    Kernels turn from (height, width, in, out) to (out, in, height, width). The first linear layer takes features
    in the order height, width, channel there, and channel, height, width here.

    Args:
        layers: "kernel" and "bias" by layer.
        name: one of `BLOCKS`.
        source: where they are from, for the error.

    Raises:
        ModelError: layers are missing, too many, or of another form.
    """
    paths = _paths(name)
    missing = [layer for layer in paths if layer not in layers]
    foreign = [ascii(layer)[1:-1] for layer in layers if layer not in paths]
    if missing or foreign:
        differing = [f"{what} {', '.join(some[:3])}" for what, some in (("no", missing), ("unknown", foreign)) if some]
        notop = "; a file without its top cannot classify: get the one with it" if missing[:1] == ["fc1"] else ""
        raise ModelError(f"{source}: not the layers of Keras' {name} ({'; '.join(differing)}){notop}")
    found: State = {}
    channels = 3
    for layer, path in paths.items():
        kernel, bias = _parts(layers[layer], layer, source)
        if path.startswith("features"):
            kernel, channels = _convolution(kernel, layer, source), kernel.shape[-1]
        else:
            kernel = _linear(kernel, channels if layer == "fc1" else 1, layer, source)
        found[f"{path}.weight"], found[f"{path}.bias"] = kernel, bias
    return found


def _paths(name: str) -> dict[str, str]:
    """Torchvision's path of each layer of Keras; a ReLU follows each convolution and a pool each block."""
    paths: dict[str, str] = {}
    index = 0
    for block, depth in enumerate(BLOCKS[name], start=1):
        for number in range(1, depth + 1):
            paths[f"block{block}_conv{number}"] = f"features.{index}"
            index += 2
        index += 1
    return paths | {"fc1": "classifier.0", "fc2": "classifier.3", "predictions": "classifier.6"}


def _parts(parts: dict[str, torch.Tensor], layer: str, source: str) -> tuple[torch.Tensor, torch.Tensor]:
    if parts.keys() != {"kernel", "bias"} or parts["bias"].ndim != 1:
        held = ", ".join(f"{role} {list(part.shape)}" for role, part in parts.items())
        raise ModelError(f"{source}: {layer} must have a kernel and a bias, and has {held}")
    return parts["kernel"], parts["bias"]


def _convolution(kernel: torch.Tensor, layer: str, source: str) -> torch.Tensor:
    if kernel.ndim != 4 or kernel.shape[:2] != (3, 3):
        reason = f"{source}: the kernel of {layer} has shape {list(kernel.shape)}, not [3, 3, in, out]"
        raise ModelError(f"{reason}; files in Theano's order of dimensions are not read: get the one for TensorFlow's")
    return kernel.permute(3, 2, 0, 1)


def _linear(kernel: torch.Tensor, channels: int, layer: str, source: str) -> torch.Tensor:
    """(in, out) to (out, in); with several `channels` the inputs are a map of them, height and width being equal."""
    side = math.isqrt(kernel.shape[0] // channels)
    if kernel.ndim != 2 or (channels > 1 and side * side * channels != kernel.shape[0]):
        raise ModelError(f"{source}: the kernel of {layer} has shape {list(kernel.shape)}, which does not fit")
    if channels == 1:
        return kernel.T
    return kernel.reshape(side, side, channels, -1).permute(3, 2, 0, 1).flatten(1)


def read(path: str | Path) -> Layers:
    """Read "kernel" and "bias" of every layer that has weights, as float32 and in Keras' order of dimensions.

    Args:
        path: an HDF5 file that Keras wrote.

    Raises:
        ModelError: it is damaged, or of another layout, or made to do harm: links to other files, claims of more
            numbers than it can hold, what crashes HDF5's library or keeps it busy.
    """
    path = Path(path)
    seconds = PATIENCE + path.stat().st_size // SPEED
    process, late = _start(path, seconds), Event()

    def give_up() -> None:
        late.set()
        process.kill()

    timer = Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        layers = _received(cast("BinaryIO", process.stdout), str(path))
        if process.wait() == 0 and layers is not None:
            return layers
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        cast("BinaryIO", process.stdout).close()
    why = f"not read after {seconds} seconds" if late.is_set() else "HDF5's library fails on it: damaged or hostile"
    raise ModelError(f"{path}: {why}; get a whole copy")


def _start(path: Path, seconds: int) -> subprocess.Popen[bytes]:
    """Start the child. It sees only where NumPy and h5py are, and no setting of this process."""
    specs = [importlib.util.find_spec(package) for package in ("numpy", "h5py")]
    if None in specs:
        raise ModelError(f"{path}: an HDF5 file, which takes h5py to read: install h5py")
    places = {str(Path(cast("str", spec.origin)).parents[1]) for spec in specs if spec}
    settings = {"HDF5_USE_FILE_LOCKING": "FALSE", "HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1"}
    try:
        return subprocess.Popen(  # noqa: S603 - our own file, run by our own interpreter
            [sys.executable, "-I", hdf5_child.__file__, str(path.absolute()), str(seconds), json.dumps([*places])],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | settings,
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: no process to read it in ({error}); make room for one") from None


def _received(stream: BinaryIO, source: str) -> Layers | None:
    """What the child says; None: it did not say all."""
    line = stream.readline(hdf5_child.NAMES * hdf5_child.LONGEST)
    if not line.endswith(b"\n"):
        return None
    head = json.loads(line)
    if "error" in head:
        raise ModelError(f"{source}: {head['error']}")
    layers: Layers = {}
    for layer, weight, shape in head["weights"]:
        role, parts = _role(layer, weight, source), layers.setdefault(layer, {})
        if role in parts:
            raise ModelError(
                f"{source}: {ascii(layer)[1:-1]} has a {role} twice; a network within a network is not read"
            )
        try:
            parts[role] = torch.empty(shape)
        except RuntimeError:
            raise ModelError(f"{source}: no memory for its weights, such as {shape} numbers; free some") from None
        if not _fill(parts[role], stream):
            return None
    return layers


def _fill(numbers: torch.Tensor, stream: BinaryIO) -> bool:
    """Read as many numbers as there is room for; False: the stream ended before."""
    room = memoryview(cast("Any", numbers.numpy())).cast("B")
    read_into = cast("Any", stream).readinto
    done = 0
    while done < len(room):
        number = read_into(room[done:])
        if not number:
            return False
        done += number
    return True


def _role(layer: str, weight: str, source: str) -> str:
    last = weight.rsplit("/", 1)[-1]
    match = _ROLE.fullmatch(last)
    role = _ROLES.get(match[1] if match else last)
    if role is None:
        reason = f"{ascii(layer)[1:-1]} holds {ascii(last)[1:-1]}, which is neither a kernel nor a bias"
        raise ModelError(f"{source}: {reason}; it is no VGG network")
    return role
