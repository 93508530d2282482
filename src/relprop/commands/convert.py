"""``relprop convert``: weights of any format into one file that says everything needed to use them."""

from __future__ import annotations

import json
from pathlib import Path
from shlex import quote
from typing import Any

from relprop.commands.console import waiting
from relprop.commands.preparation import in_words
from relprop.commands.requests import ConvertRequest
from relprop.models.convert.convert import Converted, convert
from relprop.models.convert.preprocessing import Wanted

FEW = 5
"""Classes that are named."""


def run(request: ConvertRequest) -> None:
    """Convert, and print what was written.

    Raises:
        RelpropError: with one line that says what to mend.
    """
    wanted = Wanted(
        source=request.source,
        model=request.model,
        out=request.out or Path(f"{request.source.stem}.safetensors"),
        preset=request.preprocess,
        mean=request.mean,
        std=request.std,
        channels=request.channels,
        scale=request.scale,
        crop=request.crop,
        resize=request.resize,
        classes=request.classes,
        prototxt=request.prototxt,
        force=request.force,
    )
    with waiting("converting"):
        converted = convert(wanted)
    print(json.dumps(_as_data(converted), indent=2) if request.json else _as_text(converted))  # noqa: T201 - the result


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
