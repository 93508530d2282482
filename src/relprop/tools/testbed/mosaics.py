"""Grid pointing: in a mosaic of pictures of different classes, is the class found in its own cell?

Rao et al., "Towards Better Understanding Attribution Methods" (2022). The embedded networks take pictures of one size,
so the pictures in the mosaic are drawn at half of it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from relprop.data.clutter import CLASSES, SIDE, Clutter
from relprop.metrics.localization import inside_total_ratio
from relprop.tools.testbed.bench import Bench, Bools, Bytes, Example, Floats, Measure, logits

LARGE = 32
"""So long is a digit at least, in pixels of a whole picture, that is still read at half of it."""
CELLS = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Rows and columns of the mosaic's cells."""


def bench(model: nn.Module, number: int, seed: int) -> Bench:
    """Return the bench of mosaics: every class whose logit is positive is explained.

    Args:
        model: the network.
        number: mosaics.
        seed: of the pictures.
    """
    drawn = [_mosaic([(halved(picture), label) for picture, label in four]) for four in fours(number, seed)]
    y = logits(model, [picture for picture, _ in drawn])
    rows = [(m, k, label) for m, (_, labels) in enumerate(drawn) for k, label in enumerate(labels) if y[m, label] > 0]
    masks = np.array([cell(k, SIDE) for _, k, _ in rows], dtype=bool).reshape(-1, SIDE, SIDE)
    example = None
    if rows:
        _, k, label = rows[0]
        example = Example(0, f"a mosaic: {CLASSES[label]}", (box(k, SIDE),))
    return Bench(
        "mosaics",
        model,
        np.array([drawn[m][0] for m, _, _ in rows], dtype=np.uint8).reshape(-1, SIDE, SIDE, 3),
        torch.tensor([label for _, _, label in rows], dtype=torch.long),
        (
            Measure(
                "grid pointing",
                "in a mosaic of four pictures of different classes, the share of the positive relevance that lies in "
                "the cell of the class; the truth has 1, a uniform map 0.25",
                1.0,
                lambda R: _positive_inside(R, masks),
                np.array([m for m, _, _ in rows], dtype=np.int64),
                masks.astype(np.float64),
            ),
        ),
        (f"Mosaics: {len(rows)} of {4 * number} classes in {number} have a positive logit, and are explained.",),
        example,
    )


def _positive_inside(R: Floats, masks: Bools) -> Floats:
    """Return the share of each map's positive relevance inside its mask."""
    found: Floats = inside_total_ratio(torch.from_numpy(R), torch.from_numpy(masks)).numpy()
    return found


def fours(number: int, seed: int) -> Iterator[list[tuple[Bytes, int]]]:
    """Yield sets of four pictures of one large digit each, of four classes, with these classes; no picture twice."""
    sequence = Clutter("test", "single", seed)
    waiting: list[tuple[Bytes, int]] = []
    i = 0
    for _ in range(number):
        chosen: dict[int, tuple[Bytes, int]] = {}
        left: list[tuple[Bytes, int]] = []
        for one in waiting:
            if len(chosen) < len(CELLS) and one[1] not in chosen:
                chosen[one[1]] = one
            else:
                left.append(one)
        while len(chosen) < len(CELLS):
            scene, i = sequence.scene(i), i + 1
            x0, y0, x1, y1 = scene.boxes()[0]
            if max(x1 - x0, y1 - y0) < LARGE:
                continue
            one = (scene.draw(), scene.labels[0])
            if one[1] in chosen:
                left.append(one)
            else:
                chosen[one[1]] = one
        waiting = left
        yield list(chosen.values())


def halved(picture: Bytes) -> Bytes:
    """Return the picture (H, W, 3) at half its size, each pixel the mean of four."""
    height, width, channels = picture.shape
    fourths = picture.reshape(height // 2, 2, width // 2, 2, channels)
    half: Bytes = np.rint(fourths.mean((1, 3))).astype(np.uint8)
    return half


def joined(pictures: list[Bytes]) -> Bytes:
    """Return four pictures (H, W, 3) as one (2 H, 2 W, 3)."""
    return np.concatenate([np.concatenate(pictures[k : k + 2], axis=1) for k in (0, 2)])


def _mosaic(four: list[tuple[Bytes, int]]) -> tuple[Bytes, list[int]]:
    return joined([picture for picture, _ in four]), [label for _, label in four]


def box(k: int, side: int) -> tuple[int, int, int, int]:
    """Return the box of cell k of a mosaic (side, side)."""
    row, column = CELLS[k]
    half = side // 2
    return column * half, row * half, (column + 1) * half, (row + 1) * half


def cell(k: int, side: int) -> Bools:
    """Return the mask (side, side) of cell k."""
    x0, y0, x1, y1 = box(k, side)
    mask = np.zeros((side, side), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask
