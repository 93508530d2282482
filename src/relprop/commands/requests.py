"""What each command can be asked for: a field an option, as `options` or the field itself says. No torch here.

`relprop.cli` makes the command line of these, and hands one, filled, to what does the work.
"""

# Typer reads the annotations at run time, so what they name is imported for real.

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from relprop.catalogue.table import BEST
from relprop.commands.options import (
    MODEL,
    Actors,
    Address,
    Annotations,
    Batch,
    Chunk,
    ClassMap,
    Columns,
    Config,
    DataName,
    Device,
    Figure,
    Folder,
    GroundTruth,
    Index,
    Json,
    Limit,
    Masks,
    Method,
    Model,
    Profile,
    Ray,
    Root,
    Shard,
    Split,
    Synsets,
    Threads,
    Variant,
    Weights,
    Workers,
    Year,
    read_by,
    read_channels,
    read_size,
    read_std,
    split_names,
)


@dataclass(frozen=True, kw_only=True)
class MethodsRequest:
    """Of ``relprop methods``."""

    json: Json = False


@dataclass(frozen=True, kw_only=True)
class ModelsRequest:
    """Of ``relprop models``."""

    prefix: Annotated[
        str, Argument(metavar="PREFIX", help="What the names begin with; timm: lists timm's, over a thousand.")
    ] = ""
    json: Json = False


@dataclass(frozen=True, kw_only=True)
class ConvertRequest:
    """Of ``relprop convert``."""

    source: Annotated[
        Path, Argument(metavar="SOURCE", help="A .caffemodel, a Keras .h5, a torch or a safetensors file.")
    ]
    model: Annotated[
        str, Option(metavar="NAME", help="The network: caffenet, torchvision's (vgg16) or an embedded one.")
    ]
    out: Annotated[
        Path | None, Option(metavar="FILE", help="The result; without it SOURCE's name with .safetensors, here.")
    ] = None
    mean: Annotated[
        str | None, Option(metavar="MEAN", help="A .binaryproto, or three numbers in the network's order of colours.")
    ] = None
    std: Annotated[
        tuple[float, ...] | None,
        Option(
            metavar="A,B,C", parser=read_by(read_std), help="What divides the colours after the mean is subtracted."
        ),
    ] = None
    channels: Annotated[
        str | None, Option(metavar="ORDER", parser=read_by(read_channels), help="Of the colours: RGB or BGR.")
    ] = None
    scale: Annotated[float | None, Option(metavar="NUMBER", min=1e-6, help="What white is before that: 1 or 255.")] = (
        None
    )
    crop: Annotated[
        int | None, Option(metavar="N", min=1, max=1 << 14, help="Height and width that the network sees.")
    ] = None
    resize: Annotated[
        int | tuple[int, int] | None,
        Option(
            metavar="N|HxW", parser=read_by(read_size), help="Before the crop: the shorter side, or height and width."
        ),
    ] = None
    preprocess: Annotated[
        str | None, Option(metavar="NAME", help="torchvision, embedded, keras or caffe; flags beside it go before it.")
    ] = None
    classes: Annotated[
        str | None,
        Option(metavar="FILE", help="A name per line, or ImageNet's class index (JSON); or imagenet, or voc."),
    ] = None
    prototxt: Annotated[
        Path | None, Option(metavar="FILE", help="Describes the .caffemodel, to be compared with the network.")
    ] = None
    force: Annotated[bool, Option("--force", help="Replace a file that relprop has not written.")] = False
    json: Json = False


@dataclass(frozen=True, kw_only=True)
class PatternsRequest:
    """Of ``relprop patterns``."""

    model: Model = MODEL
    weights: Weights = None
    data: DataName = "embedded"
    root: Root = None
    split: Annotated[str | None, Option(help="Of VOC or embedded data. Without it what networks are trained on.")] = (
        None
    )
    columns: Columns = ""
    year: Year = "2007"
    variant: Variant = "multi"
    limit: Annotated[int | None, Option(metavar="N", min=1, help="So many pictures, spread evenly over the data.")] = (
        None
    )
    estimator: Annotated[
        str,
        Option(
            metavar="NAME",
            help="two-component (the paper's), two-component-bias (for networks with large biases, such as folded "
            "BatchNorm leaves) or linear.",
        ),
    ] = "two-component"
    out: Annotated[
        Path | None, Option(metavar="FILE", help="Without it MODEL.patterns.safetensors in the current folder.")
    ] = None
    batch: Batch = 32
    seed: Annotated[int, Option(min=0, help="Of the embedded data.")] = 0
    ray: Ray = False
    address: Address = None
    actors: Actors = None
    json: Json = False
    device: Device = "cpu"
    threads: Threads = None


@dataclass(frozen=True, kw_only=True)
class StudyRequest:
    """Of ``relprop study``; without methods those of the paper and what they are compared with."""

    config: Config = None
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
    methods: Annotated[
        tuple[str, ...],
        Option(
            "--method",
            "--methods",
            metavar="NAMES",
            callback=split_names,
            help="As `relprop methods` lists them, by commas.",
        ),
    ] = ()
    geometry: Annotated[
        str, Option(help="paper (VOC: no cropping; ImageNet: shorter side, centre crop) or the model's own.")
    ] = "paper"
    limit: Limit = None
    out: Folder = Path("relprop-study")
    shard: Shard = None
    ray: Ray = False
    address: Address = None
    actors: Actors = None
    chunk: Chunk = 50
    batch: Batch = 16
    workers: Workers = None
    seed: Annotated[int, Option(min=0, help="Of the embedded data and the bootstrap.")] = 0
    measures: Annotated[
        tuple[str, ...],
        Option(
            "--measure",
            "--measures",
            metavar="NAMES",
            callback=split_names,
            help="Beside localisation, by commas: occlusion, flipping, randomisation, sparseness, or "
            "package.module:object of your own. Without it occlusion.",
        ),
    ] = ()
    occlusion: Annotated[bool, Option(help="Hide object and context in turn, for Figure 2.")] = True
    json: Json = False
    device: Device = "cpu"
    threads: Threads = None


@dataclass(frozen=True, kw_only=True)
class ConceptsRequest:
    """Of ``relprop concepts``."""

    layer: Annotated[
        str, Option(metavar="PATH", help="The module whose channels are looked at, as `relprop plan` lists them.")
    ]
    target: Annotated[str, Option("--class", metavar="CLASS", help="A class of the data, by name or index.")]
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
    method: Method = BEST
    profile: Profile = "paper"
    top: Annotated[int, Option(metavar="N", min=1, help="So many channels.")] = 8
    shown: Annotated[int, Option(metavar="N", min=1, help="So many pictures of each.")] = 8
    by: Annotated[
        str,
        Option(
            metavar="sum|max", help="What of a channel's relevance pictures are compared by; max favours small spots."
        ),
    ] = "sum"
    limit: Limit = None
    out: Figure = None
    batch: Batch = 16
    seed: Annotated[int, Option(min=0, help="Of the embedded data and the bootstrap.")] = 0
    ray: Ray = False
    address: Address = None
    actors: Actors = None
    json: Json = False
    device: Device = "cpu"
    threads: Threads = None


@dataclass(frozen=True, kw_only=True)
class TestbedRequest:
    """Of ``relprop testbed``; without methods every one that can explain the network."""

    __test__ = False  # no test of pytest's

    network: Annotated[str, Option(metavar="NAME", help="digits-shallow, digits-deep or both.")] = "both"
    methods: Annotated[
        tuple[str, ...],
        Option(
            "--method",
            "--methods",
            metavar="NAMES",
            callback=split_names,
            help="As `relprop methods` lists them, by commas. Without it every one.",
        ),
    ] = ()
    pictures: Annotated[
        int,
        Option(metavar="N", min=4, help="So many pictures are redrawn; the time goes with it."),
    ] = 24
    seed: Annotated[int, Option(min=0, help="Of the pictures, the planted mark's network, and the bootstrap.")] = 0
    out: Annotated[Path, Option(metavar="FOLDER", help="Where tables, figures and the page go.")] = Path(
        "relprop-testbed"
    )
    batch: Batch = 16
    json: Json = False
    threads: Annotated[int, Option(metavar="N", min=1, help="CPU threads. One is fastest: the networks are small.")] = 1


@dataclass(frozen=True, kw_only=True)
class ReportRequest:
    """Of ``relprop report``."""

    folders: Annotated[tuple[Path, ...], Argument(metavar="FOLDER...", help="Folders of studies.")]
    by: Annotated[str | None, Option(metavar="sign", help="Split Table I on the page: by the sign of the logit.")] = (
        None
    )
    out: Annotated[Path, Option(metavar="FOLDER", help="Where to.")] = Path("relprop-report")


@dataclass(frozen=True, kw_only=True)
class CompactRequest:
    """Of ``relprop compact``."""

    folder: Annotated[Path, Argument(metavar="FOLDER", help="A study's folder.")]
    json: Json = False


@dataclass(frozen=True, kw_only=True)
class ReproduceRequest:
    """Of ``relprop reproduce``; without folders of data the embedded ones."""

    voc_root: Annotated[Path | None, Option(help="VOCdevkit, with VOC2007 in it.")] = None
    voc_model: Annotated[str, Option(help="The network for VOC; relprop convert writes its weights.")] = "caffenet"
    voc_weights: Annotated[str | None, Option(help="Its weights, as relprop convert writes them.")] = None
    voc_class_map: Annotated[Path | None, Option(help="JSON, VOC class to outputs of the network.")] = None
    imagenet_root: Annotated[Path | None, Option(help="ImageNet's validation pictures.")] = None
    imagenet_model: Annotated[str, Option(help="The network for ImageNet.")] = "vgg16"
    imagenet_weights: Annotated[str | None, Option(help="Its weights.")] = None
    imagenet_annotations: Annotated[Path | None, Option(help="Folder of the boxes' XML files.")] = None
    imagenet_index: Annotated[Path | None, Option(help="Class index, a JSON file.")] = None
    imagenet_ground_truth: Annotated[Path | None, Option(help="Labels, a text or CSV file.")] = None
    imagenet_synsets: Annotated[Path | None, Option(help="What ILSVRC2012_ID means.")] = None
    limit: Limit = None
    out: Folder = Path("relprop-reproduce")
    batch: Batch = 16
    json: Json = False
    device: Device = "cpu"
    threads: Threads = None
