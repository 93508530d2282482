"""Where torch computes: which devices there are, and how pictures get there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn

from relprop.support.errors import InputError
from relprop.support.suggest import nearest

M = TypeVar("M", bound=nn.Module)

KINDS = ("cpu", "cuda", "mps", "xpu")
"""The words that devices are mostly named by; torch knows more."""


def devices() -> list[str]:
    """Return the devices that can be used here, as torch names them."""
    found = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    return [*found, "mps"] if torch.backends.mps.is_available() else found


def device_named(name: str) -> torch.device:
    """Return a device that has been seen to work.

    Args:
        name: cpu, cuda, cuda:1, mps, or whatever torch knows.

    Raises:
        InputError: no kind of device is called so, there is none of that kind or number here, or it does not work; one
            line, which names those that there are.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).tolist()
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        there = ", ".join(devices())
        message = f"device {name!r} cannot be used here ({_reason(name, error)}); there is: {there}; try --device cpu"
        raise InputError(message) from None
    return device


def on_device(model: M, name: str) -> M:
    """Bring a network to where it is to be computed.

    Raises:
        InputError: as `device_named` does.
    """
    return model.to(device_named(name))


def device_of(model: nn.Module) -> torch.device:
    """Return where a network is."""
    first = next(model.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def _reason(name: str, error: BaseException) -> str:
    """Why a device cannot be used, in a few words; torch's own take a paragraph, or say nothing of what there is."""
    kind, _, index = name.partition(":")
    if isinstance(error, RuntimeError) and not _is_kind(kind):
        near = nearest(kind, KINDS, most=1)
        return "no kind of device is called so" + (f"; did you mean {near[0]}?" if near else "")
    if kind == "cuda" and torch.version.cuda is None and torch.version.hip is None:
        return "this PyTorch is built without CUDA"
    if kind == "cuda" and not torch.cuda.device_count():
        return "no GPU is found: is there one, with a driver for this PyTorch?"
    if kind == "cuda" and index.isdecimal() and int(index) >= (count := torch.cuda.device_count()):
        return f"the GPUs are numbered from 0 to {count - 1}"
    return " ".join((str(error).splitlines() or [type(error).__name__])[0].split())


def _is_kind(word: str) -> bool:
    try:
        torch.device(word)
    except RuntimeError:
        return False
    return True


Taken = Callable[[], Tensor]
"""Gives a tensor that was sent, on its device."""


@dataclass
class Sender:
    """Brings batches to a device; to a CUDA device beside what is computed there.

    A batch is copied into pinned memory, and from there in a stream of its own, which neither the host nor the kernels
    of the batch before it wait for. On other devices a batch is made and moved when it is taken.

    Attributes:
        device: where to.

    Example:
        >>> sender = Sender(torch.device("cpu"))
        >>> following = sender.send(lambda: torch.ones(2))  # before what takes time
        >>> following().tolist()
        [1.0, 1.0]
    """

    device: torch.device
    _stream: torch.cuda.Stream | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.device.type == "cuda":
            self._stream = torch.cuda.Stream(self.device)

    def send(self, make: Taken) -> Taken:
        """Send what a function makes on the CPU; what is returned gives it, on the device, once."""
        stream = self._stream
        if stream is None:
            return lambda: make().to(self.device)
        with torch.cuda.stream(stream):
            sent = make().pin_memory().to(self.device, non_blocking=True)

        def take() -> Tensor:
            current = torch.cuda.current_stream(self.device)
            current.wait_stream(stream)
            sent.record_stream(current)  # its memory is not handed out again before these kernels are done with it
            return sent

        return take
