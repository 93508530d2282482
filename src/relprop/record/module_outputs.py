"""Which recorded value each module gave, for the modules that somebody asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor

from relprop.tape.tape import Value


class ModuleOutputs:
    """Collects the outputs of modules by path, while the model runs.

    Args:
        patterns: of the paths that are wanted, as for `rp.on.path`.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns = patterns
        self.found: dict[str, Value] = {}
        self.value_of: Callable[[Tensor], Value | None] = lambda _: None
        self._calls: dict[str, int] = {}

    def left(self, path: str, output: Any) -> None:
        """A module has run."""
        if not any(fnmatchcase(path, pattern) for pattern in self.patterns):
            return
        self._calls[path] = self._calls.get(path, 0) + 1
        name = path if self._calls[path] == 1 else f"{path} (call {self._calls[path]})"
        values = {key: self.value_of(tensor) for key, tensor in _tensors(output)}
        known = {key: v for key, v in values.items() if v is not None and v.data.is_floating_point()}
        for key, value in known.items():
            self.found[name + (key if len(known) > 1 else "")] = value


def _tensors(output: Any) -> list[tuple[str, Tensor]]:
    """The tensors in what a module returned, each with what picks it: "" where there is one."""
    if isinstance(output, Tensor):
        return [("", output)]
    items = output.items() if isinstance(output, Mapping) else enumerate(output if isinstance(output, tuple) else ())
    return [(f"[{key!r}]", item) for key, item in items if isinstance(item, Tensor)]
