"""The ONNX family: networks from files, turned into PyTorch's by onnx2torch.

A file may come from anyone, so nothing in it is trusted: its parts are checked, its names are replaced by harmless
ones (the converter writes them into Python code, which it runs), and weights outside of it are read from its own
folder alone.

An ONNX file says nothing of how pictures become its input. A JSON file beside it, ``net.onnx.json`` for ``net.onnx``,
may: ``{"preprocess": {...}, "classes": ["cat", ...]}``, the first as `Preprocess.as_data` gives it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from relprop.data.preprocess import Preprocess
from relprop.models.errors import ModelError
from relprop.models.families import optional_libraries
from relprop.models.families.not_stated import NotStated
from relprop.models.files.weight_files import numbered
from relprop.support.errors import InputError, RelpropError
from relprop.support.files import near
from relprop.support.one_line import first_line, printable

if TYPE_CHECKING:
    from relprop.models.families.family import Loaded

MOST = 2 << 30
"""Bytes: no file of the format can be larger; weights beyond that lie in files beside it."""
COPIES = 256 << 20
"""Bytes: so much may be copied of what a file stores once and uses as the weights of several layers."""
EXPORT = "torch.onnx.export(model, x, FILE, dynamo=False, opset_version=13)"
"""What gives files that the converter reads."""

Shape = tuple[int | None, ...]


class Converted(nn.Module):
    """What the converter made of a file.

    Args:
        network: its modules, and Python code that calls them.
        title: the file, for errors.
        shape: of its input; None for an axis of any length.
    """

    def __init__(self, network: nn.Module, title: str, shape: Shape) -> None:
        super().__init__()
        self.onnx = network
        self.title = title
        self.shape = shape

    def forward(self, x: Tensor) -> Any:
        """Return what the network gives for x.

        Raises:
            InputError: it does not run on x.
        """
        try:
            return self.onnx.forward(x)  # calling it would print errors, beside raising them
        except (torch.OutOfMemoryError, RelpropError):
            raise
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            reason = f"{self.title} takes {_dimensions(self.shape)} and does not run on {_dimensions(tuple(x.shape))}"
            remedy = "give it what it takes, or export it again with dynamic_axes"
            raise InputError(f"{reason} ({first_line(error)}); {remedy}") from error


class Slice(nn.Module):
    """ONNX's Slice; the converter's own indexes by a list, which PyTorch is giving up."""

    def forward(
        self, x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None
    ) -> Tensor:
        """Return x from `starts` to `ends` along `axes`; a negative step runs backwards."""
        index = [slice(None)] * x.ndim
        along = range(len(starts)) if axes is None else axes.tolist()
        strides = [1] * len(starts) if steps is None else steps.tolist()
        for start, end, axis, step in zip(starts.tolist(), ends.tolist(), along, strides, strict=True):
            if step < 0:
                x = x.flip(axis)
                index[axis] = slice(-start - 1, -end - 1, -step)
            else:
                index[axis] = slice(start, end, step)
        return x[tuple(index)]


def load(name: str, weights: str | Path | None) -> Loaded:
    """Convert a file.

    Args:
        name: its path.
        weights: None; an ONNX file holds its own.

    Returns:
        The network; its preprocessing as the JSON file beside it tells, or a `NotStated`; its classes, likewise, or
        ``class 0`` and so on where the file tells their number.

    Raises:
        ModelError: onnx2torch is not installed; no such file, damaged, hostile, not a network of one input, or with
            ops that cannot be converted; weights are given; or the JSON file is not what it should be.
    """
    optional_libraries.library("onnx2torch", name)
    if weights is not None:
        raise ModelError(f"{name}: an ONNX file holds its own weights; leave --weights out")
    path = Path(name)
    if not path.is_file():
        raise ModelError(f"{path}: no such ONNX file{near(path)}")
    model = _parsed(path)
    shape, count = _input_shape(model, path), _output_count(model)
    network = Converted(_converted(model, path), str(path), shape)
    return network, *_card(path, shape, count)


def _parsed(path: Path) -> Any:
    """The file's content, checked, its weights read and its names made harmless."""
    onnx = optional_libraries.library("onnx")
    if path.stat().st_size > MOST:
        raise ModelError(f"{path}: larger than an ONNX file can be (2 GiB); export it with its weights beside it")
    try:
        model = onnx.load_model_from_string(path.read_bytes())
        if not model.graph.node:
            raise ValueError("it holds no network")  # noqa: TRY301 - told as other damage is
        _check_ops(model, path)
        _check_places(model, path)
        helper = optional_libraries.library("onnx.external_data_helper")
        helper.load_external_data_for_model(model, str(path.parent.resolve()))
        onnx.checker.check_model(model)
        model = onnx.shape_inference.infer_shapes(model)
        _write_out_copies(model.graph)
        _rename(model)
    except ModelError:
        raise
    except PermissionError:
        raise ModelError(f"{path}: no permission to read it, or its weights beside it") from None
    except Exception as error:  # whatever the content leads to
        raise ModelError(f"{path}: not an ONNX file, cut short or damaged ({first_line(error)})") from error
    return model


def _check_places(model: Any, path: Path) -> None:
    """Refuse weights in files outside of the file's own folder, and more weights than those files hold.

    Raises:
        ModelError: naming the place, or the sizes.
    """
    home = path.parent.resolve()
    claimed, held = 0, dict[Path, int]()
    for tensor in _tensors(model.graph):
        stored_at = {entry.key: entry.value for entry in tensor.external_data}
        if "location" not in stored_at:
            continue
        place, name = (home / stored_at["location"]).resolve(), printable(stored_at["location"])
        if not place.is_relative_to(home):
            raise ModelError(f"{path}: its weights are in {name!r}, outside of its folder, where none are read from")
        if not place.is_file():
            raise ModelError(f"{path}: its weights are in {name!r}, which is not there; put it beside it")
        held[place] = place.stat().st_size
        claimed += int(stored_at.get("length") or held[place])
    if claimed > 2 * sum(held.values()):
        raise ModelError(
            f"{path}: claims {claimed} bytes of weights in files of {sum(held.values())}; get a whole copy"
        )


def _tensors(graph: Any) -> list[Any]:
    """Every tensor that is written in a graph, those of constants as well."""
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    inside = [tensor for a in attributes for tensor in (*([a.t] if a.HasField("t") else []), *a.tensors)]
    return [*graph.initializer, *inside]


def _check_ops(model: Any, path: Path) -> None:
    """Refuse ops that have no converter, all of them at once.

    Raises:
        ModelError: naming them.
    """
    get_converter = optional_libraries.library("onnx2torch.node_converters.registry").get_converter
    versions = {entry.domain: entry.version for entry in model.opset_import}
    unknown: Counter[str] = Counter()
    for node in model.graph.node:
        try:
            get_converter(node.op_type, version=versions.get(node.domain, 0), domain=node.domain)
        except (NotImplementedError, TypeError):  # the second where the version is no number that versions have
            domain = f" of {printable(node.domain)}" if node.domain else ""
            unknown[f"{printable(node.op_type)}{domain}"] += 1
    if unknown:
        named = ", ".join(f"{op} ({times} times)" if times > 1 else op for op, times in sorted(unknown.items())[:10])
        version = versions.get("", 0)
        raise ModelError(f"{path}: onnx2torch cannot convert {named} of opset {version}; export with {EXPORT}")


def _write_out_copies(graph: Any) -> None:
    """Store what is a copy of a stored tensor, as PyTorch writes equal biases: the converter wants weights stored."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    room = COPIES
    for node in list(graph.node):
        if node.op_type == "Identity" and len(node.input) == len(node.output) == 1 and node.input[0] in stored:
            room -= stored[node.input[0]].ByteSize()
            if room < 0:
                return
            copy = graph.initializer.add()
            copy.CopyFrom(stored[node.input[0]])
            copy.name = node.output[0]
            stored[copy.name] = copy
            graph.node.remove(node)


def _rename(model: Any) -> None:
    """Give every node a name of letters, digits, ``_`` and ``/``, unlike any other, as like its own as possible.

    The converter makes names the names of modules, and writes these into Python code.
    """
    taken = {"initializers", *dir(nn.Module())}
    for node in model.graph.node:
        own = node.name if len(node.name) < 200 else node.op_type
        name = re.sub(r"[^A-Za-z0-9_/]", "_", own).strip("/") or re.sub(r"\W", "_", node.op_type, flags=re.ASCII)
        number = 1
        while name in taken or not name:
            number += 1
            name = f"{name.removesuffix(f'_{number - 1}')}_{number}"
        taken.add(name)
        node.name = name


def _converted(model: Any, path: Path) -> nn.Module:
    """The network.

    Raises:
        ModelError: the converter cannot.
    """
    onnx2torch = optional_libraries.library("onnx2torch")
    try:
        network: nn.Module = onnx2torch.convert(model)
    except Exception as error:  # whatever the content leads to
        raise ModelError(f"{path}: onnx2torch cannot convert it ({first_line(error)}); export with {EXPORT}") from error
    for part, module in network.named_children():
        network.add_module(part, _mended(module))
    return network


def _mended(module: nn.Module) -> nn.Module:
    """What stands in for a module of the converter's: itself, mostly."""
    kind = type(module).__name__
    slope, height = (vars(module).get(number, 0.0) for number in ("alpha", "beta"))
    if kind == "OnnxHardSigmoid" and abs(slope - 1 / 6) < 1e-6 and height == 0.5:
        return nn.Hardsigmoid()  # which the engine knows for a gate, unlike its formula
    return Slice() if kind == "OnnxSlice" else module


def _input_shape(model: Any, path: Path) -> Shape:
    """The shape of the network's only input.

    Raises:
        ModelError: it has none, or several.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    if len(inputs) != 1:
        raise ModelError(f"{path}: takes {len(inputs)} inputs, and networks of one can be explained")
    return _shape(inputs[0])


def _output_count(model: Any) -> int | None:
    """The number of classes, where the file tells it: of the first output that has a row per picture."""
    shapes = [_shape(value) for value in model.graph.output]
    return next((shape[1] for shape in shapes if len(shape) == 2), None)


def _shape(value: Any) -> Shape:
    dimensions = value.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.dim_value > 0 else None for d in dimensions)


def _card(path: Path, shape: Shape, count: int | None) -> tuple[Preprocess | NotStated, tuple[str, ...] | NotStated]:
    """What the JSON file beside an ONNX file tells, and what can be known without it.

    Raises:
        ModelError: it is not JSON, not of that form, or not of that network.
    """
    card = path.with_name(f"{path.name}.json")
    numbers = numbered(count) if count and count <= 1 << 20 else None
    example = json.dumps({"preprocess": Preprocess(224, 256, (0.5,) * 3, (0.25,) * 3).as_data(), "classes": ["cat"]})
    how = f"write {card} as {example}, with its own numbers and names"
    side = shape[2] if len(shape) == 4 and shape[2] == shape[3] else None
    unknown = NotStated(f"{path}: an ONNX file does not tell its preprocessing; {how}", side)
    unnamed = NotStated(f"{path}: does not tell how many classes it has; {how}")
    if not card.is_file():
        return unknown, numbers or unnamed
    try:
        card_data = json.loads(card.read_text(encoding="utf-8"))
        preprocess = Preprocess.from_data(card_data["preprocess"])
        classes = tuple(card_data.get("classes") or numbers or ())
        if not all(isinstance(name, str) for name in classes):
            raise ValueError("classes must be names")  # noqa: TRY301 - told as other mistakes are
        _check_card(preprocess, classes, shape, count)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else first_line(error)
        raise ModelError(f"{card}: does not tell the preprocessing ({reason}); {how}") from None
    return preprocess, classes or unnamed


def _check_card(preprocess: Preprocess, classes: tuple[str, ...], shape: Shape, count: int | None) -> None:
    """Refuse what belongs to another network.

    Raises:
        ValueError: saying what differs.
    """
    given = (3, preprocess.crop, preprocess.crop)
    if shape and (len(shape) != 4 or any(a not in (None, b) for a, b in zip(shape[1:], given, strict=True))):
        raise ValueError(f"it gives {_dimensions((None, *given))}, and the network takes {_dimensions(shape)}")
    if count and classes and len(classes) != count:
        raise ValueError(f"it names {len(classes)} classes, and the network has {count}")


def _dimensions(shape: Shape) -> str:
    return " x ".join("?" if side is None else str(side) for side in shape) or "any shape"
