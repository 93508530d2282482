"""``relprop explain`` and ``compare`` of pictures: one has its figure, several have a page and a table."""

from __future__ import annotations

from relprop.commands import explain, explain_many
from relprop.commands.explain import kind_of
from relprop.commands.look import look
from relprop.commands.named import several
from relprop.commands.picture_requests import PictureRequest


def run(request: PictureRequest, highest: int = 1, done: str = "explained") -> None:
    """Explain what was named.

    Args:
        request: the pictures, the network, the methods and the rest.
        highest: how many of the highest classes are explained where none is named.
        done: what names the files: "explained" or "compared".

    Raises:
        RelpropError: with one line that says what to mend.
    """
    look(request)
    kind_of(request)
    work = explain_many if several(request.pictures) else explain
    work.run(request, highest, done)
