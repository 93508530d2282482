"""Flipping as a measure of a study: what becomes of the logit as a map's regions are replaced, in two orders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from relprop import metrics
from relprop.study.measure import METHOD, Batch, Network, Row
from relprop.study.schema import Column

REPLACEMENTS = ("mean-image", "blur", "neighbours", "mean")
"""What can stand in the place of regions."""
ALL = REPLACEMENTS[:3]
"""What does where nothing is said: the order of two maps by one curve depends on it."""
REGIONS = 16
"""So many regions a side where nothing is said."""


@dataclass(frozen=True)
class Flipping:
    """The measure: a row per map and replacement.

    Attributes:
        region: side of the squares, in pixels; None: a sixteenth of the picture's shorter side; 1: single pixels.
        steps: how many points the curves have after the first.
        replace: one of `REPLACEMENTS`; None: `ALL` of them in turn.
    """

    region: int | None = None
    steps: int = 16
    replace: str | None = None
    name: str = "flipping"
    needs_model: bool = True

    @property
    def columns(self) -> tuple[Column, ...]:
        """Areas of the curves, and what lies between them."""
        return (
            METHOD,
            Column("replacement", "string", "what replaces regions: " + ", ".join(REPLACEMENTS)),
            Column("morf", "float64", "area under the logit's curve, the most relevant first: low is good", null=True),
            Column("lerf", "float64", "likewise, the least relevant first: high is good", null=True),
            Column("srg", "float64", "symmetric relevance gain, lerf - morf: 0 by chance, high is good", null=True),
            Column("abpc", "float64", "mean of LeRF less MoRF over the curves' points, 0 among them", null=True),
        )

    def rows(self, batch: Batch) -> Iterator[Row]:
        """Flip each map's regions in both orders."""
        network = batch.asked()
        for method, R in batch.maps.items():
            found = {
                replacement: self._flipped(network, batch, R, replacement)
                for replacement in ((self.replace,) if self.replace else ALL)
            }
            for n in range(len(batch)):
                for replacement, flips in found.items():
                    values = {name: column[n] for name, column in flips.items()}
                    yield n, {"method": method, "replacement": replacement} | values

    def _flipped(self, network: Network, batch: Batch, R: Tensor, replacement: str) -> dict[str, list[float]]:
        fill = network.mean_image() if replacement == "mean-image" else replacement
        flips = metrics.flip(
            network,
            batch.x,
            R,
            batch.targets,
            region=self.region or max(1, min(R.shape[1:]) // REGIONS),
            steps=self.steps,
            replace=fill,
            batch=network.at_once,
        )
        areas = {"morf": flips.morf_area, "lerf": flips.lerf_area, "srg": flips.srg, "abpc": flips.abpc}
        return {name: values.tolist() for name, values in areas.items()}
