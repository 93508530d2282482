"""The application that the groups of commands add themselves to, and how a request becomes options.

Exit codes: 0, 1 for a failure the user can mend, 2 for wrong usage, 130 after Ctrl-C, 143 after SIGTERM.
"""

# Typer reads the annotations at run time, so what they name is imported for real.

from __future__ import annotations

import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields
from importlib.metadata import version
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperGroup
from typer.models import ArgumentInfo

from relprop.support.errors import RelpropError

Request = TypeVar("Request")


PATIENCE = 5.0
"""Seconds after which what SIGTERM has not ended is asked again."""


class Terminated(BaseException):
    """The system, or a queue of jobs whose time is up, asks the process to end (SIGTERM)."""


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that what it had begun to write is removed.

    A library that is just being imported may swallow what is raised in it, so it is raised again while the block lasts.
    """

    def end(*_: object) -> None:
        if repeated:
            signal.setitimer(signal.ITIMER_REAL, PATIENCE)
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what a signal does
        return
    repeated = hasattr(signal, "setitimer")  # not on Windows, where nothing else sends SIGTERM either
    numbers = [signal.SIGTERM, signal.SIGALRM] if repeated else [signal.SIGTERM]
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        if repeated:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


class OneLine(TyperGroup):
    """Commands whose failures, as far as the user can mend them, are one line on stderr."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; exit 1 on an error of ours, of the disk or of memory, 130 on Ctrl-C, 143 on SIGTERM."""
        try:
            with ending_in_order():
                return super().invoke(ctx)
        except BrokenPipeError:
            raise  # whoever read our output has had enough; Typer ends quietly
        except (RelpropError, OSError) as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from None
        except (RuntimeError, MemoryError) as error:
            if (line := _no_memory(error)) is None:
                raise  # Typer's own ways to end are RuntimeErrors too
            typer.echo(f"error: {line}", err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(130) from None
        except Terminated:
            typer.echo("terminated", err=True)
            raise typer.Exit(143) from None


app = typer.Typer(
    cls=OneLine,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _no_memory(error: BaseException) -> str | None:
    """The line that says that torch had no memory left; None for any other error."""
    if "torch" not in sys.modules:
        return None
    from relprop.support.shrinking import no_memory, out_of_memory  # noqa: PLC0415 - they import torch

    return no_memory(error) if out_of_memory(error) else None


def command(summary: str, *examples: str) -> Callable[[Callable[[Request], None]], Callable[[Request], None]]:
    """Make a command of a function that takes a request: its options are the request's fields, its help its docstring.

    Args:
        summary: one line for the list of commands.
        examples: lines to stand below the options.
    """

    def register(function: Callable[[Request], None]) -> Callable[[Request], None]:
        app.command(short_help=summary, epilog=_examples(*examples))(_taking_options(function))
        return function

    return register


def _examples(*lines: str) -> str:
    """Lines to stand below a command's options, not to be wrapped (that is what the backspace says)."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def _taking_options(function: Callable[[Request], None]) -> Callable[..., None]:
    """The function with a parameter for each field of the request that it takes, as Typer wants it."""
    (parameter,) = inspect.signature(function, eval_str=True).parameters.values()
    request: type[Any] = parameter.annotation
    annotations = get_type_hints(request, include_extras=True)

    def called(**options: Any) -> None:
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
        function(request(**{name: value for name, value in given.items() if not (value is None and name in arguments)}))

    called.__name__, called.__doc__ = function.__name__, function.__doc__
    called.__annotations__ = {name: _for_typer(annotation) for name, annotation in annotations.items()}
    # The oldest Typer takes no default of an argument that may be there several times: the request has it.
    arguments = {name for name, hint in annotations.items() if isinstance(get_args(hint)[1], ArgumentInfo)}
    called.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_default(field.default, argument=field.name in arguments),
                annotation=called.__annotations__[field.name],
            )
            for field in fields(request)
        ]
    )
    return called


def _default(default: Any, *, argument: bool) -> Any:
    if default is MISSING:
        return inspect.Parameter.empty
    return None if argument else default


def _for_typer(annotation: Any) -> Any:
    """A field's annotation in types that Typer knows: text for what has a parser, a list for a tuple of any length."""
    kind, option = get_args(annotation)
    if option.parser is not None:
        return Annotated[str, option]
    if get_origin(kind) is tuple:
        return Annotated[list[get_args(kind)[0]], option]  # type: ignore[misc]
    return annotation


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"relprop {version('relprop')}")
        raise typer.Exit


@app.callback(
    epilog=_examples(
        "relprop explain",
        "relprop explain cat.jpg --model vgg16 --target tabby",
        "relprop plan --model vgg16",
        "relprop COMMAND --help",
    ),
)
def relprop(
    *,
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Explain what PyTorch models decide, with Layer-wise Relevance Propagation."""


def main() -> None:
    """Run the command line, as ``relprop`` and ``python -m relprop`` do."""
    settle_surroundings()
    app(prog_name="relprop")


def settle_surroundings() -> None:
    """Let neither the terminal's encoding nor a notebook's MPLBACKEND end a command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what the encoding lacks is printed as \\u72ac, an escape
            stream.reconfigure(errors="backslashreplace")
    os.environ.pop("MPLBACKEND", None)  # nothing here opens a window, and the backend may not be installed
