"""``relprop serve``: the page."""

# ruff: noqa: PLC0415
# A command imports its work when it runs: torch takes seconds, and --help must not wait for it.

from __future__ import annotations

from relprop.cli.app import command
from relprop.commands.console import waiting
from relprop.commands.serve_request import ServeRequest


@command(
    "A page to drop pictures on, on this machine alone.",
    "relprop serve",
    "relprop serve --model vgg16 --model resnet50 --weights vgg16=vgg16.safetensors",
    "relprop serve --model hf:FOLDER --port 9000 --no-browser",
    "relprop serve --study relprop-study",
)
def serve(request: ServeRequest) -> None:
    """Open a page in your browser: drop a picture or type a text, and see which of it speaks for which class.

    The page is at 127.0.0.1, which other machines do not reach, and asks nobody else for anything: it works without a
    network. Networks are loaded when they are first asked for, and no others than those that --model names. With
    --study the rows of a study are listed, and its pictures opened. Ctrl-C ends it. docs/serve.md tells more.
    """
    with waiting("starting"):
        from relprop.commands.serve import run

    run(request)
