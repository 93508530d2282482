"""Randomisation as a measure of a study: how alike maps stay when the network's layers are randomised from the top."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from relprop.randomising import copies, likeness
from relprop.study.measure import METHOD, Batch, Row
from relprop.study.schema import Column


@dataclass(frozen=True)
class Randomisation:
    """The measure: a row per map and stage. All methods share each randomised network's forward pass.

    Attributes:
        order: as for `relprop.metrics.randomise`.
        steps: after how many stages maps are compared, spread evenly over the layers.
        seed: of the weights drawn.
    """

    order: str = "top"
    steps: int = 4
    seed: int = 0
    name: str = "randomisation"
    needs_model: bool = True

    @property
    def columns(self) -> tuple[Column, ...]:
        """How alike the two maps are."""
        return (
            METHOD,
            Column("layer", "string", "the layer that was randomised last, or alone where the order is independent"),
            Column("stage", "int32", "which of the stages that was, from 1"),
            Column("cosine", "float64", "between the network's map and the randomised one's: 0 is sound", null=True),
            Column("spearman", "float64", "correlation of the ranks of their pixels, likewise", null=True),
            Column(
                "ssim",
                "float64",
                "structural similarity, above 0 for maps mostly empty; null below 11 pixels",
                null=True,
            ),
        )

    def rows(self, batch: Batch) -> Iterator[Row]:
        """Explain the pictures by randomised copies of the network."""
        network = batch.asked()
        stages = copies(network.model, batch.pictures[:1], order=self.order, steps=self.steps, seed=self.seed)
        for stage, (layer, other) in enumerate(stages, start=1):
            for method, R in network.explain(other, batch.x, batch.targets).items():
                found = {name: values.tolist() for name, values in likeness(batch.maps[method], R).items()}
                for n in range(len(batch)):
                    about = {"method": method, "layer": layer, "stage": stage}
                    yield n, about | {name: values[n] for name, values in found.items()}
