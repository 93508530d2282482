"""What a notebook shows of an explanation: small pictures, and the component behind them where the maps are few.

Every viewer has room for the pictures; the component stands in a frame that opens when it is asked for. Nothing is
fetched.
"""

from __future__ import annotations

import io
from base64 import b64encode
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from relprop.plots.palette import ALARM
from relprop.plots.view import Range, View, coloured
from relprop.plots.viewer import frame
from relprop.plots.viewer.documents import maps_document
from relprop.support.account import note

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from relprop.plots.explained import Explained
    from relprop.support.account import Account

ROWS, COLUMNS = 6, 8
"""So many targets and methods are shown; what is left out is said."""
SIDE = 160
"""Width of a picture in the page, in its pixels."""
FINE = 320
"""Pictures of more pixels at a side are scaled down: a notebook keeps what it shows."""
NUMBERS = 160_000
"""Maps of more numbers in all are shown as pictures alone: in a page each number takes five letters and a half."""
PIXELS = 1000
"""So are maps of fewer pixels: each of them is seen, and the component alone takes 36 kB."""


def inline(e: Explained) -> str:
    """Return HTML: for each target of each picture the picture, then every method's map with what it holds.

    Names are shown as they are, whatever is in them.
    """
    methods = list(e.relevance)
    targets, pictures = e.values.shape
    rows = [(t, b) for b in range(pictures) for t in range(targets)]
    parts = [_row(e, t, b, methods[:COLUMNS]) for t, b in rows[:ROWS]]
    pixels = e.picture(0)[..., 0].size
    if pixels >= PIXELS and len(rows) * len(methods) * pixels <= NUMBERS:
        parts.append(_closer(e, pictures))
    hidden = len(rows) * len(methods) - len(rows[:ROWS]) * len(methods[:COLUMNS])
    if hidden:
        parts.append(f"<p>and {hidden} more maps, which e.save and relprop.plots.grid draw</p>")
    return f'<div style="font:13px/1.35 sans-serif">{"".join(parts)}</div>'


def _closer(e: Explained, pictures: int) -> str:
    """The component, folded away: values at the cross-hair, boxes, other scales."""
    several = [maps_document(e, b, title=f"picture {b}") for b in range(pictures)]
    held = frame({"mode": "static", "pictures": several}, title="maps of an explanation")
    look = "cursor:pointer;margin:0 0 8px"
    return f'<details><summary style="{look}">look closer: values, boxes, other scales</summary>{held}</details>'


def _row(e: Explained, t: int, b: int, methods: list[str]) -> str:
    """A target of a picture."""
    view = View()
    seen = e.picture(b)
    which = f", picture {b}" if e.values.shape[1] > 1 else ""
    title = f"{e.title(t, b)}{which}"
    figures = [_figure("input", _png(seen), f"the picture as the network saw it{which}", ())]
    for method in methods:
        values, account = e.cell(t, method, b)
        if not np.isfinite(values).all():
            figures.append(_figure(method, "", f"{method}: not finite", ("the map is not finite",)))
            continue
        (within,) = view.ranges({method: [values]})[method]
        colours = np.rint(255 * coloured(values, within, view)).astype(np.uint8)
        told = _told(within, account)
        figures.append(_figure(method, _png(colours), f"{title}, {method}: {told[1]}", told, account.warning))
    said = note(float(e.values[t, b]), tuple(methods), logit=int(e.targets[t, b]) >= 0)
    said = f'<div style="color:{ALARM}">{escape(said)}</div>' if said else ""
    flow = "display:flex;flex-wrap:wrap;gap:8px;margin:2px 0 14px"
    return f'<div><strong>{escape(title)}</strong>{said}</div><div style="{flow}">{"".join(figures)}</div>'


def _told(within: Range, account: Account) -> tuple[str, str]:
    """The ends of the colours, and what the map holds."""
    words = account.words() if account.start is not None else f"attribution: {account.words()}"
    return f"white is 0, colours to {within.words}", words


def _figure(name: str, source: str, alt: str, told: tuple[str, ...], warning: str = "") -> str:
    """A picture with its name above and words below."""
    image = (
        f'<img src="data:image/png;base64,{source}" width="{SIDE}" style="display:block;image-rendering:pixelated" '
        f'alt="{escape(alt)}" title="{escape(alt)}">'
    )
    below = "".join(f"<div>{escape(line)}</div>" for line in told)
    alarm = f'<div style="color:{ALARM}">{escape(warning)}</div>' if warning else ""
    small = "font-size:11px"
    wrap = "overflow-wrap:anywhere"
    return (
        f'<figure style="margin:0;width:{SIDE}px;{wrap}"><figcaption>{escape(name)}</figcaption>'
        f'{image if source else ""}<div style="{small}">{below}{alarm}</div></figure>'
    )


def _png(pixels: NDArray[np.uint8]) -> str:
    """A picture (H, W, 3) as PNG, in letters."""
    image = Image.fromarray(pixels)
    if max(image.size) > FINE:
        image.thumbnail((FINE, FINE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return b64encode(buffer.getvalue()).decode()
