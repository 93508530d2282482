"""``relprop models`` and ``relprop methods``: what there is to choose from."""

from __future__ import annotations

# ruff: noqa: PLC0415
# Each imports what it lists and nothing else: neither list needs the other's libraries.
import json

from relprop.commands.requests import MethodsRequest, ModelsRequest
from relprop.support.suggest import did_you_mean
from relprop.support.tables import columns


def models(request: ModelsRequest) -> None:
    """Print every network by name, or by the form of its name: where it comes from, and what loading it takes.

    With the prefix ``"timm:"`` timm's, which are too many to be listed unasked.

    Raises:
        ModelError: no name begins so.
    """
    from relprop.models.errors import ModelError
    from relprop.models.registry import FAMILIES, listing

    prefix = request.prefix
    found = list(listing(prefix))
    family_of_form = next((family for family in FAMILIES if family.includes(prefix)), None)
    if not found and family_of_form is not None and set(family_of_form.names()) <= {family_of_form.form}:
        found = [(prefix, family_of_form)]  # its networks cannot be listed
    rows = [{"name": name, "source": family.title, "needs": family.needs(name)} for name, family in found]
    if not rows:
        names = [name for family in FAMILIES for name in family.names()]
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
    """Print rows as JSON, or in columns that fit the terminal."""
    if as_json:
        print(json.dumps(rows, indent=2))  # noqa: T201 - the result
        return
    print("\n".join(columns([tuple(row.values()) for row in rows])))  # noqa: T201 - the result
