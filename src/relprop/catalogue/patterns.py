"""Patterns: for each layer the direction in its input in which its output varies, learned from data.

A filter w says how a neuron gets its output y = w^T x out of the data; it is mostly made to cancel what distracts.
The pattern a says what in the data changes with y. Kindermans et al., "Learning how to explain neural networks:
PatternNet and PatternAttribution" (2018). `pattern_fit` learns patterns, `pattern_rules` explains
with them; here is what they are, and the file that holds them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from relprop.support.errors import InputError
from relprop.support.files import near, write_whole
from relprop.support.fingerprint import weights_hash
from relprop.support.tables import counted

TWO, WITH_BIAS, LINEAR = ESTIMATORS = ("two-component", "two-component-bias", "linear")
"""How a pattern can have been estimated: over where the neuron fires (eq. 8 of the paper), without or with its bias
as an input, or over all (eq. 4). See `relprop.catalogue.pattern_fit`."""
FORMAT = "relprop-patterns 1"
HOW = "fit them with `relprop patterns`, or rp.fit_patterns(model, batches)"
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class PatternError(InputError):
    """Patterns that are missing, damaged, or another network's; the message says which and what to do."""


@dataclass(frozen=True, eq=False)
class Pattern:
    """The patterns of one layer.

    Attributes:
        a: in the shape of the layer's weight, a pattern for each output, with w^T a = 1 unless the bias has its
            share; zeros for an output that never varied, or never fired.
        estimator: one of `ESTIMATORS`.
    """

    a: Tensor
    estimator: str

    def __repr__(self) -> str:
        return f"Pattern({' x '.join(map(str, self.a.shape))}, {self.estimator})"


@dataclass(frozen=True, eq=False)
class Patterns:
    """The patterns of a network.

    Attributes:
        layers: by call of a weighted op: the module's path, "#", and which of its calls, counted from 1
            ("features.0#1"). A BatchNorm that alone reads the output belongs to the layer.
        model_sha256: of the network that they were fitted to (`relprop.support.fingerprint`).
        samples: how many inputs they were fitted on.
        source: where they are from, for messages.
    """

    layers: Mapping[str, Pattern]
    model_sha256: str
    samples: int
    source: str = "patterns"

    def __repr__(self) -> str:
        return f"Patterns({counted(len(self.layers), 'layer')} of {self.source}, from {counted(self.samples, 'input')})"

    @property
    def digest(self) -> str:
        """SHA-256 of all patterns: what an explanation depends on."""
        digest = hashlib.sha256()
        for key, pattern in sorted(self.layers.items()):
            digest.update(key.encode())
            digest.update(pattern.a.contiguous().flatten().view(torch.uint8).cpu().numpy().tobytes())
        return digest.hexdigest()

    def identity(self) -> dict[str, Any]:
        """Which patterns these are, so that another run can tell whether it has the same; fit for JSON."""
        estimators = sorted({pattern.estimator for pattern in self.layers.values()})
        return {"sha256": self.digest, "samples": self.samples, "estimators": estimators}

    def demand(self, model: Callable[..., Any]) -> None:
        """Refuse a model that is not the one that the patterns were fitted to.

        Raises:
            PatternError: one weight differs, or a buffer, a name, a class, or the code of one.
        """
        own = weights_hash(model)
        if own != self.model_sha256:
            wanted, found = (f"{sha[:12]}..." if sha else "none" for sha in (self.model_sha256, own))
            raise PatternError(
                f"{self.source}: of another network, or its weights have changed since, or its code (SHA-256 "
                f"{wanted}, here {found}); for this one {HOW}"
            )

    def save(self, path: str | Path, dtype: torch.dtype = torch.float32) -> None:
        """Write them to a safetensors file, whole or not at all; one that exists is replaced.

        Args:
            path: the file.
            dtype: of the numbers in it.

        Raises:
            WriteError: the disk is full, or the folder may not be written to.
            PatternError: a number is too large for `dtype`.
        """
        from safetensors.torch import save  # noqa: PLC0415 - only who writes or reads a file needs it

        tensors = {key: pattern.a.detach().cpu().to(dtype).contiguous() for key, pattern in self.layers.items()}
        for key, a in tensors.items():
            if not a.isfinite().all():
                raise PatternError(f"the pattern of {key!r} does not fit into {dtype}; save it as torch.float32")
        about = {
            "format": FORMAT,
            "model_sha256": self.model_sha256,
            "samples": str(self.samples),
            "estimators": json.dumps({key: pattern.estimator for key, pattern in self.layers.items()}),
        }
        write_whole(Path(path), save(tensors, about))

    @classmethod
    def load(cls, path: str | Path) -> Patterns:
        """Read what `save` wrote; nothing in the file is executed.

        Raises:
            PatternError: no such file, cut short, damaged, or not of patterns.
        """
        path = Path(path)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise PatternError(f"{path}: no such file{near(path) or '; check the path'}") from None
        except OSError as error:
            raise PatternError(f"{path}: cannot be read ({error.strerror}); name a file of patterns") from None
        return parse(data, str(path))


def parse(data: bytes, source: str) -> Patterns:
    """Read the content of a file that `Patterns.save` wrote.

    Args:
        data: all of it.
        source: where it is from, for messages.

    Raises:
        PatternError: as `Patterns.load`.
    """
    from safetensors.torch import load  # noqa: PLC0415 - as above

    try:
        tensors = load(data)
        about = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__", {})
    except Exception as error:  # noqa: BLE001  (on damaged bytes it raises anything)
        raise PatternError(f"{source}: cut short, damaged or no safetensors file ({_brief(error)}); {HOW}") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise PatternError(f"{source}: a safetensors file, but not of patterns ({FORMAT}); {HOW}")
    try:
        estimators, samples = json.loads(about["estimators"]), int(about["samples"])
        sha = about["model_sha256"]
        whole = estimators.keys() == tensors.keys() and set(estimators.values()) <= set(ESTIMATORS) and samples > 0
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        whole = False
    good = whole and tensors and all(a.dtype in FLOATS and a.ndim >= 2 and a.isfinite().all() for a in tensors.values())
    if not good:
        raise PatternError(f"{source}: damaged (what it says of its patterns does not fit them); {HOW}")
    return Patterns({key: Pattern(tensors[key], name) for key, name in estimators.items()}, sha, samples, source)


def patterns_for(model: Callable[..., Any], file: str | None, method: str) -> Patterns:
    """The patterns to explain a model with: from a file, or those that came with the model as `.patterns`.

    Args:
        model: to be explained.
        file: as given after ":patterns="; None: the model's own.
        method: as the user called it.

    Raises:
        PatternError: there are none, or they are another network's.
    """
    found = getattr(model, "patterns", None) if file is None else _read(file, *_stamp(file))
    if not isinstance(found, Patterns):
        raise PatternError(f"{method!r} needs patterns, which this model has not; {HOW}, and name the file: "
                           f"'{method.partition(':')[0]}:patterns=FILE'")  # fmt: skip
    found.demand(model)
    return found


def _stamp(file: str) -> tuple[int, int]:
    """When a file was written, and its size."""
    try:
        found = Path(file).stat()
    except OSError:
        return 0, 0  # reading it tells what is wrong
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=2)
def _read(file: str, _written: int, _size: int) -> Patterns:
    """A file's patterns, read once until it changes: a study asks for them with every batch."""
    return Patterns.load(file)


def _brief(error: Exception) -> str:
    """The first line of an error, for a message of one line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
