"""A study's folder of any number of parts whose rows nobody measured: written as fast as the files can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from pyarrow import parquet

from relprop.study import files
from relprop.study.compact import GROUPS
from relprop.study.schema import LEDGER, MEASURES, TABLES, arrow
from relprop.study.store import Store

METHODS = ("cmp-alpha2-flat", "cmp-alpha1-flat", "lrp-alpha1", "lrp-z", "uniform")
CLASSES = [str(digit) for digit in range(10)]
S_TOT = 4096
_AT_ONCE = 1000  # parts whose rows are made together


def config(parts: int, chunk: int) -> dict[str, Any]:
    """What `run.json` says of such a study."""
    return {
        "name": "synthetic",
        "data": {"name": "synthetic", "number": parts * chunk},
        "model": {"name": "none", "depth": 16},
        "classes": CLASSES,
        "methods": list(METHODS),
        "seed": 0,
        "chunk": chunk,
        "limit": None,
    }


def build(folder: Path, parts: int, chunk: int) -> None:
    """Write the study; parts that are there are left as they are. Nothing is synced: a crash loses it."""
    store = Store(folder)
    store.begin(config(parts, chunk))
    done = store.done()
    for start in range(0, parts, _AT_ONCE):
        numbers = range(start, min(start + _AT_ONCE, parts))
        if done.issuperset(numbers):
            continue
        for name, of_parts in _of_parts(numbers, chunk).items():
            for part, rows in zip(numbers, of_parts, strict=True):
                if part not in done:
                    store.part(part).mkdir(parents=True, exist_ok=True)
                    place = store.part(part) / f"{name}.parquet"
                    parquet.write_table(rows, place, compression="zstd", write_page_checksum=True)


def build_together(folder: Path, parts: int, chunk: int) -> None:
    """Write the same study as `relprop compact` leaves it."""
    store = Store(folder)
    store.begin(config(parts, chunk))
    share = GROUPS * store.together
    for start in range(0, parts, share):
        numbers = range(start, min(start + share, parts))
        place = store.many(numbers[0], numbers[-1])
        if not place.exists():
            place.mkdir(parents=True)
            for name, of_parts in _of_parts(numbers, chunk).items():
                files.write_many(place / f"{name}.parquet", start, of_parts, store.together)


def _of_parts(numbers: range, chunk: int) -> dict[str, list[Any]]:
    """The tables of each of these parts."""
    found = {}
    for name, table in _tables(np.arange(numbers[0] * chunk, (numbers[-1] + 1) * chunk)).items():
        each = len(table) // len(numbers)
        found[name] = [table.slice(k * each, each) for k in range(len(numbers))]
    return found


def _tables(pictures: np.ndarray) -> dict[str, Any]:
    """All tables of these pictures, one class on each, five methods."""
    generator = np.random.default_rng([0, int(pictures[0])])
    number, methods = len(pictures), len(METHODS)
    share = np.exp(generator.uniform(np.log(0.02), np.log(0.98), number))
    s_in = np.maximum(1, np.round(share * S_TOT)).astype(np.int32)
    digit = generator.integers(0, 10, number)
    ease = np.exp(generator.normal(0, 0.15, number))
    mu = np.stack([share ** (1 / (1 + power * ease)) for power in (2.2, 1.7, 0.7, 0.5, 0.0)], 1)
    mu[generator.random((number, methods)) < 0.02] = np.nan
    wide = {
        "image_id": np.repeat([f"picture-{index:07d}" for index in pictures], methods),
        "image_index": np.repeat(pictures, methods),
        "class_name": np.repeat(np.array(CLASSES)[digit], methods),
        "target": np.repeat(digit, methods),
        "method": np.tile(METHODS, number),
        "logit": np.repeat(generator.normal(7, 2, number), methods),
        "status": np.where(np.isnan(mu.ravel()), "no_positive_relevance", "ok"),
        "s_in": np.repeat(s_in, methods),
        "s_tot": np.full(number * methods, S_TOT),
    }
    wide |= {column.name: generator.random(number * methods) for column in (*MEASURES, *LEDGER)}
    wide |= {"mu": mu.ravel(), "mu_w": (mu * (S_TOT / s_in)[:, None]).ravel()}
    scores = generator.normal(0, 1, (number, 10)).astype(np.float32)
    scores[np.arange(number), digit] += 3
    parts = {
        "image_id": np.repeat(wide["image_id"][::methods], 2),
        "image_index": np.repeat(pictures, 2),
        "class_name": np.repeat(np.array(CLASSES)[digit], 2),
        "target": np.repeat(digit, 2),
        "part": np.tile(["context", "object"], number),
        "delta": generator.normal(-2, 1, 2 * number) - np.tile([0.0, 4.0], number),
        "s_in": np.repeat(s_in, 2),
        "s_tot": np.full(2 * number, S_TOT),
    }
    predictions = {
        "image_id": wide["image_id"][::methods],
        "image_index": pictures,
        "width": np.full(number, 64),
        "height": np.full(number, 64),
        "rescaled": np.zeros(number, dtype=bool),
        "problem": np.full(number, ""),
        "picture_sha256": [f"{index:064x}" for index in pictures],
        "labels": [[CLASSES[each]] for each in digit],
        "targets": [[each] for each in digit.tolist()],
        "top5": np.argsort(-scores, 1)[:, :5].tolist(),
        "scores": scores.tolist(),
    }
    found = {"rows": wide, "pairs": {}, "occlusion": parts, "predictions": predictions}
    return {name: _table(name, found[name]) for name in TABLES}


def _table(name: str, columns: dict[str, Any]) -> Any:
    schema = arrow(name)
    if not columns:
        return schema.empty_table()
    arrays = [pa.array(columns[field.name], field.type, from_pandas=field.nullable) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)
