"""Relevance of every token at every layer: a heat map, the first layer below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from relprop.plots.drawn import Drawn
from relprop.plots.marked import plain
from relprop.plots.palette import SOFT
from relprop.plots.style import drawable, style
from relprop.plots.view import COLOURS, own_range
from relprop.support.pieces import readable, visible

CELL, LOW, FEW = 0.32, 0.2, 12
"""Width of a token and height of a layer, in inches; layers are lower where there are more than a few."""
WIDEST, HIGHEST = 24.0, 16.0
"""Of the map, in inches."""


def layers(
    relevance: Any,
    tokens: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    title: str = "",
) -> Figure:
    """Draw where relevance is at every layer of a text model.

    Args:
        relevance: (N, L), a row for each layer from the input on; or a mapping from names to such rows. Relevance at
            the output of a module is (T, B, L, D) in `Explanation.inside`: sum it over D.
        tokens: L words, as for `relprop.plots.tokens`.
        names: of the layers.
        title: above the map.

    Returns:
        The figure, with the sum of each layer at its right; not yet written, see `relprop.plots.render`.

    Raises:
        ValueError: the shapes do not fit each other, or a number is not finite.

    Example:
        ::

            paths = [f"model.layers.{k}" for k in range(30)]
            e = rp.explain(model, x, [rp.at(-1, " Paris")], ["attnlrp"], inside=paths)
            rows = {path: R[0, 0].sum(-1) for path, R in e.inside["attnlrp"].items()}
            rp.plots.layers(rows, model.tokens(x)[0])
    """
    if isinstance(relevance, Mapping):
        names, relevance = list(relevance), list(relevance.values())
    rows = np.stack([np.asarray(row, dtype=np.float64) for row in relevance])
    named = [str(number) for number in range(len(rows))] if names is None else list(names)
    words = [visible(word) for word in readable(list(tokens))]
    if rows.shape != (len(named), len(words)):
        raise ValueError(f"relevance of shape {rows.shape} for {len(named)} layers and {len(words)} tokens")
    if not np.isfinite(rows).all():
        raise ValueError("relevance is not finite")
    wide, high = min(CELL * len(words), WIDEST), min((CELL if len(rows) <= FEW else LOW) * len(rows), HIGHEST)
    with style({"font.size": 8}):
        figure = Drawn(figsize=(wide + 3.0, high + 1.8), layout="constrained")
        axis = figure.add_subplot()
        within = own_range(rows, 100)
        colours = within.colours(COLOURS)
        image = axis.imshow(rows, cmap=colours, vmin=within.low, vmax=within.high, aspect="auto", origin="lower")
        axis.set_xticks(range(len(words)), [drawable(word) for word in words], parse_math=False)
        axis.tick_params("x", rotation=60, labelsize=8 * min(1, wide / (0.16 * len(words))))
        for label in axis.get_xticklabels():
            label.set(ha="right", va="top", rotation_mode="anchor")
        axis.set_yticks(range(len(rows)), named, fontsize=8 * min(1, high / (0.16 * len(rows))), parse_math=False)
        axis.set_title(drawable(title), parse_math=False, fontsize=9)
        for place, row in enumerate(rows):
            axis.text(1.01, place, plain(float(row.sum())), transform=axis.get_yaxis_transform(), va="center",
                      fontsize=7, color=SOFT)  # fmt: skip
        axis.text(1.01, -0.7, "sum", va="top", transform=axis.get_yaxis_transform(), fontsize=7, color=SOFT)
        figure.colorbar(image, ax=axis, pad=0.08 if wide > 5 else 0.14, label="relevance")
    return figure
