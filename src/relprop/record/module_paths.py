"""Which module of the model runs now, by PyTorch's global hooks: the model itself is left alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook


@contextmanager
def module_paths(
    model: Any, entered: Callable[[nn.Module], None], left: Callable[[str, Any], None] | None = None
) -> Iterator[list[str]]:
    """The paths of the modules that run now, the innermost last, in this thread alone; "" is the model itself.

    Args:
        model: whose modules have paths.
        entered: is told of every module that begins to run, whoever's it is.
        left: is told of the path of every module of the model's that has run, and of what it returned.
    """
    names = {m: n for n, m in model.named_modules()} if isinstance(model, nn.Module) else {}
    thread = threading.get_ident()
    running = [""]

    def enter(module: nn.Module, _: Any) -> None:
        if threading.get_ident() == thread:
            running.append(names.get(module, running[-1]))
            entered(module)

    def leave(module: nn.Module, _args: Any, output: Any) -> None:
        if threading.get_ident() == thread and len(running) > 1:
            running.pop()
            if left is not None and module in names:
                left(names[module], output)

    handles = [
        register_module_forward_pre_hook(enter),
        register_module_forward_hook(leave, always_call=True),
    ]
    try:
        yield running
    finally:
        for handle in handles:
            handle.remove()
