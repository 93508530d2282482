"""Handwritten digits on cluttered photographs: a data set with exact boxes and nothing to download.

A picture is 64x64 pixels of colour. Its ground is cut from one of scikit-learn's two sample photographs and
cluttered with patches of the other, strokes, and fragments of digits. On it stand whole digits, 14 to 60
pixels long, of scikit-learn's 1797: exactly one in the variant ``"single"``, one to three in ``"multi"``. No
digit covers a pixel of another, so nothing but the digits decides the classes, and every digit can be read.

The splits share neither digits nor photographs' pixels: ``"test"`` draws its digits from 450 that
``"train"`` never sees, and its ground from the photographs' lower part.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image, ImageDraw

from relprop.data.scenes import Mark, Scene
from relprop.support.errors import InputError

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Floats = NDArray[np.float32]
    Ints = NDArray[np.int64]
    Box = tuple[int, int, int, int]

Split = Literal["train", "test"]
Variant = Literal["single", "multi"]

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""The digits' names, by the label that a `Sample` has."""
SIDE = 64
"""Height and width of every picture, in pixels."""
SMALLEST, LARGEST = 14, 60
"""Bounds of a digit's longer side, in pixels, to which soft edges and round corners add or take a few."""
HELD_OUT = 450
"""How many of the 1797 digits only the test split sees."""

_SPLITS = ("train", "test")
_VARIANTS = ("single", "multi")
_LARGEST_OF = {1: LARGEST, 2: 40, 3: 30}  # so that several digits find room beside each other
_HORIZON = 300  # photographs' row (of 427) above which the ground of training pictures lies
_DEMONSTRATION = 545  # number of the picture
_MARGIN = 2  # pixels of nothing around a digit as it is stored, so that its edges are as soft as its inside
_VISIBLE = 0.2  # a digit's rim, covering less than this share of a pixel, is cut off: the eye misses it too
_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class Sample:
    """A picture and the digits on it.

    Attributes:
        image: (64, 64, 3) uint8, RGB.
        labels: a class, 0 to 9, per digit; a class can stand in a picture twice.
        boxes: (len(labels), 4) int64, rows ``[x0, y0, x1, y1)`` in pixels of the image, half-open, tight
            around the pixels that the digit visibly covers.
    """

    image: Bytes
    labels: tuple[int, ...]
    boxes: Ints


@dataclass(frozen=True)
class Clutter:
    """An endless, deterministic sequence of pictures.

    Picture i depends on split, variant, seed and i alone: neither order nor batches nor workers change it.

    Args:
        split: ``"train"`` or ``"test"``.
        variant: ``"single"`` (one digit a picture) or ``"multi"`` (one to three).
        seed: a non-negative integer; another seed is another sequence.

    Raises:
        InputError: there is no such split or variant.
    """

    split: Split
    variant: Variant
    seed: int = 0

    def __post_init__(self) -> None:
        if self.split not in _SPLITS:
            raise InputError(f"split {self.split!r}: choose one of {', '.join(_SPLITS)}")
        if self.variant not in _VARIANTS:
            raise InputError(f"variant {self.variant!r}: choose one of {', '.join(_VARIANTS)}")

    def sample(self, i: int) -> Sample:
        """Draw picture i, a non-negative integer."""
        scene = self.scene(i)
        return Sample(scene.draw(), scene.labels, scene.boxes())

    __getitem__ = sample

    def scene(self, i: int) -> Scene:
        """Return picture i as plain data, to be edited and drawn again; ``scene(i).draw()`` is picture i."""
        key = (self.seed, _SPLITS.index(self.split), _VARIANTS.index(self.variant), i)
        rng = np.random.default_rng(key)
        ground = _ground(rng, self.split)
        canvas = ground.copy()  # what is painted so far: a mark's colour stands out from what is under it
        fragments = [_fragment(rng, canvas, self.split) for _ in range(rng.integers(0, 4))]
        wanted = 1 if self.variant == "single" else int(rng.integers(1, 4))
        return Scene(ground, (*fragments, *_digits(rng, canvas, self.split, wanted)))


def sample_picture() -> Sample:
    """A held-out picture with two digits of different classes, both plain to see: the demonstration's."""
    return Clutter("test", "multi").sample(_DEMONSTRATION)


# The ground


@functools.cache
def _photographs(split: Split) -> tuple[Image.Image, ...]:
    from sklearn.datasets import load_sample_images  # type: ignore[import-untyped]  # noqa: PLC0415 - slow

    rows = slice(None, _HORIZON) if split == "train" else slice(_HORIZON, None)
    return tuple(Image.fromarray(photograph[rows]) for photograph in load_sample_images().images)


def _crop(rng: Generator, photograph: Image.Image, width: int, height: int) -> Image.Image:
    """A random square of the photograph, 32 to 126 pixels wide, as width x height pixels."""
    side = int(rng.integers(32, 127))
    x = int(rng.integers(0, photograph.width - side + 1))
    y = int(rng.integers(0, photograph.height - side + 1))
    box = (x, y, x + side, y + side)
    crop = photograph.resize((width, height), Image.Resampling.BILINEAR, box=box)
    flip = int(rng.integers(0, 4))
    if flip & 1:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if flip & 2:
        crop = crop.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return crop


def _ground(rng: Generator, split: Split) -> Bytes:
    """A texture with patches of the other and strokes, its colours jittered: (64, 64, 3) uint8."""
    first = int(rng.integers(0, 2))
    photographs = _photographs(split)
    picture = _crop(rng, photographs[first], SIDE, SIDE)
    for _ in range(rng.integers(0, 4)):
        width, height = (int(n) for n in rng.integers(8, 40, size=2))
        patch = _crop(rng, photographs[1 - first], width, height)
        x, y = (int(n) for n in rng.integers(-8, SIDE - 8, size=2))
        picture.paste(patch, (x, y))
    _strokes(rng, ImageDraw.Draw(picture))
    gain = rng.uniform(0.6, 1.2, size=3).astype(np.float32)
    shift = rng.uniform(-30, 50, size=3).astype(np.float32)
    channels = rng.permutation(3)
    jittered: Bytes = np.clip(np.asarray(picture)[..., channels] * gain + shift, 0, 255).astype(np.uint8)
    return jittered


def _strokes(rng: Generator, draw: ImageDraw.ImageDraw) -> None:
    """Draw up to six thin lines and arcs."""
    for _ in range(rng.integers(0, 7)):
        red, green, blue, ax, ay, bx, by, width, start = (int(n) for n in rng.integers(0, 256, size=9))
        ends = (ax % SIDE, ay % SIDE, bx % SIDE, by % SIDE)
        if width & 4:
            draw.line(ends, (red, green, blue), 1 + width % 2)
        else:
            x0, x1 = sorted(ends[0::2])
            y0, y1 = sorted(ends[1::2])
            end = start + 40 + 4 * (width // 4)
            draw.arc((x0, y0, x1, y1), start, end, (red, green, blue), 1 + width % 2)


# The digits


@functools.cache
def _handwriting(split: Split) -> tuple[tuple[Image.Image, ...], tuple[int, ...]]:
    """The split's digits, each cut out tightly with a margin (at most 12x12, uint8), and their classes."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - slow to import, seldom needed

    bunch = load_digits()
    order = np.random.default_rng(1797).permutation(len(bunch.target))
    chosen = order[HELD_OUT:] if split == "train" else order[:HELD_OUT]
    images = (bunch.images[chosen] * (255 / 16)).astype(np.uint8)
    return tuple(map(_cut_out, images)), tuple(int(label) for label in bunch.target[chosen])


def _cut_out(digit: Bytes) -> Image.Image:
    x0, y0, x1, y1 = _extent(digit > 100)
    return Image.fromarray(np.pad(digit[y0:y1, x0:x1], _MARGIN))


def _extent(mask: NDArray[np.bool_]) -> Box:
    """The half-open box ``x0, y0, x1, y1`` of the pixels that are set."""
    xs = np.flatnonzero(mask.any(axis=0))
    ys = np.flatnonzero(mask.any(axis=1))
    return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1


def _glyph(rng: Generator, digit: Image.Image, longer: float) -> Floats:
    """The digit slanted, turned and stretched, about `longer` pixels long: opacity in 0..1, cut tightly."""
    turn, slant = rng.uniform(-0.25, 0.25), rng.uniform(-0.25, 0.25)
    stretch = rng.uniform(1, 1.7)
    cos, sin = math.cos(turn), math.sin(turn)
    # From the digit's pixels to the picture's: stretch in x, slant, turn; then scale to the length wanted.
    a, b, c, d = cos * stretch, cos * slant - sin, sin * stretch, sin * slant + cos
    inked = (digit.width - 2 * _MARGIN, digit.height - 2 * _MARGIN)
    width = abs(a) * inked[0] + abs(b) * inked[1]
    height = abs(c) * inked[0] + abs(d) * inked[1]
    scale = longer / max(width, height)
    w, h = math.ceil(width * scale) + 2, math.ceil(height * scale) + 2  # a pixel around for the rim
    k = 1 / (scale * (a * d - b * c))  # PIL asks for the inverse: from the picture to the digit
    a, b, c, d = d * k, -b * k, -c * k, a * k
    matrix = (a, b, (digit.width - a * w - b * h) / 2, c, d, (digit.height - c * w - d * h) / 2)
    drawn = digit.transform((w, h), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    ink = np.asarray(drawn, dtype=np.float32) / 255
    edge = rng.uniform(1.5, 6)  # the steeper, the sharper; a plain enlargement of 8x8 pixels is a blur
    opacity: Floats = np.clip((ink - rng.uniform(0.4, 0.55)) * edge + 0.5, 0, 1).astype(np.float32)
    opacity[opacity < _VISIBLE] = 0
    x0, y0, x1, y1 = _extent(opacity > 0)
    return opacity[y0:y1, x0:x1]


def _colour(rng: Generator, under: Bytes) -> Floats:
    """A colour that stands out from the pixels (h, w, 3) under it, more or less."""
    luminance = under.reshape(-1, 3) @ _LUMINANCE
    middle = float(luminance.mean())
    contrast = rng.uniform(60, 140) + 0.5 * float(luminance.std())
    brighter = middle + contrast < 255 and (middle < contrast or rng.random() < 0.5)
    chroma = rng.uniform(-80, 80, size=3).astype(np.float32)
    colour = middle + (contrast if brighter else -contrast) + chroma - chroma @ _LUMINANCE
    return np.clip(colour, 0, 255).astype(np.float32)


def _fragment(rng: Generator, canvas: Bytes, split: Split) -> Mark:
    """Paint a corner of a digit, too little of it to be read, and return it."""
    images, _ = _handwriting(split)
    glyph = _glyph(rng, images[rng.integers(len(images))], rng.uniform(SMALLEST, 40))
    height, width = (n // 2 for n in glyph.shape)
    top, left = (int(n) for n in rng.integers(0, 2, size=2))
    part = glyph[top * height : top * height + height, left * width : left * width + width]
    x, y = int(rng.integers(0, SIDE - width + 1)), int(rng.integers(0, SIDE - height + 1))
    mark = Mark(part, _colour(rng, canvas[y : y + height, x : x + width]), x, y)
    mark.paint(canvas)
    return mark


def _digits(rng: Generator, canvas: Bytes, split: Split, wanted: int) -> list[Mark]:
    """Paint up to the wanted number of digits, fewer where there is no room, and return them."""
    images, classes = _handwriting(split)
    taken = np.zeros((SIDE, SIDE), dtype=bool)
    digits: list[Mark] = []
    for _ in range(wanted):
        one = int(rng.integers(len(images)))
        if any(digit.label == classes[one] for digit in digits) and rng.random() < 0.8:  # mostly different classes
            continue
        glyph = _glyph(rng, images[one], rng.uniform(SMALLEST, _LARGEST_OF[wanted]))
        box = _place(rng, glyph, taken, [digit.box for digit in digits])
        if box is None:
            continue
        x0, y0, x1, y1 = box
        opacity: Floats = glyph * rng.uniform(0.8, 1)
        digit = Mark(opacity, _colour(rng, canvas[y0:y1, x0:x1]), x0, y0, classes[one])
        digit.paint(canvas)
        taken[y0:y1, x0:x1] |= glyph > 0
        digits.append(digit)
    return digits


def _place(rng: Generator, glyph: Floats, taken: NDArray[np.bool_], boxes: list[Box]) -> Box | None:
    """Find a place where the glyph covers no pixel taken, its box hardly any of another; None without one."""
    height, width = glyph.shape
    for _ in range(20):
        x, y = int(rng.integers(0, SIDE - width + 1)), int(rng.integers(0, SIDE - height + 1))
        box = (x, y, x + width, y + height)
        apart = all(_overlap(box, other) <= 0.1 for other in boxes)
        if apart and not (taken[y : y + height, x : x + width] & (glyph > 0)).any():
            return box
    return None


def _overlap(a: Box, b: Box) -> float:
    """The area common to two boxes, as a share of the smaller one."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return max(width, 0) * max(height, 0) / smaller
