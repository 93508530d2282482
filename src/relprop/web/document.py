"""What the page shows, as JSON: classes, methods, maps with what each holds, and Python code for the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from relprop.explanation import Explanation
from relprop.plots.viewer.documents import letters, told
from relprop.propagate import GROWN
from relprop.support.account import Account, note
from relprop.support.errors import RelpropError
from relprop.support.one_line import printable
from relprop.web.asked import Asked
from relprop.web.networks import Network
from relprop.web.titles import title


@dataclass(frozen=True)
class Code:
    """How Python code gets at a picture.

    Attributes:
        x: what `relprop.explain` is given.
        before: lines that come first.
    """

    x: str
    before: tuple[str, ...] = ()


DROPPED = Code('"picture.png"')
"""A file whose name is not known: only what it holds was sent."""


def probabilities(logits: Sequence[float], network: Network) -> list[float] | None:
    """Softmax of the logits; None where the network's classes do not exclude each other."""
    if not network.one_of_all(network.model):
        return None
    shifted = np.exp(np.asarray(logits) - max(logits))
    return [float(share) for share in shifted / shifted.sum()]


def of_class(
    index: int, names: Sequence[str], logits: Sequence[float], shares: Sequence[float] | None
) -> dict[str, Any]:
    """Describe a class."""
    name = names[index] if index < len(names) else f"class {index}"
    return {
        "index": index,
        "name": name,
        "logit": logits[index],
        "probability": None if shares is None else shares[index],
    }


def document(network: Network, e: Explanation, asked: Asked, logits: Sequence[float], code: Code) -> dict[str, Any]:
    """Describe an explanation of one picture.

    Args:
        network: that was explained.
        e: what came of it.
        asked: the question.
        logits: of all classes.
        code: how Python gets at what was explained.

    Returns:
        All but what describes the picture itself; a map is float32 in little endian, row by row, channels summed.
    """
    shares = probabilities(logits, network)
    indices = [int(index) for index in e.targets[:, 0]]
    accounts = {(t, name): e.account(t, name) for t in indices for name in e.relevance}
    return {
        "mode": "serve",
        "network": network.name,
        "classes": [of_class(index, network.classes, logits, shares) for index in indices],
        "methods": [of_method(name, accounts[indices[0], name]) for name in e.relevance],
        "maps": [
            {
                "target": index,
                "method": name,
                "values": letters(e.map(index, name).cpu().numpy()),
                "account": told(accounts[index, name]),
                "notes": notes(accounts[index, name], name),
            }
            for index in indices
            for name in e.relevance
        ],
        "code": python(network, code, indices, asked.methods, network.classes),
    }


def demand_finite(e: Explanation) -> None:
    """Refuse maps whose numbers, or the account of them, are none.

    Raises:
        RelpropError: such a map is among them.
    """
    for index in map(int, e.targets[:, 0]):
        for method in e.relevance:
            accounted = told(e.account(index, method)) or {}
            if not (torch.isfinite(e.map(index, method)).all() and all(map(math.isfinite, accounted.values()))):
                raise RelpropError(f"{method}: its map is not finite; {GROWN}")


def of_method(name: str, account: Account) -> dict[str, Any]:
    """Describe a method."""
    attribution = {"attribution": True} if account.kind == "attribution" else {}
    return {"name": name, "title": title(name), **attribution}


def notes(account: Account, method: str) -> list[str]:
    """What there is to beware of in a map."""
    return [line for line in (account.warning, note(account.value, (method,))) if line]


def python(network: Network, code: Code, targets: Sequence[int], methods: Sequence[str], classes: Sequence[str]) -> str:
    """Python code that gives the same maps; a class's name stands in it as a comment, which a line's end would end."""
    first = printable(classes[targets[0]]) if classes else targets[0]
    return "\n".join(
        (
            "import relprop as rp",
            *code.before,
            "",
            f"model = {network.code}",
            f"e = rp.explain(model, {code.x}, targets={list(targets)!r}, methods={list(methods)!r})",
            f"R = e.map({targets[0]!r}, {methods[0]!r})  # {first}: (height, width), channels summed",
            "",
        )
    )
