"""Signs of life on stderr while a command thinks or works."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from rich.progress import TaskID


SECONDS = 600.0
"""The time left is estimated from the last so many seconds; a batch may take minutes."""


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
    return Progress(*columns, console=console, transient=True, disable=not shown, speed_estimate_period=SECONDS)


@contextmanager
def continued(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A function to be told numbers of pictures, for a bar: first of those that are done already, then of each batch.

    What was done before takes no time now, so that the time left is told from what follows.
    """
    with progress_bar() as bar:
        task = bar.add_task(title, total=total)
        begun = False

        def told(number: int) -> None:
            nonlocal begun
            if begun:
                bar.advance(task, number)
            else:
                bar.reset(task, completed=number)
                begun = True

        yield told


@contextmanager
def stages(prefix: str = "") -> Iterator[Callable[[str, int, int], None]]:
    """A function to be told of each stage how much is done, and of how much; each has a bar of its own."""
    with progress_bar() as bar:
        tasks: dict[str, TaskID] = {}

        def told(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(f"{prefix}{what}", total=total)
            bar.update(tasks[what], completed=done)

        yield told
