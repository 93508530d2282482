"""Weights from a file: safetensors, or a torch file of tensors; nothing in it is ever executed.

A file may come from anyone. So its tensors must be plain (dense, on the CPU, of ordinary numbers) and must not claim
more than the file holds, and its names must be names, before anything is built after them. torch and safetensors do
the reading; neither they nor another library make these checks.
"""

from __future__ import annotations

import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from relprop.models.errors import ModelError
from relprop.support.files import near
from relprop.support.one_line import first_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

State = dict[str, torch.Tensor]

RESERVED = "relprop:"
"""Keys that begin so are no weights, but what `relprop.models.files.cards` put beside them."""
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
"""Keys under which training scripts put the state dict beside their own notes."""
PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and Lightning put before every key."""
NUMBERS = {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool, torch.uint8} | {
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
}
"""Types of numbers that weights and counters have."""
SWELL = 50
"""So many bytes of tensors per byte of a packed torch file at most; torch itself packs none."""
HDF5, CAFFE, SAFETENSORS, TORCH = "keras", "caffe", "safetensors", "torch"
"""Formats of weight files."""


def format_of(path: Path) -> str:
    """Tell a file's format, one of `HDF5`, `CAFFE`, `SAFETENSORS` and `TORCH`.

    By its content, whatever its name is; a Caffe model, whose content has no mark, by its name's end ``.caffemodel``.

    Raises:
        ModelError: it is none of these, or may not be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except PermissionError:
        raise ModelError(f"{path}: no permission to read it") from None
    if head.startswith(b"\x89HDF"):
        return HDF5
    named_caffe = path.suffix.lower() == ".caffemodel"
    if head[8:9] == b"{" and (not named_caffe or int.from_bytes(head[:8], "little") <= path.stat().st_size):
        return SAFETENSORS
    if head.startswith((b"PK\x03\x04", b"\x80\x02") if named_caffe else (b"PK", b"\x80")):
        return TORCH
    if named_caffe:
        return CAFFE
    if head.startswith(b"version https://"):
        raise ModelError(f"{path}: stands for a file that Git LFS keeps elsewhere; get that one, with git lfs pull")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ModelError(f"{path}: a web page, not a weight file; get the file that the page is about")
    kind = "an empty file" if not head else "no weight file of a known format"
    raise ModelError(f"{path}: {kind}; pass a state dict as safetensors or torch file, a Keras .h5 or a .caffemodel")


def read(path: str | Path) -> State:
    """Read a state dict.

    Args:
        path: a safetensors or torch file, told apart by their content, not by their name.

    Returns:
        Tensors by key on the CPU, wrappers and prefixes taken off.

    Raises:
        ModelError: no such file, a folder, cut short, of another format, damaged or made to do harm, or a torch
            file that would have to execute code to be read (a whole pickled model, a TorchScript archive).
    """
    return read_with_notes(path)[0]


def read_with_notes(path: str | Path) -> tuple[State, dict[str, str], dict[str, torch.Tensor]]:
    """Read a state dict as `read` does, and what stands beside the weights in a safetensors file.

    Returns:
        The weights, the file's texts by key, and the tensors under `RESERVED` keys. The last two are empty for
        torch files.
    """
    path = Path(path)
    demand(path)
    kind = format_of(path)
    if kind == SAFETENSORS:
        found, notes = _read_safetensors(path)
    elif kind == TORCH:
        found, notes = _read_torch(path), {}
    else:
        raise ModelError(f"{path}: a file of {kind.title()}, which this network is not read from; see relprop convert")
    state = _unwrapped(found, path)
    reserved = {key: state.pop(key) for key in list(state) if kind == SAFETENSORS and key.startswith(RESERVED)}
    return _unprefixed(state), notes, reserved


def demand(path: Path, words: Iterable[str] = ()) -> None:
    """Refuse a path where no file is; `words` are what else could have been meant."""
    if path.is_dir():
        raise ModelError(f"{path}: a folder, not a weight file; name one file in it")
    if not path.exists():
        raise ModelError(f"{path}: no such weight file{near(path, words) or '; check --weights'}")
    if not path.is_file():
        raise ModelError(f"{path}: a device or a pipe, not a weight file; copy it into a file")


def _read_safetensors(path: Path) -> tuple[Any, dict[str, str]]:
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - only who reads such a file needs it

    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        reason = f"{path}: a safetensors file cut short or damaged ({first_line(error)})"
        raise ModelError(f"{reason}; get a whole copy") from None


def _read_torch(path: Path) -> Any:
    try:
        _demand_whole_archive(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle's version
            with path.open("rb") as file:  # of a path, torch would take the end of the name for the format
                return torch.load(file, map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except Exception as error:  # on damaged bytes torch raises anything, struct.error too
        raise ModelError(f"{path}: {_diagnosis(str(error))}") from error


def _demand_whole_archive(path: Path) -> None:
    """Refuse an archive that is cut short, that unpacks to far more than it is, or that is not torch's."""
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return  # the format before the archives
    if not zipfile.is_zipfile(path):
        raise ModelError(f"{path}: a torch file cut short; get a whole copy")
    entries = zipfile.ZipFile(path).infolist()
    if any(entry.filename.endswith("model.weights.h5") for entry in entries):
        raise ModelError(f"{path}: a .keras archive; save the weights alone, with model.save_weights('x.weights.h5')")
    claimed, size = sum(entry.file_size for entry in entries), path.stat().st_size
    if claimed > SWELL * size:
        raise ModelError(f"{path}: its {size} bytes claim to hold {claimed} bytes, which is refused; get a whole copy")


def _diagnosis(error: str) -> str:
    """What torch's message about a file means to whoever passed the file."""
    if "TorchScript" in error:
        return "a TorchScript archive, which holds code; save the state_dict() of the loaded module instead"
    if "Unsupported" in error:
        return "reading it would execute code, which is refused; save model.state_dict() instead of the model"
    return "a torch file cut short or damaged; get a whole copy"


def _unwrapped(found: Any, path: Path) -> State:
    """Descend to the mapping of keys to tensors.

    What a torch file builds may carry attributes that hide methods of its own (``items``, ``numel``): so mappings are
    read through `dict` itself, and tensors are bared of everything but their numbers.
    """
    for _ in WRAPPERS:  # no further down: a file can hold a wrapper within itself
        if not isinstance(found, dict) or any(isinstance(value, torch.Tensor) for value in dict.values(found)):
            break
        inner = next((found[key] for key in WRAPPERS if isinstance(dict.get(found, key), dict)), None)
        if inner is None:
            break
        found = inner
    content = dict(dict.items(found)) if isinstance(found, dict) else {}
    whole = all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in content.items())
    if not whole or not content:
        raise ModelError(f"{path}: holds no state dict (names of parameters and their tensors)")
    state = _Noted((key, torch.Tensor.detach(t) if vars(t) else t) for key, t in content.items())
    state._metadata = _notes(getattr(found, "_metadata", None))  # noqa: SLF001 - torch's name
    for key, tensor in state.items():
        if not _plain(tensor):
            reason = f"{path}: {printable(key)} is {str(tensor.layout).removeprefix('torch.')} {_type(tensor)}"
            raise ModelError(f"{reason} of size {_size(tensor)}; only plain dense tensors, held whole, are read")
    return state


class _Noted(dict[str, torch.Tensor]):
    """A state dict with torch's notes on versions."""

    _metadata: dict[str, dict[str, int]] | None = None


def _notes(found: Any) -> dict[str, dict[str, int]] | None:
    """What torch.save noted on versions, as far as it is that: module paths and ``{"version": n}``."""
    if not isinstance(found, dict):
        return None
    versions = {
        path: dict.get(note, "version")
        for path, note in dict.items(found)
        if isinstance(path, str) and isinstance(note, dict)
    }
    return {path: {"version": version} for path, version in versions.items() if isinstance(version, int)} or None


def _plain(tensor: torch.Tensor) -> bool:
    """Whether a tensor is dense, on the CPU, of ordinary numbers, each of which the file holds."""
    ordinary = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_nested
    return ordinary and tensor.dtype in NUMBERS and tensor.nbytes <= tensor.untyped_storage().nbytes()


def _type(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _unprefixed(state: State) -> State:
    """Take off the prefixes that every key shares; the notes on versions beside the keys are kept."""
    for prefix in PREFIXES:
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def classes_in(state: State, model: torch.nn.Module) -> int:
    """Return a file's number of classes: the length of what it holds for the network's last layer.

    The network's own number where the file's last layer differs in more than that, or its parameters disagree.
    """
    own = dict(model.named_parameters())
    layer = list(own)[-1].rpartition(".")[0]
    last = {key: parameter for key, parameter in own.items() if key.rpartition(".")[0] == layer}
    given = [state.get(key, parameter) for key, parameter in last.items()]
    fitting = all(len(g.shape) and g.shape[1:] == p.shape[1:] for g, p in zip(given, last.values(), strict=True))
    counts = {len(g) for g in given} if fitting else set()
    default = len(own[f"{layer}.weight"])
    return counts.pop() if len(counts) == 1 and 0 not in counts else default


def fit(model: torch.nn.Module, state: State, source: str, name: str) -> None:
    """Copy all of `state` into `model`.

    BatchNorm's counters (``num_batches_tracked``), which eval mode ignores and old files lack, may be absent.

    Args:
        model: is changed in place, and half filled where an error is raised.
        state: as `read` returns it.
        source: where it is from, for the error.
        name: the model's name, for the error.

    Raises:
        ModelError: keys are missing or unexpected, or shapes differ: the first of each are named.
    """
    own = model.state_dict()
    shared = [key for key in own if key in state]
    misshapen = [key for key in shared if state[key].shape != own[key].shape]
    mistyped = [key for key in shared if own[key].is_floating_point() and not state[key].is_floating_point()]
    given = OrderedDict((key, value) for key, value in state.items() if key not in misshapen)
    # These notes tell torch which old layouts to translate; without any the layout is taken to be today's.
    notes = getattr(state, "_metadata", None) or getattr(own, "_metadata", None)
    vars(given)["_metadata"] = notes
    outcome = model.load_state_dict(given, strict=False)
    missing = [key for key in outcome.missing_keys if key not in misshapen]
    wrong = {
        "missing": [key for key in missing if not key.endswith("num_batches_tracked")],
        "unexpected": [printable(key) for key in outcome.unexpected_keys],
        "of another shape": [f"{key} {_size(state[key])} for {_size(own[key])}" for key in misshapen],
        "of another kind": [f"{key} {_type(state[key])} for {_type(own[key])}" for key in mistyped],
    }
    if any(wrong.values()):
        reason = "; ".join(f"{what}: {_first(keys)}" for what, keys in wrong.items() if keys)
        raise ModelError(f"{source}: does not fit {name} ({reason}); it may be another model's: see --model")


def _size(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _first(keys: list[str], most: int = 3) -> str:
    more = f", ... ({len(keys)} in all)" if len(keys) > most else ""
    return ", ".join(keys[:most]) + more
