"""What the commands that explain pictures and texts are asked for; the command line makes these from its words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Option

from relprop.commands.options import (
    MODEL,
    Against,
    Batch,
    BestMethods,
    Boxes,
    Colours,
    Device,
    Figure,
    Figures,
    Format,
    Json,
    Layers,
    Methods,
    Model,
    Names,
    Overlay,
    Percentile,
    Picture,
    Pictures,
    Pixel,
    Position,
    Profile,
    Raw,
    Region,
    Scale,
    Sign,
    Targets,
    Text,
    TextFile,
    Texts,
    Threads,
    Weights,
)


@dataclass(frozen=True, kw_only=True)
class PictureRequest:
    """Of what explains a picture, or many."""

    pictures: Pictures = ()
    model: Model = MODEL
    weights: Weights = None
    targets: Targets = ()
    pixel: Pixel = None
    region: Region = None
    methods: Methods = ()
    profile: Profile = "paper"
    out: Figure = None
    format: Format = None
    scale: Scale = "each"
    sign: Sign = "both"
    percentile: Percentile = 99.9
    colours: Colours = "RdBu_r"
    overlay: Overlay = 0.0
    names: Names = "paper"
    boxes: Boxes = ()
    raw: Raw = False
    figures: Figures = False
    batch: Batch = 16
    json: Json = False
    device: Device = "cpu"
    threads: Threads = None

    @property
    def picture(self) -> Path | None:
        """The one picture, where one is named."""
        return self.pictures[0] if self.pictures else None


@dataclass(frozen=True, kw_only=True)
class ExplainRequest(PictureRequest):
    """Of ``relprop explain``; without methods the best practice for pictures, or for texts."""

    texts: Texts = ()
    text_file: TextFile = None
    against: Against = None
    position: Position = None
    layers: Layers = False


@dataclass(frozen=True, kw_only=True)
class CompareRequest(PictureRequest):
    """Of ``relprop compare``; without methods those of the paper's figures."""

    batch: Batch = 4
    paper: Annotated[
        bool,
        Option(
            "--paper",
            help="The paper's seven columns: LRP_z, alpha 2, Guided Backprop, Pattern Attribution, three composites.",
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """Of ``relprop plan``."""

    model: Model = MODEL
    text: Text = None
    methods: BestMethods = ()
    profile: Profile = "paper"
    json: Json = False


@dataclass(frozen=True, kw_only=True)
class CheckRequest:
    """Of ``relprop check``."""

    picture: Picture = None
    text: Text = None
    model: Model = MODEL
    weights: Weights = None
    methods: BestMethods = ()
    profile: Profile = "paper"
    json: Json = False
    threads: Threads = None
