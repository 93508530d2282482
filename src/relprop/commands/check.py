"""``relprop check``: does the record of a network prove to be the network, and does the ledger close?"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, cast

import torch
from torch import nn

import relprop as rp
from relprop.commands.answer import demand_answer, logits_of_texts, reads_texts, whole
from relprop.commands.console import waiting
from relprop.commands.picture_requests import CheckRequest
from relprop.commands.plan import side_of
from relprop.commands.preparation import inputs_of_texts
from relprop.data.pictures import open_picture
from relprop.data.preprocess import Preprocess
from relprop.models.registry import load, structure
from relprop.support.errors import InputError, RelpropError


def run(request: CheckRequest) -> None:
    """Print what was found, as a table or as JSON.

    Raises:
        RelpropError: no such model, method or picture; or the network cannot be trusted to be explained.
    """
    if request.threads:
        torch.set_num_threads(request.threads)
    with waiting("checking"):
        if request.picture is not None and request.text is not None:
            raise InputError("--text and a picture were both named; check them one by one")
        known = any(given is not None for given in (request.weights, request.picture, request.text))
        network: nn.Module = load(request.model, request.weights) if known else structure(request.model)
        x: Any
        if request.text is not None or (request.picture is None and reads_texts(network)):
            x = inputs_of_texts(network, request.model, request.text)
            logits_of_texts(network, request.model, x)
        else:
            x = _picture(request, network)
            network = whole(network, request.model, x)
            demand_answer(network, request.model, x)
        found = [rp.check(network, x, method, profile=request.profile) for method in request.methods or (None,)]
    if request.json:
        told = [asdict(each) | {"ok": each.ok} for each in found]
        print(json.dumps(told[0] if len(told) == 1 else told, indent=2))  # noqa: T201 - the result
    else:
        print("\n\n".join(map(str, found)))  # noqa: T201 - the result
    if not all(each.ok for each in found):
        raise RelpropError(f"{request.model}: what is found above means that its maps cannot be trusted")


def _picture(request: CheckRequest, network: nn.Module) -> torch.Tensor:
    """The picture as the network takes it, or where none was named random numbers."""
    if request.picture is not None:
        return cast("Preprocess", network.preprocess)(open_picture(request.picture))[None]
    side = side_of(network)
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
