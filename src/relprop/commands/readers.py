"""How the words of a command line are read: numbers, places, sizes, shares, names of methods. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import typer

T = TypeVar("T")


def read_by(read: Callable[[str], T]) -> Callable[[T | str], T]:
    """A parser for Typer, which hands it an option's default too, already read."""
    return lambda value: read(value) if isinstance(value, str) else value


def read_std(text: str) -> tuple[float, ...]:
    """Read "0.229,0.224,0.225".

    Raises:
        BadParameter: it is no such thing.
    """
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 3 or not all(0 < number < float("inf") for number in numbers):
        raise typer.BadParameter(f"{text!r}: give three positive numbers, such as 1,1,1")
    return numbers


def read_channels(text: str) -> str:
    """Read "RGB" or "BGR".

    Raises:
        BadParameter: it is another order.
    """
    if text not in ("RGB", "BGR"):
        raise typer.BadParameter(f"{text!r}: RGB or BGR")
    return text


def read_size(text: str) -> int | tuple[int, int]:
    """Read "224" or "256x256".

    Raises:
        BadParameter: it is no such thing.
    """
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and 0 < int(part) <= 1 << 14 for part in parts):
        raise typer.BadParameter(f"{text!r}: give the shorter side, such as 224, or HEIGHTxWIDTH")
    return int(parts[0]) if len(parts) == 1 else (int(parts[0]), int(parts[1]))


def read_pixel(text: str) -> tuple[int, int]:
    """Read "120,80".

    Raises:
        BadParameter: it is no such thing.
    """
    x, y = _whole_numbers(text, 2, "X,Y, such as 120,80")
    return x, y


def read_region(text: str) -> tuple[int, int, int, int]:
    """Read "100,60,180,140".

    Raises:
        BadParameter: it is no such thing.
    """
    x0, y0, x1, y1 = _whole_numbers(text, 4, "X0,Y0,X1,Y1, such as 100,60,180,140")
    if x0 >= x1 or y0 >= y1:
        raise typer.BadParameter(f"{text!r}: X1 must be beyond X0, and Y1 beyond Y0")
    return x0, y0, x1, y1


def check_boxes(given: Sequence[str]) -> tuple[str, ...]:
    """Boxes as they were given, each of which `read_region` reads.

    Raises:
        BadParameter: one is no such thing.
    """
    for text in given:
        read_region(text)
    return tuple(given)


def _whole_numbers(text: str, count: int, wanted: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != count or not all(part.isdecimal() for part in parts):
        raise typer.BadParameter(f"{text!r}: give {wanted}, in pixels of what the network sees")
    return [int(part) for part in parts]


def read_shard(text: str) -> tuple[int, int]:
    """Read "2/8".

    Raises:
        BadParameter: it is no such thing.
    """
    i, _, n = text.partition("/")
    if not (i.isdigit() and n.isdigit() and 1 <= int(i) <= int(n)):
        raise typer.BadParameter(f"{text!r}: give I/N with I from 1 to N, such as 2/8")
    return int(i), int(n)


def split_names(given: Sequence[str]) -> tuple[str, ...]:
    """Methods that were given one by one or by commas; an option such as eps=0.1 belongs to the name before it."""
    names: list[str] = []
    for part in ",".join(given).split(","):
        if names and "=" in part.partition(":")[0]:
            names[-1] += f",{part}"
        elif part:
            names.append(part)
    return tuple(dict.fromkeys(names))


def one_name(given: Sequence[str]) -> tuple[str, ...]:
    """The one method that was given.

    Raises:
        BadParameter: several were, or none.
    """
    names = split_names(given)
    if len(names) != 1:
        raise typer.BadParameter(
            f"{', '.join(given)!r}: give one method, its options after a colon as in a:eps=0.1,b=2"
        )
    return names
