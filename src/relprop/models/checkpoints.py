"""Weights from a file: safetensors, or a torch file of tensors; nothing in it is ever executed."""

from __future__ import annotations

import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from relprop.errors import RelpropError
from relprop.files import near

if TYPE_CHECKING:
    from collections.abc import Iterable

State = dict[str, torch.Tensor]

WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
"""Keys under which training scripts put the state dict beside their own notes."""
PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and Lightning put before every key."""


class ModelError(RelpropError):
    """A model that cannot be had; the message says why and what to do."""


def read(path: str | Path) -> State:
    """Read a state dict.

    Args:
        path: a safetensors or torch file, told apart by their content, not by their name.

    Returns:
        Tensors by key on the CPU, wrappers and prefixes taken off.

    Raises:
        ModelError: no such file, a folder, cut short, of another format, or a torch file that would have
            to execute code to be read (a whole pickled model, a TorchScript archive).
    """
    path = Path(path)
    demand(path)
    try:
        with path.open("rb") as file:
            head = file.read(16)
        found = _read_safetensors(path) if head[8:9] == b"{" else _read_torch(path, head)
    except PermissionError:
        raise ModelError(f"{path}: no permission to read it") from None
    return _unprefixed(_unwrapped(found, path))


def demand(path: Path, words: Iterable[str] = ()) -> None:
    """Refuse a path where no file is; `words` are what else could have been meant."""
    if path.is_dir():
        raise ModelError(f"{path}: a folder, not a weight file; name one file in it")
    if not path.exists():
        raise ModelError(f"{path}: no such weight file{near(path, words) or '; check --weights'}")


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError  # noqa: PLC0415 - only who reads such a file needs it
    from safetensors.torch import load_file  # noqa: PLC0415 - likewise

    try:
        return load_file(path)
    except (SafetensorError, ValueError) as error:
        reason = f"{path}: a safetensors file cut short or damaged ({error})"
        raise ModelError(f"{reason}; get a whole copy") from None


def _read_torch(path: Path, head: bytes) -> Any:
    if not head.startswith((b"PK", b"\x80")):
        kind = "an empty file" if not head else "neither a safetensors nor a torch file"
        raise ModelError(f"{path}: {kind}; pass a state dict saved as one of the two")
    if head.startswith(b"PK") and not zipfile.is_zipfile(path):
        raise ModelError(f"{path}: a torch file cut short; get a whole copy")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle's version
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on damaged bytes torch raises anything, struct.error too
        raise ModelError(f"{path}: {_diagnosis(str(error))}") from error


def _diagnosis(error: str) -> str:
    """What torch's message about a file means to whoever passed the file."""
    if "TorchScript" in error:
        return "a TorchScript archive, which holds code; save the state_dict() of the loaded module instead"
    if "Unsupported" in error:
        return "reading it would execute code, which is refused; save model.state_dict() instead of the model"
    return "a torch file cut short or damaged; get a whole copy"


def _unwrapped(found: Any, path: Path) -> State:
    """Descend to the mapping of keys to tensors."""
    while isinstance(found, dict) and not any(isinstance(value, torch.Tensor) for value in found.values()):
        inner = next((found[key] for key in WRAPPERS if isinstance(found.get(key), dict)), None)
        if inner is None:
            break
        found = inner
    whole = isinstance(found, dict) and all(isinstance(value, torch.Tensor) for value in found.values())
    if not whole or not found:
        raise ModelError(f"{path}: holds no state dict (names of parameters and their tensors)")
    state: State = found
    return state


def _unprefixed(state: State) -> State:
    """Take off the prefixes that every key shares; the notes on versions beside the keys are kept."""
    for prefix in PREFIXES:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


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
    misshapen = [key for key in own if key in state and state[key].shape != own[key].shape]
    given = OrderedDict((key, value) for key, value in state.items() if key not in misshapen)
    # These notes tell torch which old layouts to translate; without any the layout is taken to be today's.
    notes = getattr(state, "_metadata", None) or getattr(own, "_metadata", None)
    vars(given)["_metadata"] = notes
    outcome = model.load_state_dict(given, strict=False)
    missing = [key for key in outcome.missing_keys if key not in misshapen]
    wrong = {
        "missing": [key for key in missing if not key.endswith("num_batches_tracked")],
        "unexpected": outcome.unexpected_keys,
        "of another shape": [f"{key} {_size(state[key])} for {_size(own[key])}" for key in misshapen],
    }
    if any(wrong.values()):
        told = "; ".join(f"{what}: {_first(keys)}" for what, keys in wrong.items() if keys)
        raise ModelError(f"{source}: does not fit {name} ({told}); it may be another model's: see --model")


def _size(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _first(keys: list[str], most: int = 3) -> str:
    more = f", ... ({len(keys)} in all)" if len(keys) > most else ""
    return ", ".join(keys[:most]) + more
