"""What a shell offers when the tab key is pressed: names of networks, methods, classes and data sets. No torch here.

Each is read from text or from small tables, so that the answer is there at once.
"""

from __future__ import annotations

from collections.abc import Iterable

import typer

DATA = ("embedded", "voc", "imagenet", "folder", "webdataset", "parquet", "huggingface")


def models(incomplete: str) -> list[str]:
    """Networks by name, and how the names begin of those that are not listed; timm's behind ``timm:``."""
    from relprop.models.families.library_names import TIMM, timm  # noqa: PLC0415 - reads sources of libraries
    from relprop.models.families.needs import HUGGING_FACE  # noqa: PLC0415 - likewise
    from relprop.models.registry import names  # noqa: PLC0415 - likewise

    offered = timm() if incomplete.startswith(TIMM) else [*names(), TIMM, HUGGING_FACE]
    return _beginning(offered, incomplete)


def methods(incomplete: str) -> list[str]:
    """Methods by name, behind those that were given before a comma; the options of one behind its colon."""
    from relprop.catalogue.table import METHODS  # noqa: PLC0415 - one of many things that may be asked for

    before, comma, name = incomplete.rpartition(",")
    bare, colon, option = name.rpartition(":")
    if colon and bare in METHODS:
        offered = [f"{bare}:{each}=" for each in METHODS[bare].options]
        return [f"{before}{comma}{each}" for each in _beginning(offered, f"{bare}:{option}")]
    return [f"{before}{comma}{each}" for each in _beginning(METHODS, name)]


def classes(context: typer.Context, incomplete: str) -> list[str]:
    """Names of one word among the classes of the network: the embedded ones', or ImageNet's of torchvision's."""
    from relprop.models.families import library_names  # noqa: PLC0415 - reads sources of libraries

    model = context.params.get("model") or "digits-deep"
    if model in library_names.torchvision():
        offered: Iterable[str] = library_names.imagenet()
    elif model.startswith("digits-"):
        offered = digits("")
    else:
        return []
    return _beginning((name for name in offered if " " not in name), incomplete)


def digits(incomplete: str) -> list[str]:
    """Classes of the embedded data."""
    from relprop.data.clutter import CLASSES  # noqa: PLC0415 - imports NumPy

    return _beginning(CLASSES, incomplete)


def data(incomplete: str) -> list[str]:
    """Kinds of data sets."""
    return _beginning(DATA, incomplete)


def _beginning(offered: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in offered if name.startswith(incomplete)]
