"""The audit: every kernel is seen, and one that touches a recorded value outside of a recorded call is an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from relprop.tape.torch_internals import TorchDispatchMode, put_on, take_off


class Inside:
    """Whether a recorded call runs. While one does the audit has nothing to see, and steps aside."""

    def __init__(self) -> None:
        self.depth = 0
        self._set_aside: list[TorchDispatchMode | None] = []

    def __bool__(self) -> bool:
        return self.depth > 0

    def __enter__(self) -> None:
        self.depth += 1
        self._set_aside.append(take_off(Audit))

    def __exit__(self, *_: object) -> None:
        put_on(self._set_aside.pop())
        self.depth -= 1


class Audit(TorchDispatchMode):
    """Sees every kernel.

    Args:
        inside: whether it belongs to a recorded call.
        bypassed: is told of function, arguments and keywords of one that does not.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Hide from torch.compile? That would import the compiler, for seconds; compiled models are refused."""
        return False

    def __init__(self, inside: Inside, bypassed: Callable[[Any, Any, Any], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.inside = inside
        self.bypassed = bypassed

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self.inside:
            self.bypassed(func, args, kwargs)
        with self.inside:
            return func(*args, **(kwargs or {}))
