"""``relprop check``: does the record of a network prove to be the network, and does the ledger close?"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import cast

import torch

import relprop as rp
from relprop.commands.answer import demand_answer, whole
from relprop.commands.console import waiting
from relprop.commands.plan import side_of
from relprop.commands.requests import CheckRequest
from relprop.data.pictures import open_picture
from relprop.data.preprocess import Preprocess
from relprop.models.registry import load, structure
from relprop.support.errors import RelpropError


def run(request: CheckRequest) -> None:
    """Print what was found, as a table or as JSON.

    Raises:
        RelpropError: no such model, method or picture; or the network cannot be trusted to be explained.
    """
    if request.threads:
        torch.set_num_threads(request.threads)
    with waiting("checking"):
        known = request.weights is not None or request.picture is not None
        network = load(request.model, request.weights) if known else structure(request.model)
        if request.picture is not None:
            x = cast("Preprocess", network.preprocess)(open_picture(request.picture))[None]
        else:
            side = side_of(network)
            x = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
        network = whole(network, request.model, x)
        demand_answer(network, request.model, x)
        found = rp.check(network, x, request.method, profile=request.profile)
    print(json.dumps(asdict(found) | {"ok": found.ok}, indent=2) if request.json else found)  # noqa: T201 - the result
    if not found.ok:
        raise RelpropError(f"{request.model}: what is found above means that its maps cannot be trusted")
