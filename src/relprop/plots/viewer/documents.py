"""What was found, as documents of the component: the numbers of each map as they are, float32, in letters."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from relprop.plots.explained import Explained
    from relprop.plots.outlines import Box
    from relprop.support.account import Account


def document(
    seen: NDArray[np.uint8],
    classes: Sequence[tuple[str, float]],
    maps: Mapping[str, Sequence[ArrayLike]],
    accounts: Mapping[str, Sequence[Account]],
    *,
    boxes: Sequence[Box] = (),
    **words: str,
) -> dict[str, Any]:
    """Return what the component shows of one picture.

    Args:
        seen: (H, W, 3), the picture as the network saw it.
        classes: T names and what was explained of each, such as its logit.
        maps: by method T of (H, W), channels summed.
        accounts: by method T of what each holds.
        boxes: half-open, in pixels of the network's input.
        words: `title` of the picture, `network`, how it was `prepared`, and Python `code` that gives the maps.
    """
    conserved = {method: all(account.start is not None for account in each) for method, each in accounts.items()}
    return {
        "mode": "static",
        **words,
        "image": picture_address(seen),
        "height": seen.shape[0],
        "width": seen.shape[1],
        "classes": [{"index": row, "name": name, "logit": value} for row, (name, value) in enumerate(classes)],
        "methods": [{"name": name, "title": name, "attribution": not conserved[name]} for name in maps],
        "maps": [
            {
                "target": row,
                "method": method,
                "values": letters(each[row]),
                "account": told(accounts[method][row]),
                "notes": [],
            }
            for row in range(len(classes))
            for method, each in maps.items()
        ],
        "boxes": [[float(edge) for edge in box] for box in boxes],
    }


def maps_document(e: Explained, picture: int = 0, *, boxes: Sequence[Box] = (), **words: str) -> dict[str, Any]:
    """Return what the component shows of one picture of an explanation.

    Args:
        e: what `relprop.explain` returned of pictures.
        picture: which of the batch.
        boxes: as for `document`.
        words: likewise.

    Raises:
        InputError: what was explained is no picture, or there is no such one.
    """
    places = range(len(e.values))
    cells = {method: [e.cell(place, method, picture) for place in places] for method in e.relevance}
    return document(
        e.picture(picture),
        [(e.title(place, picture).rpartition(", ")[0], float(e.values[place, picture])) for place in places],
        {method: [values for values, _ in each] for method, each in cells.items()},
        {method: [account for _, account in each] for method, each in cells.items()},
        boxes=boxes,
        **words,
    )


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
