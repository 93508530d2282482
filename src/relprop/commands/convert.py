"""``relprop convert``: weights of any format into one file that says everything needed to use them."""

from __future__ import annotations

import json
from shlex import quote
from typing import TYPE_CHECKING, Any

from relprop.commands.console import waiting
from relprop.models.convert.convert import Converted, convert

if TYPE_CHECKING:
    from relprop.data.preprocess import Preprocess
    from relprop.models.convert.settle import Wanted

FEW = 5
"""Classes that are named."""


def run(wanted: Wanted, *, as_json: bool) -> None:
    """Convert, and print what was written.

    Raises:
        RelpropError: with one line that says what to mend.
    """
    with waiting("converting"):
        converted = convert(wanted)
    print(json.dumps(_as_data(converted), indent=2) if as_json else _as_text(converted))  # noqa: T201 - the result


def _as_data(converted: Converted) -> dict[str, Any]:
    return {
        "written": str(converted.path),
        "sha256": converted.sha256,
        "bytes": converted.size,
        "confirmed": converted.confirmed,
        "card": converted.card.as_data(),
    }


def _as_text(converted: Converted) -> str:
    card = converted.card
    top = "; ".join(f"{card.classes[index]} ({index}) {logit:g}" for index, logit in card.check.top)
    lines = [
        f"wrote       {converted.path}, {converted.size / 1e6:.1f} MB",
        f"SHA-256     {converted.sha256}",
        f"from        {card.source.file} ({card.source.format})",
        f"SHA-256     {card.source.sha256}",
        f"model       {card.model}",
        f"classes     {_classes(card.classes)}",
        f"pictures    {in_words(card.preprocess)}",
        f"self-check  {card.check.sha256}",
        f"            highest logits: {top}",
    ]
    if converted.confirmed is not None:
        lines.append(f"            {'as' if converted.confirmed else 'NOT as'} the card of {card.source.file} says")
    next_ = f"relprop explain PICTURE --model {card.model} --weights {quote(str(converted.path))}"
    return "\n".join([*lines, "", f"next: {next_}"])


def _classes(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:FEW]) + (", ..." if len(names) > FEW else "")
    unnamed = "; name them with --classes" if names[0] == "class 0" else ""
    return f"{len(names)}: {shown}{unnamed}"


def in_words(preprocess: Preprocess) -> str:
    """Say how pictures are prepared."""
    size = preprocess.resize
    rescaled = f"shorter side to {size}" if isinstance(size, int) else f"to {size[0]}x{size[1]}"
    image = preprocess.mean_image
    means = f"({_numbers(preprocess.mean)})"
    less = means if image is None else f"a mean image of {image.shape[1]}x{image.shape[2]} (on average {means})"
    cut = f"{rescaled} ({preprocess.interpolation}), centre {preprocess.crop}x{preprocess.crop}"
    values = f"{preprocess.channels} in 0..{preprocess.scale:g}, less {less}, divided by ({_numbers(preprocess.std)})"
    return f"{cut}, {values}"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
