"""Read Keras' weights out of an HDF5 file, in a process that may die of it.

h5py reads; what is here is the confinement, which no library offers: Keras' own loader asks for the whole of Keras, and
HDF5's C library crashes on files made to make it crash. `keras_weights` therefore starts this file as
a program of its own, which confines itself before it looks at anything: little memory, little time, and once the
weights are open no further file, socket or library. It imports nothing of relprop, so that it starts fast.

Standard output is one line of JSON, ``{"weights": [[layer, weight, [size, ...]], ...]}`` or ``{"error": "..."}``,
and then the numbers of these weights one after the other, little-endian float32.
"""

from __future__ import annotations

import codecs
import json
import math
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST = 4 << 30
"""Bytes that the weights of a file may have together, as float32; VGG-19 has 0.57e9."""
SWELL = 50
"""So many bytes of weights per byte of the file at most: what claims more is no compression but a bomb."""
SINGLE = 1 << 30
"""Bytes that one weight may have; the largest of VGG-16 has 0.41e9."""
BLOCK = 32 << 20
"""Bytes read at once, and what one chunk or one row may have."""
MEMORY = 1 << 30
"""Address space beyond what the process has before it opens the file."""
NAMES = 10_000
"""Layers in a file, and weights in a layer."""
LONGEST = 300
"""Characters of a name."""
FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32"}
"""HDF5's own filters; others would be libraries from elsewhere."""


class Refused(Exception):  # noqa: N818 - it is a verdict on the file
    """The file is not read; the message says why."""


def main(path: str, seconds: int, out: BinaryIO) -> None:
    """Write what `path` holds to `out`, as the module's docstring says, within `seconds` of computing."""
    import h5py  # type: ignore[import-untyped]  # noqa: PLC0415 - the paths to import from are set by then

    _confine(seconds)
    with suppress(BrokenPipeError):
        head: dict[str, Any]
        try:
            size = Path(path).stat().st_size
            file = h5py.File(path, "r", locking=False)
            _close_doors()
            found = list(_weights(file))
            _demand_bounded([shape for _, _, shape, _ in found], size)
            head = {"weights": [entry[:3] for entry in found]}
        except Refused as refusal:
            head, found = {"error": str(refusal)}, []
        except Exception:  # noqa: BLE001 - on damaged files the library raises anything
            head, found = {"error": "an HDF5 file cut short or damaged; get a whole copy"}, []
        out.write(json.dumps(head).encode() + b"\n")
        for *_, dataset in found:
            out.writelines(_blocks(dataset))
        out.flush()


def _confine(seconds: int) -> None:
    """Limit memory, computing time, written files and core dumps, where the system can."""
    for name in ("ascii", "utf-8", "latin-1"):
        codecs.lookup(name)  # Python would open files for them later
    try:
        import resource  # noqa: PLC0415 - Windows has none
    except ImportError:
        return
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MEMORY,) * 2)
    for kind, most in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        with suppress(OSError, ValueError):
            resource.setrlimit(kind, (most, most))


def _address_space() -> int:
    """Bytes that this process has now."""
    try:
        import resource  # noqa: PLC0415 - Windows has none

        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    except (OSError, ValueError, ImportError):
        return 1 << 30


def _close_doors() -> None:
    """From now on nothing can be opened: what a link in the file points to, a plugin, a connection."""
    with suppress(ImportError, OSError, ValueError):
        import resource  # noqa: PLC0415 - Windows has none

        resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


def _weights(file: Any) -> Iterator[tuple[str, str, list[int], Any]]:
    """Yield (layer, weight, shape, dataset), in the order that the file names them."""
    group = file
    if "layer_names" not in file.attrs and "model_weights" in file:
        group = _member(file, "model_weights")
    if "layer_names" in group.attrs:
        yield from _keras_2(group)
    elif "layers" in file:
        yield from _keras_3(_member(file, "layers"))
    else:
        raise Refused("an HDF5 file without Keras' layer_names; save the model's weights with Keras")


def _keras_2(group: Any) -> Iterator[tuple[str, str, list[int], Any]]:
    """A group per layer, whose attribute names the weights in it: the layout that Keras 1 to 3 call ``.h5``."""
    for layer in _names(group, "layer_names"):
        inner = _member(group, layer)
        for weight in _names(inner, "weight_names"):
            dataset = _member(inner, weight)
            yield layer, weight, _shape(dataset, f"{layer}/{weight}"), dataset


def _keras_3(group: Any) -> Iterator[tuple[str, str, list[int], Any]]:
    """``layers/conv2d_1/vars/0``: the groups are called by kind, and an attribute has the layer's name."""
    if len(group) > NAMES:
        raise Refused(f"more than {NAMES} layers")
    for kind in group:
        if "vars" not in (outer := _member(group, kind)):
            continue
        inner = _member(outer, "vars")
        if len(inner) > 2:
            raise Refused(f"layers/{_plain(kind)} has more than kernel and bias")
        for weight in inner:
            if "name" not in inner.attrs:
                raise Refused("a Keras 3 .weights.h5 that does not name its layers; save it with model.save('x.h5')")
            (layer,) = _names(inner, "name")
            dataset = _member(inner, weight)
            yield layer, weight, _shape(dataset, f"{layer}/{weight}"), dataset


def _member(group: Any, path: str) -> Any:
    """What stands in `group` itself; links that lead out of it or out of the file are refused."""
    import h5py  # noqa: PLC0415 - as above

    found = group
    for part in path.split("/"):
        if part in ("", ".", "..") or not isinstance(found, h5py.Group) or part not in found:
            raise Refused(f"{_plain(path)}: named, but not there; get a whole copy")
        if not isinstance(found.get(part, getlink=True), h5py.HardLink):
            raise Refused(f"{_plain(path)}: a link to elsewhere, which is refused")
        found = found[part]
    return found


def _names(group: Any, attribute: str) -> list[str]:
    """An attribute that is a string or a list of strings."""
    if attribute not in group.attrs:
        raise Refused(f"{_plain(group.name)}: no attribute {attribute}; it is no file of Keras' weights")
    handle = group.attrs.get_id(attribute)
    number = math.prod(handle.shape)
    if number == 0:
        return []
    if number > NAMES or handle.dtype.kind not in "SO" or handle.get_storage_size() > NAMES * LONGEST:
        raise Refused(f"{_plain(group.name)}: its attribute {attribute} is no list of names")
    value = group.attrs[attribute]
    names = [value] if isinstance(value, (str, bytes)) else list(value.ravel())
    if not all(isinstance(name, (str, bytes)) and len(name) <= LONGEST for name in names):
        raise Refused(f"{_plain(group.name)}: its attribute {attribute} is no list of names")
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _shape(dataset: Any, name: str) -> list[int]:
    """The shape of a weight whose numbers lie in this file as plain floats."""
    import h5py  # noqa: PLC0415 - as above

    if not isinstance(dataset, h5py.Dataset):
        raise Refused(f"{_plain(name)}: no array of numbers")
    plan = dataset.id.get_create_plist()
    if plan.get_layout() == h5py.h5d.VIRTUAL or plan.get_external_count():
        raise Refused(f"{_plain(name)}: its numbers lie in another file, which is refused")
    filters = [plan.get_filter(index)[0] for index in range(plan.get_nfilters())]
    if not set(filters) <= FILTERS.keys():
        raise Refused(f"{_plain(name)}: packed with a filter other than {', '.join(FILTERS.values())}")
    if dataset.dtype.kind != "f" or dataset.dtype.itemsize not in (2, 4, 8):
        raise Refused(f"{_plain(name)}: of type {dataset.dtype}, not of floating-point numbers")
    shape = [int(side) for side in dataset.shape]
    chunk = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
    if not 1 <= len(shape) <= 8 or not math.prod(shape) or max(chunk, math.prod(shape[1:]) * 8) > 4 * BLOCK:
        raise Refused(f"{_plain(name)}: of shape {shape} in chunks of {dataset.chunks}, as no weight is")
    return shape


def _demand_bounded(shapes: list[list[int]], size: int) -> None:
    """Refuse weights that claim far more bytes than the file has.

    Raises:
        Refused: they do.
    """
    claims = [4 * math.prod(shape) for shape in shapes]
    if sum(claims) > min(MOST, SWELL * size) or any(claim > SINGLE for claim in claims):
        raise Refused(f"its {size} bytes claim to hold {sum(claims)} bytes of weights, which is refused")


def _blocks(dataset: Any) -> Iterator[bytes]:
    """The numbers in order, some rows at a time."""
    import numpy as np  # noqa: PLC0415 - as above

    rows = max(1, BLOCK // (8 * math.prod(dataset.shape[1:])))
    for start in range(0, dataset.shape[0], rows):
        yield np.ascontiguousarray(dataset[start : start + rows], dtype="<f4").tobytes()


def _plain(text: str) -> str:
    """A name from the file, safe to print in one line."""
    return ascii(text)[1:-1][:LONGEST]


if __name__ == "__main__":
    sys.path += json.loads(sys.argv[3])
    main(sys.argv[1], int(sys.argv[2]), sys.stdout.buffer)
