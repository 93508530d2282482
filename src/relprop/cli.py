"""The command line: parse, call, and turn errors into one line.

Exit codes: 0, 1 for a failure the user can mend, 2 for wrong usage, 130 after Ctrl-C.
"""

# ruff: noqa: PLC0415
# A command imports its work when it runs: torch takes seconds, and --help must not wait for it.
# Typer reads the annotations at run time, so what they name is imported for real.

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from relprop.commands.console import waiting
from relprop.errors import RelpropError


class OneLine(TyperGroup):
    """Commands whose failures, as far as the user can mend them, are one line on stderr."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; exit 1 on an error of ours or of the disk, 130 on Ctrl-C."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # whoever read our output has had enough; Typer ends quietly
        except (RelpropError, OSError) as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=OneLine,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"relprop {version('relprop')}")
        raise typer.Exit


def _examples(*lines: str) -> str:
    """Lines to stand below a command's options, not to be wrapped (that is what the backspace says)."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


MODEL = "digits-deep"
METHOD = "cmp-alpha2-flat"

Version = Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")]
Picture = Annotated[
    Path | None,
    typer.Argument(metavar="PICTURE", help="A picture file. Without it the embedded sample."),
]
Model = Annotated[str, typer.Option(metavar="NAME", help="The network, by a name that `relprop models` lists.")]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="A safetensors or torch file instead of the network's own weights. No code in it is run.",
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="CLASS",
        help="A class to explain, by index or name; several make a row each. Without it the top class.",
    ),
]
Method = Annotated[str, typer.Option(metavar="NAME", help="As `relprop methods` lists them.")]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        metavar="NAME",
        help=f"As `relprop methods` lists them; several make a column each.  [default: {METHOD}]",
    ),
]
Profile = Annotated[
    str, typer.Option(metavar="NAME", help="Numeric conventions: paper, innvestigate, toolbox or zennit.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="The figure's file (png, pdf, svg, jpg, ...) or a folder for it. Without it the current folder.",
    ),
]
Raw = Annotated[
    bool,
    typer.Option(
        "--raw",
        help="Write each method's maps too, as .npy beside the figure: (targets, channels, height, width).",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]
Device = Annotated[str, typer.Option(metavar="NAME", help="Where to compute: cpu, cuda, cuda:1, mps.")]
Threads = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="CPU threads. Without it as many as torch takes.")
]


@app.callback(
    epilog=_examples(
        "relprop explain",
        "relprop explain cat.jpg --model vgg16 --target tabby",
        "relprop plan --model vgg16",
        "relprop COMMAND --help",
    ),
)
def relprop(*, _: Version = False) -> None:
    """Explain what PyTorch models decide, with Layer-wise Relevance Propagation."""


@app.command(
    short_help="Picture in, heat map of relevance out.",
    epilog=_examples(
        "relprop explain",
        "relprop explain cat.jpg --model vgg16",
        "relprop explain cat.jpg --model vgg16 --weights vgg16.safetensors",
        "relprop explain cat.jpg --model vgg16 --target tabby --target 282",
        "relprop explain cat.jpg --method lrp-z --method cmp-alpha2-flat --out maps/",
        "relprop explain cat.jpg --out cat.pdf --raw --json",
    ),
)
def explain(
    *,
    picture: Picture = None,
    model: Model = MODEL,
    weights: Weights = None,
    target: Targets = None,
    method: Methods = None,
    profile: Profile = "paper",
    out: Out = None,
    raw: Raw = False,
    json: Json = False,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Show which pixels of PICTURE speak for a class (red) and which against it (blue).

    The figure has the picture, exactly as the network saw it, beside its map. Maps are summed over the
    colour channels. Their colour scale is symmetric around zero and ends at the 99.9th percentile of the
    absolute relevance; a pointed end of the colour bar says that some pixels lie beyond. Files that exist
    are overwritten.
    """
    with waiting("starting"):
        from relprop.commands.explain import Request, run

    targets, methods = tuple(target or ()), tuple(method or (METHOD,))
    request = Request(picture, model, weights, targets, methods, profile, device, threads, out, raw)
    run(request, as_json=json)


@app.command(
    short_help="Which rule each op of a network gets, and why.",
    epilog=_examples(
        "relprop plan --model vgg16",
        "relprop plan --model resnet50 --method cmp-alpha1-flat:layers=3",
        "relprop plan --json",
    ),
)
def plan(*, model: Model = MODEL, method: Method = METHOD, profile: Profile = "paper", json: Json = False) -> None:
    """Show which rule each op of a network gets, and why. No weights are needed."""
    with waiting("starting"):
        from relprop.commands.plan import run

    run(model, method, profile, as_json=json)


@app.command(
    short_help="The methods by name.",
    epilog=_examples(
        "relprop methods",
        "relprop methods --json",
    ),
)
def methods(*, json: Json = False) -> None:
    """List the methods. Options follow a name after a colon, as in lrp-epsilon:eps=0.1."""
    from relprop.commands import lists

    lists.methods(as_json=json)


@app.command(
    short_help="The networks by name, and what each needs.",
    epilog=_examples(
        "relprop models",
        "relprop models --json",
    ),
)
def models(*, json: Json = False) -> None:
    """List the networks that can be loaded by name, and what loading each of them takes."""
    with waiting("starting"):
        from relprop.commands import lists

    lists.models(as_json=json)


def main() -> None:
    """Run the command line, as ``relprop`` and ``python -m relprop`` do."""
    app(prog_name="relprop")
