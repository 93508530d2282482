"""``relprop models`` and ``relprop methods``: what there is to choose from."""

from __future__ import annotations

# ruff: noqa: PLC0415
# Each imports what it lists and nothing else: neither list needs the other's libraries.
import json

from relprop.commands.requests import MethodsRequest, ModelsRequest
from relprop.support.suggest import did_you_mean


def models(request: ModelsRequest) -> None:
    """Print every network by name, or by the form of its name: where it comes from, and what loading it takes.

    With the prefix ``"timm:"`` timm's, which are too many to be listed unasked.

    Raises:
        ModelError: no name begins so.
    """
    from relprop.models.files.checkpoints import ModelError
    from relprop.models.registry import SOURCES, listing

    prefix = request.prefix
    found = list(listing(prefix))
    owner = next((source for source in SOURCES if source.owns(prefix)), None)
    if not found and owner is not None and set(owner.names()) <= {owner.form}:  # a family that cannot be listed
        found = [(prefix, owner)]
    rows = [{"name": name, "source": source.title, "needs": source.needs(name)} for name, source in found]
    if not rows:
        names = [name for source in SOURCES for name in source.names()]
        raise ModelError(f"no model's name begins with {prefix!r}{did_you_mean(prefix, names)}")
    _print(rows, as_json=request.json)


def methods(request: MethodsRequest) -> None:
    """Print every method by name: what it does, and the options that it takes after a colon."""
    from relprop.catalogue.table import METHODS

    rows = [
        {"name": name, "summary": entry.summary, "options": ", ".join(sorted(entry.options))}
        for name, entry in METHODS.items()
    ]
    _print(rows, as_json=request.json)


def _print(rows: list[dict[str, str]], *, as_json: bool) -> None:
    """Print rows as JSON, or in columns as wide as their longest entry."""
    if as_json:
        print(json.dumps(rows, indent=2))  # noqa: T201 - the result
        return
    widths = [max(len(row[key]) for row in rows) for key in rows[0]]
    for row in rows:
        cells = (value.ljust(width) for value, width in zip(row.values(), widths, strict=True))
        print("  ".join(cells).rstrip())  # noqa: T201 - the result
