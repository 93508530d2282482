"""How figures of pictures look, as the options say it."""

from __future__ import annotations

import numpy as np

from relprop.commands.asked import Explained
from relprop.commands.picture_requests import PictureRequest
from relprop.plots.view import View
from relprop.support.account import Account
from relprop.support.errors import InputError


def look(request: PictureRequest) -> View:
    """The colours that a request wants.

    Raises:
        InputError: there are none such.
    """
    try:
        return View(
            request.scale, request.sign, request.percentile, request.colours, request.overlay, names=request.names
        )
    except ValueError as error:
        raise InputError(str(error)) from None


def accounts(explained: Explained) -> dict[str, list[Account]]:
    """What each map holds of its logit, by method and target."""
    return {
        method: [
            _account(float(maps[row].sum(dtype=np.float64)), explained.logits[index], explained.accounts[method][row])
            for row, index in enumerate(explained.targets)
        ]
        for method, maps in explained.maps.items()
    }


def _account(total: float, logit: float, kept: dict[str, float | None]) -> Account:
    took = [number for number in (kept["bias"], kept["eps"], kept["lost"]) if number is not None]
    return Account(total, logit, logit, *took) if len(took) == 3 else Account(total, logit)
