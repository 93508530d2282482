"""What ``relprop serve`` is asked for."""

# Typer reads the annotations at run time, so what they name is imported for real.

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Option

from relprop.commands.options import (
    MODEL,
    Annotations,
    Columns,
    Device,
    GroundTruth,
    Index,
    Masks,
    Root,
    Split,
    Synsets,
    Threads,
    Year,
)

PORT = 8642


@dataclass(frozen=True, kw_only=True)
class ServeRequest:
    """Of ``relprop serve``."""

    models: Annotated[
        tuple[str, ...],
        Option(
            "--model",
            metavar="NAME",
            help="A network that the page offers, as for relprop explain: pictures or texts; several. Without it "
            f"{MODEL}. The page can ask for no other.",
        ),
    ] = ()
    weights: Annotated[
        tuple[str, ...],
        Option(
            "--weights",
            metavar="[NAME=]FILE",
            help="Weights instead of the network's own; with several networks NAME says whose.",
        ),
    ] = ()
    study: Annotated[
        Path | None, Option(metavar="FOLDER", help="A study's folder, whose rows and pictures the page shows.")
    ] = None
    data: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="Of --study: what it was measured on, as relprop study has it, with the options below. Embedded data "
            "is found without.",
        ),
    ] = None
    root: Root = None
    split: Split = None
    year: Year = "2007"
    annotations: Annotations = None
    columns: Columns = ""
    masks: Masks = False
    index: Index = None
    ground_truth: GroundTruth = None
    synsets: Synsets = None
    port: Annotated[int, Option(metavar="N", min=0, max=65535, help="Of this machine; 0 takes any that is free.")] = (
        PORT
    )
    browser: Annotated[bool, Option(help="Open the page in your browser.")] = True
    timeout: Annotated[float, Option(metavar="SECONDS", min=1, help="After so many an answer is given up.")] = 120.0
    device: Device = "cpu"
    threads: Threads = None
