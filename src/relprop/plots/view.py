"""How maps are to be coloured: which signs, up to where, with which colours, how much of the picture beneath."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap, ListedColormap

from relprop.support.suggest import did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SCALES = ("each", "method", "all")
SIGNS = ("both", "+", "-")
NAMES = ("code", "paper")
PERCENTILE = 99.9
"""Where the colour scale ends, among a map's absolute values: the few extreme pixels that LRP tends to have
would leave all others white. Pointed ends of the colour bar show that some lie beyond."""
COLOURS = "RdBu_r"
DIVERGING = frozenset("RdBu PiYG PRGn BrBG PuOr RdGy RdYlBu RdYlGn Spectral coolwarm bwr seismic berlin".split())
"""Colours with a middle of their own, which stands for zero: a map of one sign gets one half of them."""
UNSEEN = 1e-6
"""Of the largest number: what is so small on the other side of zero is rounding, and no sign of its own."""


@dataclass(frozen=True)
class View:
    """How maps are shown.

    Attributes:
        scale: the strongest colour is the largest number of "each" map, of all maps of a "method", or of "all" maps.
        sign: which numbers are shown: "both", "+" or "-"; the others are as white as zero.
        percentile: of the absolute numbers, at which colours are strongest.
        colours: the name of a colour map of matplotlib's; one that diverges has zero in its middle.
        overlay: how strong the picture, in grey, is beneath the map, 0 to 1; it fades where the map speaks.
        names: whether methods are named as in "code", cmp-alpha2-flat, or as in the "paper", with subscripts and ♭.

    Raises:
        ValueError: one of them is none of these.
    """

    scale: str = "each"
    sign: str = "both"
    percentile: float = PERCENTILE
    colours: str = COLOURS
    overlay: float = 0.0
    names: str = "code"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("scale", self.scale, SCALES),
            ("sign", self.sign, SIGNS),
            ("names", self.names, NAMES),
        ):
            if value not in known:
                raise ValueError(f"{name} is {value!r}, and must be one of {', '.join(map(repr, known))}")
        if not 0 < self.percentile <= 100:
            raise ValueError(f"percentile is {self.percentile!r}, and must be above 0 and at most 100")
        if not 0 <= self.overlay <= 1:
            raise ValueError(f"overlay is {self.overlay!r}, and must be from 0 (no picture) to 1")
        if self.colours not in colormaps:
            raise ValueError(f"there are no colours {self.colours!r}{did_you_mean(self.colours, colormaps)}")

    def signed(self, values: Floats) -> Floats:
        """The numbers of the sign that is shown, others zero."""
        if self.sign == "both":
            return values
        return np.clip(values, 0, None) if self.sign == "+" else np.clip(values, None, 0)

    def ranges(self, maps: Mapping[str, Sequence[Floats]]) -> dict[str, list[Range]]:
        """What the colours of each map stand for.

        Args:
            maps: by method, as they are to be shown (`signed`).
        """
        if self.scale == "all":
            common = self._range([each for several in maps.values() for each in several])
            return {method: [common] * len(several) for method, several in maps.items()}
        if self.scale == "method":
            return {method: [self._range(several)] * len(several) for method, several in maps.items()}
        return {method: [self._range([each]) for each in several] for method, several in maps.items()}

    def _range(self, maps: Sequence[Floats]) -> Range:
        values = np.concatenate([each.ravel() for each in maps])
        limit = scale(values, self.percentile)
        low, high = float(values.min()), float(values.max())
        if self.sign == "+" or (self.sign == "both" and high > 0 and -low <= UNSEEN * high):
            return Range(0.0, limit)
        if self.sign == "-" or (low < 0 and high <= UNSEEN * -low):
            return Range(-limit, 0.0)
        return Range(-limit, limit)


@dataclass(frozen=True)
class Range:
    """What the ends of a colour scale stand for: zero is its middle, or one end where all numbers have one sign."""

    low: float
    high: float

    @property
    def limit(self) -> float:
        """The largest absolute number that has a colour of its own."""
        return max(-self.low, self.high)

    @property
    def words(self) -> str:
        """The strongest colour in words: "±0.31", or the one sign there is.

        Example:
            >>> Range(-0.3125, 0.0).words
            '\N{MINUS SIGN}0.31'
        """
        sign = "\N{MINUS SIGN}" if self.high == 0 else "+" if self.low == 0 else "±"
        return f"{sign}{self.limit:.2g}"

    def extend(self, values: Floats) -> str:
        """Which ends have numbers beyond them: "both", "min", "max" or "neither".

        Of a map of one sign, rounding on the other side of zero is none.
        """
        below = bool(values.min() < self.low - UNSEEN * self.limit * (self.low == 0))
        above = bool(values.max() > self.high + UNSEEN * self.limit * (self.high == 0))
        return {(True, True): "both", (True, False): "min", (False, True): "max"}.get((below, above), "neither")

    def colours(self, name: str) -> Colormap:
        """The colour map, or that half of it which belongs to the one sign."""
        return _half(name, -1 if self.high == 0 else 1 if self.low == 0 else 0)


def own_range(values: Floats, percentile: float = PERCENTILE) -> Range:
    """What the colours of one map stand for: two-sided, or of one side where all its numbers have one sign."""
    return View(percentile=percentile).ranges({"": [values]})[""][0]


@cache
def _half(name: str, side: int) -> Colormap:
    whole = colormaps[name]
    if side == 0 or name.removesuffix("_r") not in DIVERGING:
        return whole
    return ListedColormap(whole(np.linspace(0.5, 1, 256) if side > 0 else np.linspace(0, 0.5, 256)))


def scale(values: Floats, percentile: float = PERCENTILE) -> float:
    """Return the largest absolute relevance that the colours tell apart; positive, also for an empty map."""
    largest = float(np.abs(values).max())
    return float(np.percentile(np.abs(values), percentile)) or largest or 1.0


def coloured(values: Floats, within: Range, view: View, picture: NDArray[np.uint8] | None = None) -> Floats:
    """Return a map (H, W) as colours (H, W, 3), 0 to 1, over its picture where the view wants that.

    The picture is laid on white at the strength `overlay`, in grey. Where the map is zero one sees it as it is, and
    where the map is strongest not at all: dark pixels hide no relevance.

    Args:
        values: finite numbers.
        within: what the ends of the colours stand for.
        view: which colours.
        picture: (H, W, 3) uint8.
    """
    shares = (values - within.low) / (within.high - within.low)
    colours: Floats = within.colours(view.colours)(np.clip(shares, 0, 1))[..., :3]
    if picture is None or not view.overlay:
        return colours
    grey = picture.astype(np.float64) @ (0.299, 0.587, 0.114) / 255  # brightness as the eye weighs it (ITU-R BT.601)
    shade = view.overlay * (1 - grey)
    quiet = 1 - np.clip(np.abs(values) / within.limit, 0, 1)
    return np.clip(colours - (quiet * shade)[..., None], 0, 1)
