"""A sign of life on stderr while a command thinks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def waiting(what: str) -> AbstractContextManager[object]:
    """Show on stderr, while the block runs and where stderr is a terminal, that `what` is going on."""
    return Console(stderr=True).status(f"{what} ...")
