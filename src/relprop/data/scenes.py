"""Scenes: pictures as plain data that can be edited and drawn again, pixel-exact wherever nothing was edited.

A scene is a ground and marks painted on it in order; marks are digits, or corners of digits that nobody can read.
`relprop.data.clutter` makes scenes at random. Whoever asks what a network looks at draws one again without a digit,
without a part of it, with the digit elsewhere, in another light or on another ground: what the output does then is a
fact, and heat maps can be held against it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from relprop.support.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Floats = NDArray[np.float32]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

    Box = tuple[int, int, int, int]

QUARTERS = tuple(product((0, 1), (0, 1)))
"""The parts of a mark: (0, 0) is the upper left quarter of its box, (1, 0) the lower left one."""


class Light(NamedTuple):
    """What becomes of every value of the finished picture: gain times value plus shift, as a byte again."""

    gain: float = 1.0
    shift: float = 0.0


PLAIN = Light()
"""The light that scenes are made in: every pixel stays as it was painted."""


@dataclass(frozen=True, eq=False)
class Mark:
    """Ink on a picture.

    Attributes:
        opacity: (h, w) float32 in 0..1: how much of each pixel the ink covers.
        colour: (3,) float32, RGB in 0..255.
        x, y: the column and the row of its upper left corner in the picture.
        label: the class of a digit; None for a fragment that cannot be read.
    """

    opacity: Floats
    colour: Floats
    x: int
    y: int
    label: int | None = None

    @property
    def box(self) -> Box:
        """The half-open box ``x0, y0, x1, y1`` of its pixels."""
        height, width = self.opacity.shape
        return self.x, self.y, self.x + width, self.y + height

    @property
    def rows_and_columns(self) -> tuple[slice, slice]:
        """Where in the picture it is."""
        x0, y0, x1, y1 = self.box
        return slice(y0, y1), slice(x0, x1)

    def quarter(self, part: tuple[int, int]) -> tuple[slice, slice]:
        """Where in the mark's own box one of `QUARTERS` is."""
        below, right = part
        height, width = self.opacity.shape
        rows = slice(height // 2, height) if below else slice(0, height // 2)
        return rows, slice(width // 2, width) if right else slice(0, width // 2)

    def paint(self, canvas: Bytes) -> None:
        """Paint it onto the canvas (H, W, 3), in place."""
        blend(canvas, self.opacity, self.colour, self.x, self.y)


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture before it is drawn.

    Attributes:
        ground: (H, W, 3) uint8, RGB.
        marks: what is painted onto it, in this order.
        light: what the finished picture is seen in.

    Example:
        >>> from relprop.data.clutter import Clutter
        >>> scene = Clutter("test", "multi").scene(2)
        >>> scene.labels, [scene.marks[k].label for k in scene.digits]
        ((7, 3, 8), [7, 3, 8])
        >>> changed = (scene.draw() != scene.without(scene.digits[0]).draw()).any(axis=2)
        >>> bool(changed[scene.owners() != scene.digits[0]].any())
        False
    """

    ground: Bytes
    marks: tuple[Mark, ...] = ()
    light: Light = PLAIN

    @property
    def digits(self) -> tuple[int, ...]:
        """Which of the marks are digits."""
        return tuple(k for k, mark in enumerate(self.marks) if mark.label is not None)

    @property
    def labels(self) -> tuple[int, ...]:
        """The classes of the digits; one can stand there twice."""
        return tuple(mark.label for mark in self.marks if mark.label is not None)

    def boxes(self) -> Ints:
        """Return (digits, 4) int64, the box of each digit as `Mark.box` has it."""
        return np.array([self.marks[k].box for k in self.digits], dtype=np.int64).reshape(-1, 4)

    def draw(self) -> Bytes:
        """Return the picture, (H, W, 3) uint8, RGB; the same scene gives the same bytes."""
        canvas = self.ground.copy()
        for mark in self.marks:
            mark.paint(canvas)
        if self.light == PLAIN:
            return canvas
        seen: Bytes = np.rint(np.clip(canvas * self.light.gain + self.light.shift, 0, 255)).astype(np.uint8)
        return seen

    def owners(self) -> Ints:
        """Return (H, W) int64: of each pixel the topmost mark that inks it, by its place in `marks`; -1: the ground."""
        owner = np.full(self.ground.shape[:2], -1, dtype=np.int64)
        for k, mark in enumerate(self.marks):
            owner[mark.rows_and_columns][mark.opacity > 0] = k
        return owner

    def part_of(self, k: int, part: tuple[int, int]) -> Bools:
        """Return (H, W) bool: the pixels that a quarter of mark k inks, and no mark above it."""
        rows, columns = self.marks[k].rows_and_columns
        inside = np.zeros(self.ground.shape[:2], dtype=bool)
        inside[rows, columns][self.marks[k].quarter(part)] = True
        found: Bools = inside & (self.owners() == k)
        return found

    # Edits: each returns another scene

    def without(self, *ks: int) -> Scene:
        """Leave out the marks ks."""
        return replace(self, marks=tuple(mark for k, mark in enumerate(self.marks) if k not in ks))

    def without_part(self, k: int, part: tuple[int, int]) -> Scene:
        """Leave out one of the `QUARTERS` of mark k."""
        opacity = self.marks[k].opacity.copy()
        opacity[self.marks[k].quarter(part)] = 0
        return self._with(k, replace(self.marks[k], opacity=opacity))

    def moved(self, k: int, x: int, y: int) -> Scene:
        """Put mark k with its upper left corner to column x and row y; its colour stays.

        Raises:
            InputError: it would not lie inside of the picture.
        """
        mark = replace(self.marks[k], x=x, y=y)
        height, width = self.ground.shape[:2]
        x0, y0, x1, y1 = mark.box
        if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
            most = (width - (x1 - x0), height - (y1 - y0))
            raise InputError(f"mark {k} at ({x}, {y}) leaves the picture: x is at most {most[0]}, y at most {most[1]}")
        return self._with(k, mark)

    def lit(self, gain: float = 1.0, shift: float = 0.0) -> Scene:
        """See the picture in another light, `Light(gain, shift)`."""
        return replace(self, light=Light(gain, shift))

    def on(self, ground: Bytes) -> Scene:
        """Paint the marks onto another ground, (H, W, 3) uint8."""
        return replace(self, ground=ground)

    def with_mark(self, mark: Mark) -> Scene:
        """Paint one more mark, above all others."""
        return replace(self, marks=(*self.marks, mark))

    def _with(self, k: int, mark: Mark) -> Scene:
        return replace(self, marks=(*self.marks[:k], mark, *self.marks[k + 1 :]))


def blend(canvas: Bytes, opacity: Floats, colour: Floats, x: int, y: int) -> None:
    """Paint onto the canvas, in place, the upper left corner at (x, y)."""
    height, width = opacity.shape
    under = canvas[y : y + height, x : x + width]
    under[...] = np.rint(under + opacity[..., None] * (colour - under))
