"""What ``relprop tune`` can be asked for. No torch here."""

# Typer reads the annotations at run time, so what they name is imported for real.

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Option

from relprop.commands.options import (
    MODEL,
    Actors,
    Address,
    Annotations,
    ClassMap,
    Columns,
    DataName,
    Device,
    GroundTruth,
    Index,
    Json,
    Limit,
    Masks,
    Model,
    Profile,
    Ray,
    Root,
    Split,
    Synsets,
    Threads,
    Variant,
    Weights,
    Year,
)
from relprop.commands.readers import split_names


@dataclass(frozen=True, kw_only=True)
class TuneRequest:
    """Of ``relprop tune``."""

    space: Annotated[
        str,
        Option(metavar="NAME|FILE", help="small, default, large, gamma, attention; or a TOML file of your own."),
    ] = "default"
    by: Annotated[
        tuple[str, ...],
        Option(
            metavar="MEASURES",
            callback=split_names,
            help="mu_w (if nothing is said), mu, pointing_game, rank_accuracy, srg, abpc, morf, lerf, or "
            "package.module:function, or a column of a study's measure: sparseness/gini; several, by commas.",
        ),
    ] = ()
    against: Annotated[
        tuple[str, ...],
        Option(metavar="NAMES", callback=split_names, help="The methods to compare with; without it the composites."),
    ] = ()
    data: DataName = "embedded"
    root: Root = None
    split: Split = None
    year: Year = "2007"
    variant: Variant = "multi"
    annotations: Annotations = None
    columns: Columns = ""
    masks: Masks = False
    index: Index = None
    ground_truth: GroundTruth = None
    synsets: Synsets = None
    class_map: ClassMap = None
    model: Model = MODEL
    weights: Weights = None
    geometry: Annotated[
        str, Option(help="paper (VOC: no cropping; ImageNet: shorter side, centre crop) or the model's own.")
    ] = "paper"
    limit: Limit = None
    share: Annotated[
        float, Option(metavar="SHARE", min=0.01, max=0.99, help="Of the pictures to search by; the others judge.")
    ] = 0.5
    finalists: Annotated[int, Option(metavar="N", min=1, help="So many candidates see all of these.")] = 3
    most: Annotated[int, Option(metavar="N", min=1, help="Candidates that are drawn of a larger space.")] = 512
    trials: Annotated[int, Option(metavar="N", min=1, help="Of a space with ranges, which needs Optuna.")] = 96
    profile: Profile = "paper"
    out: Annotated[Path, Option(metavar="FILE", help="The best composite, a method for every command.")] = Path(
        "tuned.toml"
    )
    figure: Annotated[
        Path | None, Option(metavar="FILE", help="Draw how the search went (png, pdf, svg, jpg, ...).")
    ] = None
    folder: Annotated[
        Path | None,
        Option(metavar="FOLDER", help="Keep what is measured there; a search that was interrupted goes on."),
    ] = None
    seed: Annotated[int, Option(min=0, help="Of the split, of what is drawn, the embedded data and the bootstrap.")] = 0
    ray: Ray = False
    address: Address = None
    actors: Actors = None
    json: Json = False
    device: Device = "cpu"
    threads: Threads = None
