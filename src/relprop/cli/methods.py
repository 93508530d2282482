"""``relprop methods``: what there is to explain with."""

from __future__ import annotations

from relprop.cli.app import command
from relprop.commands.requests import MethodsRequest


@command(
    "The methods by name.",
    "relprop methods",
    "relprop methods --json",
)
def methods(request: MethodsRequest) -> None:
    """List the methods. Options follow a name after a colon, as in lrp-epsilon:eps=0.1.

    A method of your own, a function (model, x, target) that returns relevance of x's shape, is named by its place:
    package.module:function. Modules are looked for in the current folder too.
    """
    from relprop.commands import lists  # noqa: PLC0415 - as every command, though this one needs no torch

    lists.methods(request)
