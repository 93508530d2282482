"""Caffe's files, read without Caffe: ``.caffemodel``, ``.prototxt`` and the mean image in a ``.binaryproto``.

Numbers are taken as they are stored; nothing is allocated for a shape before the file was seen to hold that many
numbers. Formats: the `layer` of 2015 and later and the `layers` of 2014; the one before those is refused.

Google's protobuf parses the bytes. No kept-up library does the rest: Caffe's last release is of 2017, and OpenCV's
importer runs a network without saying what its file describes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from relprop.models.errors import ModelError
from relprop.models.files.caffe_schema import ENUMS, message
from relprop.support.files import near

LARGEST = (1 << 31) - 1
"""Bytes of a file: protobuf's own limit."""
LARGEST_TEXT = 1 << 20
"""Bytes of a ``.prototxt``: the deepest published networks stay under a tenth of it."""
MOST_DIMENSIONS = 32
"""Of a blob: Caffe's own limit."""
MOST_LAYERS = 10_000
"""Of a network: several times the deepest published ones."""
LONGEST_NAME = 200

OLD_TYPES = {
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "LRN": "LRN",
    "MVN": "MVN",
    "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
}
"""The old types whose new name is more than a change of case."""


@dataclass(frozen=True)
class Layer:
    """A layer as a file describes it.

    Attributes:
        name: as the file has it.
        type: in the spelling of today, as ``"InnerProduct"``.
        bottoms: the blobs that it reads.
        tops: the blobs that it writes.
        settings: what the computation depends on, Caffe's defaults filled in; of the types Convolution,
            InnerProduct, Pooling, LRN and ReLU. Sizes are pairs (height, width).
        blobs: its weights, float32, in the order and shape of the file.
    """

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    settings: dict[str, Any]
    blobs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Net:
    """A network as a file describes it.

    Attributes:
        layers: in the order of the file, which is that of the computation.
        input_sizes: every (height, width) that the file gives for its input.
    """

    layers: tuple[Layer, ...]
    input_sizes: tuple[tuple[int, ...], ...]

    @property
    def weighted(self) -> dict[str, Layer]:
        """The layers that have weights, by name, in the order of the file."""
        return {layer.name: layer for layer in self.layers if layer.blobs}


def read_caffemodel(path: str | Path) -> Net:
    """Read a ``.caffemodel``.

    Returns:
        The layers and their weights; at least one has some, and no two of those share a name.

    Raises:
        ModelError: no such file, a folder, empty, cut short, another kind of file, Caffe's oldest format, no
            weights, or blobs whose shape is not what they hold, or that hold numbers that are not finite.
    """
    path = Path(path)
    net = _net(_parsed("Net", path, ".caffemodel"), path)
    if not net.layers:
        raise ModelError(f"{path}: holds no layers, so it is not a .caffemodel (a mean image goes to --mean)")
    named = Counter(layer.name for layer in net.layers if layer.blobs)
    if not named:
        raise ModelError(f"{path}: a network without weights; pass the .caffemodel that training wrote")
    (name, times), *_ = named.most_common(1)
    if times > 1:
        raise ModelError(f"{path}: {times} layers with weights are called {name!r}; get a whole copy")
    return net


def read_prototxt(path: str | Path) -> Net:
    """Read a ``.prototxt`` that describes a network, for deployment or for training.

    Raises:
        ModelError: no such file, a folder, empty, not such a text (the place is told), or no layers in it.
    """
    from google.protobuf import text_format  # type: ignore[import-untyped]  # noqa: PLC0415 - for Caffe only

    path = Path(path)
    content = _content(path, ".prototxt", LARGEST_TEXT)
    parsed = message("Net")
    try:
        text_format.Parse(content.decode(), parsed, allow_unknown_field=True)
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: not a .prototxt: no UTF-8 text from byte {error.start} on") from None
    except text_format.ParseError as error:
        reason = "".join(c for c in " ".join(str(error).split()) if c.isprintable())[:200]
        raise ModelError(f"{path}: not a .prototxt that describes a network ({reason})") from None
    except RecursionError:
        raise ModelError(f"{path}: not a .prototxt that describes a network (nested too deeply)") from None
    net = _net(parsed, path)
    if not net.layers:
        raise ModelError(f"{path}: describes no layers; pass the network's deploy.prototxt, not its solver's")
    return net


def read_mean(path: str | Path) -> Tensor:
    """Read a mean image, as Caffe's compute_image_mean writes it into a ``.binaryproto``.

    Returns:
        (3, height, width) float32, blue, green and red in 0..255, as stored.

    Raises:
        ModelError: as `read_caffemodel`; or the image has not three channels, or values outside 0..255.
    """
    path = Path(path)
    blob = _parsed("Blob", path, ".binaryproto")
    if not blob.data and not blob.double_data:
        raise ModelError(f"{path}: holds no mean image; pass the .binaryproto that compute_image_mean wrote")
    mean = _tensor(blob, f"{path}: the mean image")
    if mean.ndim == 4 and len(mean) == 1:
        mean = mean[0]
    if mean.ndim != 3 or len(mean) != 3:
        raise ModelError(f"{path}: a mean image of shape {_size(mean.shape)}, and it must be 3 x height x width")
    if mean.min() < 0 or mean.max() > 255:
        raise ModelError(
            f"{path}: values from {float(mean.min()):.6g} to {float(mean.max()):.6g}, "
            "and a mean of pictures lies in 0..255; get a whole copy"
        )
    return mean


def _content(path: Path, what: str, largest: int) -> bytes:
    """The bytes of a file, or a ModelError why there are none to be had."""
    if path.is_dir():
        raise ModelError(f"{path}: a folder; name one {what} file in it")
    if not path.exists():
        raise ModelError(f"{path}: no such {what} file{near(path)}")
    if not path.is_file():
        raise ModelError(f"{path}: a device or a pipe; copy it into a {what} file first")
    size = path.stat().st_size
    if size > largest:
        raise ModelError(f"{path}: {size} bytes, and a {what} file has {largest} at most")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    if not content:
        raise ModelError(f"{path}: an empty file; get a whole copy of the {what}")
    return content


def _parsed(name: str, path: Path, what: str) -> Any:
    """A binary file as the message `name`; of its bytes no second copy stays behind."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # noqa: PLC0415 - for Caffe only

    content = _content(path, what, LARGEST)
    kind = _kind(content)
    if kind:
        raise ModelError(f"{path}: not a {what} but {kind}")
    parsed = message(name)
    try:
        parsed.ParseFromString(content)
    except DecodeError:
        raise ModelError(f"{path}: not a {what}, or one cut short or damaged; get a whole copy") from None
    return parsed


def _kind(content: bytes) -> str:
    """What else a file is by how it begins: words for an error, or nothing."""
    if content[8:9] == b"{" and content[3:8] == b"\0\0\0\0\0":
        return "a safetensors file; pass it with --weights"
    if content.startswith((b"PK\3\4", b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5")):
        return "a torch file; pass it with --weights"
    if content.startswith(b"\x89HDF"):
        return "an HDF5 file; Caffe writes the other kind with snapshot_format: BINARYPROTO"
    if content.startswith(b"\x93NUMPY"):
        return "a NumPy array"
    # The lengths of names and layers stand near the beginning of a message, and are control characters to a text.
    return "a text, such as a .prototxt" if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in content[:256]) else ""


def _net(parsed: Any, path: Path) -> Net:
    if parsed.layer and parsed.layers:
        raise ModelError(f"{path}: mixes `layer` and `layers`, two of Caffe's formats; get a whole copy")
    count, old = len(parsed.layer) + len(parsed.layers), bool(parsed.layers)
    if count > MOST_LAYERS:
        raise ModelError(f"{path}: {count} layers, and no network has more than {MOST_LAYERS}; the file is damaged")
    layers = [*parsed.layer, *parsed.layers]
    if old and any(layer.HasField("layer") for layer in layers):
        raise ModelError(f"{path}: Caffe's format of 2013; bring it up to date with Caffe's upgrade_net_proto tools")
    return Net(tuple(_layer(layer, old, path) for layer in layers), _input_sizes(parsed, layers))


def _layer(parsed: Any, old: bool, path: Path) -> Layer:
    name = _text(parsed.name, path)
    kind = _new_type(ENUMS["OldType"].split()[parsed.type]) if old else _text(parsed.type, path)
    read = _SETTINGS.get(kind)
    return Layer(
        name=name,
        type=kind,
        bottoms=tuple(_text(bottom, path) for bottom in parsed.bottom),
        tops=tuple(_text(top, path) for top in parsed.top),
        settings=read(parsed) if read else {},
        blobs=tuple(_tensor(blob, f"{path}: blob {n} of layer {name!r}") for n, blob in enumerate(parsed.blobs)),
    )


def _text(raw: bytes, path: Path) -> str:
    """A name, fit to be printed."""
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        name = "\n"  # no more fit than that
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise ModelError(f"{path}: a layer's name, type or blob is called {raw[:40]!r}; the file is damaged")
    return name


def _new_type(old: str) -> str:
    """INNER_PRODUCT is InnerProduct today."""
    return OLD_TYPES.get(old) or old.title().replace("_", "")


def _tensor(blob: Any, where: str) -> Tensor:
    """The numbers of a blob in its shape; `where` begins the error."""
    if blob.data and blob.double_data:
        raise ModelError(f"{where} has its numbers twice, in two precisions; get a whole copy")
    chunks, width = (blob.double_data, 8) if blob.double_data else (blob.data, 4)
    size = sum(map(len, chunks))
    shape = _shape(blob)
    if len(shape) > MOST_DIMENSIONS or min(shape, default=1) < 1:
        raise ModelError(f"{where} has the shape {_size(shape)}, which no blob can have; get a whole copy")
    if prod(shape) * width != size:
        reason = f"{size / width:.10g} packed numbers in the shape {_size(shape)}"
        raise ModelError(f"{where} holds {reason}; get a whole copy (numbers that are not packed are not read)")
    raw = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    numbers = torch.from_numpy(np.frombuffer(raw, f"<f{width}").astype(f"=f{width}")).float().reshape(shape)
    if not torch.stack(numbers.aminmax()).isfinite().all():  # both are NaN where any number is
        raise ModelError(f"{where} holds numbers that are not finite; training diverged, or the file is damaged")
    return numbers


def _shape(blob: Any) -> list[int]:
    """A blob's shape; old files give four numbers, those left out being 0 by Caffe's own reading."""
    sides = ("num", "channels", "height", "width")
    if any(blob.HasField(side) for side in sides):
        return [getattr(blob, side) for side in sides]
    return list(blob.shape.dim[: MOST_DIMENSIONS + 1])


def _size(shape: Sequence[int]) -> str:
    return ("x".join(map(str, shape[:6])) or "scalar") + ("x..." if len(shape) > 6 else "")


def _input_sizes(parsed: Any, layers: list[Any]) -> tuple[tuple[int, ...], ...]:
    """Height and width wherever the file says them: as fields of the network, of an Input layer, of a crop."""
    shapes = [list(parsed.input_dim[:4]), *(list(shape.dim[:4]) for shape in parsed.input_shape[:1])]
    for layer in layers:
        if layer.DESCRIPTOR.name == "Layer" and layer.type == b"Input":
            shapes += [list(shape.dim[:4]) for shape in layer.input_param.shape[:1]]
        crop = layer.transform_param.crop_size
        shapes += [[1, 3, crop, crop]] if crop else []
    return tuple(dict.fromkeys(tuple(shape[2:]) for shape in shapes if len(shape) == 4))


def _pair(settings: Any, plural: str, singular: str, default: int) -> tuple[int, ...]:
    """A size as (height, width), from `kernel_size: 3`, from two of these, or from `kernel_h` and `kernel_w`."""
    if settings.HasField(f"{singular}_h") or settings.HasField(f"{singular}_w"):
        return getattr(settings, f"{singular}_h"), getattr(settings, f"{singular}_w")
    given = tuple(getattr(settings, plural)[:3]) or (default,)
    return given * 2 if len(given) == 1 else given


def _convolution(layer: Any) -> dict[str, Any]:
    p = layer.convolution_param
    dilation = tuple(p.dilation[:3]) or (1,)
    return {
        "num_output": p.num_output,
        "kernel_size": _pair(p, "kernel_size", "kernel", 0),
        "stride": _pair(p, "stride", "stride", 1),
        "pad": _pair(p, "pad", "pad", 0),
        "dilation": dilation * 2 if len(dilation) == 1 else dilation,
        "group": p.group,
        "bias_term": p.bias_term,
    }


def _inner_product(layer: Any) -> dict[str, Any]:
    p = layer.inner_product_param
    return {"num_output": p.num_output, "bias_term": p.bias_term, "transpose": p.transpose}


def _pooling(layer: Any) -> dict[str, Any]:
    p = layer.pooling_param
    return {
        "pool": ENUMS["PoolMethod"].split()[p.pool],
        "kernel_size": _pair(p, "kernel_size", "kernel", 0),
        "stride": _pair(p, "stride", "stride", 1),
        "pad": _pair(p, "pad", "pad", 0),
        "global_pooling": p.global_pooling,
        "round_mode": ENUMS["RoundMode"].split()[p.round_mode],
    }


def _lrn(layer: Any) -> dict[str, Any]:
    p = layer.lrn_param
    region = ENUMS["NormRegion"].split()[p.norm_region]
    return {"local_size": p.local_size, "alpha": p.alpha, "beta": p.beta, "k": p.k, "norm_region": region}


def _relu(layer: Any) -> dict[str, Any]:
    return {"negative_slope": layer.relu_param.negative_slope}


_SETTINGS = {
    "Convolution": _convolution,
    "InnerProduct": _inner_product,
    "Pooling": _pooling,
    "LRN": _lrn,
    "ReLU": _relu,
}
