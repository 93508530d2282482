"""What a study keeps on disk: four tables, a description for every column. `docs/rows.md` is for readers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: as the Parquet file has it.
        kind: of what type, one of `KINDS`.
        text: what it says, in which unit.
        null: whether it can be null, which means that the value is not defined, never that it is zero.
    """

    name: str
    kind: str
    text: str
    null: bool = False


KINDS = {
    "string": pa.string(),
    "bool": pa.bool_(),
    "int32": pa.int32(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "list<string>": pa.list_(pa.string()),
    "list<int32>": pa.list_(pa.int32()),
    "list<float32>": pa.list_(pa.float32()),
}
"""A column's type by its name."""

STATUSES = {
    "ok": "measured",
    "no_positive_relevance": "the map is nowhere positive, so there is no share of it to take",
    "box_cropped_out": "nothing of the class's boxes is left in the picture that the model sees",
    "non_finite": "the map holds an infinity or a NaN",
    "ledger_open": "the method's ledger does not close: relevance went where nothing accounts for it, so the map is "
    "not what it is called",
    "unreadable_image": "the picture could not be read",
    "unknown_orientation": "nothing says which way round the picture was when its boxes were drawn",
    "no_target": "the model has no class for this one",
    "missing_annotation": "the picture has no readable annotation",
}
"""What can become of a measurement; only the first leaves every figure defined."""

_PICTURE = (
    Column("image_id", "string", "the picture's name in its data set"),
    Column("image_index", "int32", "the picture's position in the data set, from 0"),
)
_CLASS = (
    Column("class_name", "string", "the class whose boxes are measured against"),
    Column("target", "int32", "the model's output for that class, which was explained; -1 where it has none"),
)
_AREA = (
    Column("s_in", "int32", "S_in: pixels inside the union of the class's boxes, as the model sees the picture"),
    Column("s_tot", "int32", "S_tot: pixels of the whole picture, likewise; 0 where unknown"),
)

MEASURES = (
    Column("mu", "float64", "inside-total ratio: positive relevance inside the boxes / in the picture", null=True),
    Column("mu_w", "float64", "mu S_tot / S_in: 1 for a uniform map", null=True),
    Column("pointing_game", "float64", "1 if the largest relevance lies inside the boxes, else 0", null=True),
    Column("rank_accuracy", "float64", "share of the S_in most relevant pixels that lie inside", null=True),
    Column("top_k", "float64", "share of the k most relevant pixels that lie inside; run.json has k", null=True),
    Column("relevance_sum", "float64", "the map's sum, in units of the logit", null=True),
    Column("relevance_positive", "float64", "R_tot: the sum of the map's positive part", null=True),
    Column(
        "negative_inside_others",
        "float64",
        "share of the map's negative relevance inside other classes' boxes, less their overlap with this "
        "class's; null where the picture shows no other class",
        null=True,
    ),
    Column("others_area", "float64", "share of the picture that those boxes cover, less the overlap", null=True),
)
"""What is measured of each map: a column of the rows each, which `relprop.study.measures` computes."""

LEDGER = (
    Column(
        "conservation_error",
        "float64",
        "the ledger's error, relative to the largest sum of absolute relevance; rounding below 1e-3; null where the "
        "method has no ledger",
        null=True,
    ),
    Column("bias", "float64", "what biases took, in units of the logit; null likewise", null=True),
    Column("eps", "float64", "what the stabiliser and denominators of zero took, likewise", null=True),
    Column(
        "lost",
        "float64",
        "what constants and padding took, likewise; relevance_sum, bias, eps and lost add up to what relevance began "
        "as, the logit or 1",
        null=True,
    ),
)
"""Where the relevance of each map went that is not on its pixels, as the method's ledger has it."""

OCCLUDED = (
    Column("part", "string", "what the mean image replaces: object (inside the boxes) or context (all else)"),
    Column("delta", "float64", "f(x') - f(x): what that adds to the target's logit", null=True),
    *_AREA,
)
"""What occlusion says of a class, of which `relprop.study.occluding` computes the change."""

TABLES: dict[str, tuple[Column, ...]] = {
    "rows": (
        *_PICTURE,
        *_CLASS,
        Column("method", "string", "the method that made the map"),
        Column("logit", "float32", "the model's output for the target, before any softmax", null=True),
        Column("status", "string", "what became of the measurement: " + ", ".join(STATUSES)),
        *_AREA,
        *MEASURES,
        *LEDGER,
    ),
    "pairs": (
        *_PICTURE,
        Column("class_a", "string", "one class that the picture shows"),
        Column("class_b", "string", "another"),
        Column("method", "string", "the method that made both maps"),
        Column("cosine", "float64", "cosine similarity of the two classes' maps", null=True),
    ),
    "occlusion": (
        *_PICTURE,
        *_CLASS,
        *OCCLUDED,
    ),
    "predictions": (
        *_PICTURE,
        Column("width", "int32", "of the picture as the data set has it, upright, in pixels; 0 where unknown"),
        Column("height", "int32", "likewise"),
        Column("rescaled", "bool", "whether the picture's own size differs from the one that its annotation states"),
        Column("problem", "string", "what went wrong with the picture; empty if nothing did"),
        Column(
            "picture_sha256",
            "string",
            "of its file when it was measured; null where it has none, or none that can be read",
            null=True,
        ),
        Column("labels", "list<string>", "the classes that the picture shows"),
        Column("targets", "list<int32>", "the model's outputs for them; -1 where it has none"),
        Column("top5", "list<int32>", "the model's five highest outputs, best first"),
        Column("scores", "list<float32>", "a logit per class of the data set, in the data set's order of classes"),
    ),
}
"""The columns, in order, of the tables that every study has."""


DEFAULT = ("localisation", "occlusion")
"""The measures of a study where nothing is said, and of all studies before there was a choice."""


def tables_of(config: Mapping[str, Any]) -> list[str]:
    """Return which tables a study has, by its `run.json`: beside those of `TABLES` what measures added."""
    return [*TABLES, *(str(name) for name in config.get("measure_tables") or ())]


def table_of(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """Return the columns of a measure's own table: the picture's and the class's, then its own."""
    return (*_PICTURE, *_CLASS, *columns)


def arrow(table: str) -> pa.Schema:
    """Return the Arrow schema of one of `TABLES`, a description at every column."""
    return arrow_of(TABLES[table])


def arrow_of(columns: tuple[Column, ...]) -> pa.Schema:
    """Return the Arrow schema of a table with these columns."""
    return pa.schema(
        [
            pa.field(column.name, KINDS[column.kind], nullable=column.null, metadata={"description": column.text})
            for column in columns
        ]
    )
