"""Explanations as documents of the component: the numbers of each map as they are, float32, in letters."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from relprop.plots.explained import Box, Explained
    from relprop.support.account import Account


def maps_document(
    e: Explained,
    picture: int = 0,
    *,
    boxes: Sequence[Box] = (),
    places: Sequence[int] | None = None,
    methods: Sequence[str] | None = None,
    network: str = "",
    prepared: str = "",
    code: str = "",
) -> dict[str, Any]:
    """Return what the component shows of one picture.

    Args:
        e: what `relprop.explain` returned of pictures.
        picture: which of the batch.
        boxes: half-open, in pixels of the network's input.
        places: of the targets that are shown; None: all.
        methods: that are shown; None: all.
        network: its name.
        prepared: what was done to the picture before the network saw it.
        code: Python that gives these maps.

    Raises:
        InputError: what was explained is no picture, or there is no such one.
    """
    shown = list(range(len(e.values))) if places is None else list(places)
    named = list(e.relevance) if methods is None else list(methods)
    seen = e.picture(picture)
    maps, conserves = [], dict.fromkeys(named, True)
    for place in shown:
        for method in named:
            values, account = e.cell(place, method, picture)
            conserves[method] &= account.start is not None
            maps.append(
                {"target": place, "method": method, "values": letters(values), "account": told(account), "notes": []}
            )
    return {
        "mode": "static",
        "network": network,
        "prepared": prepared,
        "image": picture_address(seen),
        "height": seen.shape[0],
        "width": seen.shape[1],
        "classes": [{"index": place, **_named(e, place, picture)} for place in shown],
        "methods": [{"name": name, "title": name, "attribution": not conserves[name]} for name in named],
        "maps": maps,
        "code": code,
        "boxes": [[float(edge) for edge in box] for box in boxes],
    }


def _named(e: Explained, place: int, picture: int) -> Mapping[str, Any]:
    """What heads a row; the logit stands beside it."""
    value = float(e.values[place, picture])
    return {"name": e.title(place, picture).rpartition(", ")[0], "logit": value, "probability": None}


def told(account: Account) -> dict[str, float] | None:
    """Return an account as the component reads it; None of what conserves nothing."""
    if account.start is None:
        return None
    taken = {"biases": account.bias, "eps": account.eps, "lost": account.lost}
    return {"start": account.start, "pixels": account.total, **taken}


def letters(values: ArrayLike) -> str:
    """Return numbers as base64 of float32, little endian, row by row."""
    return b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode()


def picture_address(pixels: NDArray[np.uint8]) -> str:
    """Return a picture (H, W, 3) as the address of a PNG that holds it."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"
