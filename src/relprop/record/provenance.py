"""Where the constants of a call come from: they belong to the model, or nobody saw how they were made.

Known are parameters, the parameters and buffers of every module that runs, and what torch functions make of known
tensors in this thread. What is made of a recorded value by a comparison (a mask) is known too, and can be made again.
Anything else may hide a way from the input past the record: a replay tells (`record.replay`).
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor, nn

from relprop.tape.tape import Derived, Slot, Value
from relprop.tape.trees import mapped, tensors_of

BRING_NUMBERS = frozenset({"tensor", "as_tensor", "asarray", "from_numpy", "frombuffer", "from_dlpack", "from_file"})
"""Functions that make a tensor of numbers from outside of torch."""

DRAW = frozenset(
    "rand randn randint rand_like randn_like randint_like randperm bernoulli bernoulli_ normal normal_ uniform_ "
    "exponential_ multinomial poisson dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout "
    "gumbel_softmax rrelu".split()
)
"""Functions that draw random numbers."""


class Provenance:
    """What is known of tensors that are no recorded values."""

    def __init__(self) -> None:
        self.derived: list[Derived] = []
        self.draws: list[str] = []
        self._known: dict[int, weakref.ref[Tensor]] = {}
        self._from_input: dict[int, weakref.ref[Tensor]] = {}

    def module_runs(self, module: nn.Module) -> None:
        """Its parameters and buffers belong to the model."""
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            self.know(tensor)

    def know(self, tensor: Tensor) -> None:
        """The tensor belongs to the model."""
        self._known[id(tensor)] = weakref.ref(tensor)

    def knows(self, tensor: Tensor) -> bool:
        """Whether a tensor belongs to the model, was made of recorded values by a comparison, or holds no number."""
        return (
            tensor.numel() == 0
            or isinstance(tensor, nn.Parameter)
            or _holds(self._known, tensor)
            or _holds(self._from_input, tensor)
        )

    def made(self, name: str, args: Any, kwargs: Any, result: Any) -> None:
        """A function made something of what are no recorded values."""
        if name in BRING_NUMBERS and not all(isinstance(arg, (int, float, bool, complex)) for arg in args):
            return
        if all(map(self.knows, tensors_of((args, kwargs)))):
            for tensor in tensors_of(result):
                self.know(tensor)

    def depends(self, tree: Any) -> bool:
        """Whether something was made of recorded values by a comparison."""
        return bool(self._from_input) and any(_holds(self._from_input, tensor) for tensor in tensors_of(tree))

    def derive(self, derived: Derived) -> None:
        """A function made masks or indices of recorded values, or numbers of those."""
        if derived.results:
            self.derived.append(derived)
            self._from_input |= {id(tensor): weakref.ref(tensor) for tensor in derived.results}

    def drew(self, name: str, where: str) -> None:
        """A function that draws random numbers was called."""
        self.draws.append(f"{name} in '{where}'" if where else name)


def _holds(known: dict[int, weakref.ref[Tensor]], tensor: Tensor) -> bool:
    ref = known.get(id(tensor))
    return ref is not None and ref() is tensor


def random_states(device: torch.device) -> list[Tensor]:
    """What changes when random numbers are drawn on the CPU, or on the device."""
    cpu = [torch.get_rng_state()]
    return [*cpu, torch.cuda.get_rng_state(device)] if device.type == "cuda" else cpu


def slotted(args: Any, kwargs: Any, value_of: Any) -> tuple[Any, Any, tuple[Value, ...]]:
    """The arguments with recorded tensors replaced by slots, and the values in their order."""
    values: list[Value] = []

    def slot(tensor: Tensor) -> Any:
        value = value_of(tensor)
        if value is None:
            return tensor
        values.append(value)
        return Slot(len(values) - 1)

    args, kwargs = mapped(Tensor, slot, (args, kwargs))
    return args, kwargs, tuple(values)
