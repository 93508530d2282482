"""``relprop testbed``: methods held against what is known to be true."""

from __future__ import annotations

import json

import torch

from relprop.commands.console import stages, waiting
from relprop.commands.requests import TestbedRequest
from relprop.models.networks.digits import NAMES
from relprop.study import tables
from relprop.support.errors import InputError
from relprop.support.suggest import did_you_mean
from relprop.support.tables import folded
from relprop.tools.testbed import TestBed, write
from relprop.tools.testbed import run as measure

BOTH = "both"


def run(request: TestbedRequest) -> None:
    """Measure, write the files, and print the tables.

    Raises:
        RelpropError: with one line that says what to mend.
    """
    if request.network not in (*NAMES, BOTH):
        raise InputError(f"no embedded network {request.network!r}{did_you_mean(request.network, (*NAMES, BOTH))}")
    torch.set_num_threads(request.threads)
    names = NAMES if request.network == BOTH else (request.network,)
    beds = [_measured(request, name) for name in names]
    with waiting("writing"):
        written = write(beds, request.out)
    if request.json:
        report = {"networks": [bed.as_data() for bed in beds], "files": [str(path) for path in written.files]}
        print(json.dumps(report, indent=2))  # noqa: T201 - the result
        return
    for bed in beds:
        table = tables.shown(bed.table())  # what the columns are is told once, below
        print("\n".join([f"{bed.network}\n", table, "", *map(folded, bed.facts), ""]))  # noqa: T201
    meanings = (f"{column.name} ({column.best:g} is best): {column.meaning}." for column in beds[0].columns)
    print("\n".join(map(folded, meanings)))  # noqa: T201
    print(f"\nwrote {written.page} and {len(written.files) - 1} tables and figures beside it")  # noqa: T201


def _measured(request: TestbedRequest, name: str) -> TestBed:
    """Run the test bed of a network, with signs of life."""
    with stages(f"{name}: ") as told:
        return measure(
            name,
            request.methods or None,
            pictures=request.pictures,
            seed=request.seed,
            batch=request.batch,
            progress=told,
        )
