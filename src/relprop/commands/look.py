"""How figures of pictures look, as the options say it."""

from __future__ import annotations

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
    """What each map holds, by method and target."""
    rows = range(len(explained.targets))
    return {method: [explained.account(method, row) for row in rows] for method in explained.maps}
