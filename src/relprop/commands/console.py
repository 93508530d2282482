"""Signs of life on stderr while a command thinks or works."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def waiting(what: str) -> AbstractContextManager[object]:
    """Show on stderr, while the block runs and where stderr is a terminal, that `what` is going on."""
    return Console(stderr=True).status(f"{what} ...")


def progress_bar() -> Progress:
    """A progress bar on stderr, with the time left; nothing, not even an empty line, where that is a file or a pipe."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    shown = console.is_terminal or console.is_jupyter
    return Progress(*columns, console=console, transient=True, disable=not shown)
