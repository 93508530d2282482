"""What `relprop.explain` found, drawn: all of it as a grid, one map beside its picture, or upon it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, Unpack

import numpy as np
from matplotlib.layout_engine import ConstrainedLayoutEngine

from relprop.plots.drawn import SETTINGS, Drawn
from relprop.plots.heatmaps import LINE, PANEL, bare, below, heatmaps, paint, ruler
from relprop.plots.named import plain, shown
from relprop.plots.outlines import ON_PICTURES, Box, demand_within, outline, outline_mask
from relprop.plots.palette import ALARM
from relprop.plots.style import style
from relprop.plots.view import View
from relprop.support.account import noted

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from relprop.support.account import Account

MOST = 40
"""So many rows a figure has at most: more could not be read, nor written."""
LARGE = 3.6
"""Width and height of a map that is shown alone, in inches."""

Boxes = Sequence[Box] | Mapping[Any, Any] | None
"""Boxes for every row; or by target boxes, or a mask (H, W)."""


class Explained(Protocol):
    """What is drawn: `relprop.Explanation`."""

    @property
    def values(self) -> Any:
        """(T, B) what was explained."""

    @property
    def targets(self) -> Any:
        """(T, B) which classes, -1 where a function was explained."""

    @property
    def relevance(self) -> Mapping[str, Any]:
        """Maps by method."""

    def place(self, target: Any = None) -> int:
        """Where a target stands along T."""

    def method(self, name: str | None = None) -> str:
        """The method of that name, or the first."""

    def title(self, place: int, picture: int = 0) -> str:
        """What was explained."""

    def picture(self, picture: int = 0) -> NDArray[np.uint8]:
        """(H, W, 3), as the network saw it."""

    def cell(self, place: int, method: str, picture: int = 0) -> tuple[NDArray[np.float64], Account]:
        """A map (H, W), and what it holds."""


class Look(TypedDict, total=False):
    """How maps are coloured; `relprop.plots.View` says what each is."""

    scale: str
    sign: str
    percentile: float
    colours: str
    overlay: float
    names: str


def grid(
    e: Explained,
    picture: int | None = None,
    *,
    targets: Sequence[Any] | None = None,
    methods: Sequence[str] | None = None,
    boxes: Boxes = None,
    letters: bool = False,
    **look: Unpack[Look],
) -> Figure:
    """Draw the paper's grid: a row per target, the picture first, then a column per method.

    Under every map stands how much of the logit lies on its pixels, in red where that is less than half; gradients and
    other methods that conserve nothing are called attribution.

    Args:
        e: what `relprop.explain` returned of pictures (B, C, H, W).
        picture: which of the batch; None: all of them, one after the other.
        targets: which, as they were explained; None: all.
        methods: which; None: all. `relprop.plots.PAPER` has the names of the paper's seven columns.
        boxes: to be outlined: x0, y0, x1, y1, half-open, in pixels of the network's input, in every row; or a mapping
            from a target to its boxes, or to a mask (H, W).
        letters: whether columns are lettered, (a) the picture.
        look: `scale` "each", "method" or "all": which maps share one; `sign` "both", "+" or "-"; `percentile` 99.9,
            where the scale ends; `colours` of matplotlib's; `overlay` 0 to 1: the picture in grey under the maps;
            `names` of methods as in the "paper" or in "code".

    Returns:
        The figure, which a notebook shows; `relprop.plots.render` writes it.

    Raises:
        ValueError: the explanation is of no pictures, of more rows than a figure can have, or has no such target,
            method, picture or look.

    Example:
        >>> import torch, relprop as rp
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3)).eval()
        >>> e = rp.explain(model, torch.rand(1, 3, 8, 8), [0, 2], ["lrp-z", "gradient"])
        >>> figure = rp.plots.grid(e, overlay=0.5, scale="method", boxes=[(1, 1, 5, 5)])
        >>> rp.plots.render(figure, "pdf")[:4]
        b'%PDF'
    """
    view = _view(look)
    count = e.values.shape[1]
    places = range(e.values.shape[0]) if targets is None else [e.place(target) for target in targets]
    named = list(e.relevance) if methods is None else [e.method(name) for name in methods]
    of = range(count) if picture is None else [picture]
    rows = [(t, b) for b in of for t in places]
    if len(rows) > MOST:
        raise ValueError(f"a grid of {len(rows)} rows; name picture= or targets=, for {MOST} at most")
    if boxes is not None and len(of) > 1:
        raise ValueError(f"boxes are of one picture, and there are {len(of)}; name picture=")
    cells = {name: [e.cell(t, name, b) for t, b in rows] for name in named}
    pictures = np.stack([e.picture(b) for _, b in rows])
    framed, masks = _frames(e, boxes, [t for t, _ in rows], pictures.shape[1:3])
    return heatmaps(
        pictures,
        [_title(e, t, b, named, count) for t, b in rows],
        {name: np.stack([values for values, _ in each])[:, None] for name, each in cells.items()},
        inside=masks,
        letters=letters,
        view=view,
        accounts={name: [account for _, account in each] for name, each in cells.items()},
        boxes=framed,
    )


def show(
    e: Explained,
    target: Any = None,
    method: str | None = None,
    picture: int = 0,
    *,
    boxes: Boxes = None,
    **look: Unpack[Look],
) -> Figure:
    """Draw one picture beside one map of it, large.

    Args:
        e: as for `grid`.
        target: an explained class, an index or a name, or the name of a function that was a target; None: the first.
        method: whose map; None: the first.
        picture: which of the batch.
        boxes: as for `grid`.
        look: as for `grid`.

    Raises:
        ValueError: as `grid` does.

    Example:
        >>> import torch, relprop as rp
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3)).eval()
        >>> e = rp.explain(model, torch.rand(1, 3, 8, 8), [0, 2], ["lrp-z"])
        >>> rp.plots.render(rp.plots.show(e, 2, sign="+"))[1:4]
        b'PNG'
    """
    view, name, place = _view(look), e.method(method), e.place(target)
    values, account = e.cell(place, name, picture)
    seen = e.picture(picture)
    framed, masks = _frames(e, boxes, [place], seen.shape[:2])
    return heatmaps(
        seen,
        [_title(e, place, picture, [name], e.values.shape[1])],
        {name: values[None, None]},
        inside=masks,
        view=view,
        accounts={name: [account]},
        boxes=framed,
        panel=LARGE,
    )


def overlay(
    e: Explained,
    target: Any = None,
    method: str | None = None,
    picture: int = 0,
    *,
    strength: float = 0.5,
    boxes: Boxes = None,
    **look: Unpack[Look],
) -> Figure:
    """Draw one map upon its picture, which is grey and fades where the map speaks: dark pixels hide no relevance.

    Args:
        e: as for `grid`.
        target: as for `show`.
        method: as for `show`.
        picture: which of the batch.
        strength: of the picture, 0 to 1.
        boxes: as for `grid`.
        look: as for `grid`, less `overlay`.

    Raises:
        ValueError: as `grid` does.

    Example:
        >>> import torch, relprop as rp
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3)).eval()
        >>> e = rp.explain(model, torch.rand(1, 3, 8, 8), [0, 2], ["lrp-z"])
        >>> rp.plots.render(rp.plots.overlay(e, 2), "svg")[:5]
        b'<?xml'
    """
    view, name, place = _view({**look, "overlay": strength}), e.method(method), e.place(target)
    values, account = e.cell(place, name, picture)
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: the map is not finite")
    values, seen = view.signed(values), e.picture(picture)
    (within,) = view.ranges({name: [values]})[name]
    framed, masks = _frames(e, boxes, [place], seen.shape[:2])
    with style(SETTINGS):
        title = plain(_title(e, place, picture, [name], e.values.shape[1], separate="\n"))
        told = below(account, None, view.sign)
        lines = title.count("\n") + told.count("\n")
        figure = Drawn(figsize=(LARGE + 0.3, LARGE + 1.22 + LINE * lines), layout=ConstrainedLayoutEngine(h_pad=0.07))
        axis, bar = figure.subplots(2, 1, height_ratios=(1, 0.04))
        bare(axis, f"{title}\n{shown(name, view.names)}")
        image = paint(axis, values, within, view, seen)
        for box in framed[0] if framed else ():
            outline(axis, box, ON_PICTURES)
        for mask in masks:
            outline_mask(axis, mask, ON_PICTURES)
        ruler(bar, image, within, values, told)
        if account.low:
            bar.xaxis.label.set_color(ALARM)
    return figure


def _view(look: Mapping[str, Any]) -> View:
    """How maps look, methods named as in the paper.

    Raises:
        ValueError: there is no such word, or value of one.
    """
    unknown = set(look) - set(Look.__annotations__)
    if unknown:
        raise ValueError(f"there is no {min(unknown)!r} to choose; there is {', '.join(Look.__annotations__)}")
    return View(**{"names": "paper", **look})


def _title(e: Explained, place: int, picture: int, methods: Sequence[str], count: int, separate: str = ", ") -> str:
    """What a row explains, of which picture where there are several, and a note where the network says no."""
    which = f"{separate}picture {picture}" if count > 1 else ""
    value, of_class = float(e.values[place, picture]), int(e.targets[place, picture]) >= 0
    return noted(f"{e.title(place, picture)}{which}", value, tuple(methods), logit=of_class)


def _frames(
    e: Explained, boxes: Boxes, places: Sequence[int], side: tuple[int, ...]
) -> tuple[list[Sequence[Box]], list[NDArray[np.bool_]]]:
    """Boxes and masks of each row; no masks at all where none is given.

    Raises:
        ValueError: a box is none or beside the picture, or a mask has not the picture's size.
    """
    if boxes is None:
        return [], []
    each = {e.place(target): given for target, given in boxes.items()} if isinstance(boxes, Mapping) else {}
    framed: list[Sequence[Box]] = []
    masks: list[NDArray[np.bool_]] = []
    for place in places:
        given = each.get(place, ()) if isinstance(boxes, Mapping) else boxes
        array = np.asarray(given)
        mask = array.dtype == bool and array.ndim == 2
        if mask and array.shape != side:
            raise ValueError(f"a mask of shape {array.shape} for a picture of {side}")
        if not mask and (len(given) and array.shape[1:] != (4,)):
            raise ValueError(f"boxes are (x0, y0, x1, y1), or a mask (H, W) of True and False; not {given!r:.80}")
        framed.append([] if mask else [tuple(box) for box in given])
        demand_within(framed[-1], side)
        masks.append(array if mask else np.zeros(side, dtype=bool))
    return framed, masks if any(mask.any() for mask in masks) else []


__all__ = ["LARGE", "PANEL", "Explained", "Look", "grid", "overlay", "show"]
