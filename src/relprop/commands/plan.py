"""``relprop plan``: which rule each op of a network would get, and why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import torch

import relprop as rp
from relprop.commands.answer import demand_answer, logits_of_texts, reads_texts, whole
from relprop.commands.console import waiting
from relprop.commands.picture_requests import PlanRequest
from relprop.commands.preparation import inputs_of_texts
from relprop.models.families.not_stated import NotStated
from relprop.models.registry import structure

if TYPE_CHECKING:
    from relprop.data.preprocess import Preprocess


def run(request: PlanRequest) -> None:
    """Print the plan as a table or as JSON; the network's structure decides, so its weights are not needed.

    Raises:
        RelpropError: no such model, method or profile, or an op that relevance cannot pass.
    """
    methods = request.methods or (None,)
    with waiting("planning"):
        network: torch.nn.Module = structure(request.model)
        x: Any
        if request.text is not None or reads_texts(network):
            x = inputs_of_texts(network, request.model, request.text)
            logits_of_texts(network, request.model, x)
        else:
            side = side_of(network)
            x = torch.zeros(1, 3, side, side)
            network = whole(network, request.model, x)
            demand_answer(network, request.model, x)
        plans = [rp.plan(network, x, method, profile=request.profile, check=not n) for n, method in enumerate(methods)]
    if request.json:
        steps = [plan.as_dicts() for plan in plans]
        print(json.dumps(steps[0] if len(steps) == 1 else dict(zip(methods, steps, strict=True)), indent=2))  # noqa: T201
        return
    print("\n\n".join(map(str, plans)))  # noqa: T201 - the result


def side_of(network: torch.nn.Module) -> int:
    """The height and width that a network takes, which may be known where its preprocessing is not."""
    preprocess = cast("Preprocess | NotStated", network.preprocess)
    known = preprocess.side if isinstance(preprocess, NotStated) else None
    return known or cast("Preprocess", preprocess).crop
