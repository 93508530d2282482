"""What the options of several commands are: type, name on the command line, help. No torch here.

A command's request, in `requests`, is made of these; nothing else says what an option is.
"""

# Typer reads the annotations at run time, so what they name is imported for real.

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from relprop.commands import completing
from relprop.commands.readers import (
    check_boxes,
    one_name,
    read_by,
    read_pixel,
    read_region,
    read_shard,
    split_names,
)
from relprop.commands.settings import settings

MODEL = "digits-deep"
"""The network that is explained where none is named."""
METHOD_NAMES = ("--method", "--methods")
"""Every command takes either, several times and with commas."""


# -- what is explained, and how ----------------------------------------------------------------------

Picture = Annotated[
    Path | None,
    typer.Argument(metavar="PICTURE", help="A picture file. Without it the embedded sample."),
]
Pictures = Annotated[
    tuple[Path, ...],
    typer.Argument(
        metavar="[PICTURE...]",
        help="A picture file, several, folders, or patterns in quotes such as 'a/**/*.jpg'. Without it the embedded "
        "sample.",
    ),
]
Model = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        autocompletion=completing.models,
        help="The network: a name that `relprop models` lists, timm:NAME, hf:FOLDER, hf:FILE.gguf, FILE.onnx, "
        "or package.module:function of your own.",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="A safetensors or torch file, or for VGG a Keras .h5, instead of the network's own weights; no code in it "
        "is run. Or download: the network's own, fetched once. Without it its own, where they are on this machine.",
    ),
]
Targets = Annotated[
    tuple[str, ...],
    typer.Option(
        "--target",
        metavar="CLASS",
        autocompletion=completing.classes,
        help="A class to explain, by index or name; of a language model a token, such as ' Paris' with the space that "
        "it begins with, or #ID; several make a row each. Without it the top class, or the predicted token.",
    ),
]
Text = Annotated[str | None, typer.Option("--text", metavar="TEXT", help="A text, for a model that reads texts.")]
Texts = Annotated[
    tuple[str, ...],
    typer.Option("--text", metavar="TEXT", help="A text instead of a picture, for a model that reads texts; several."),
]
TextFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Texts, one in a line.")]
Against = Annotated[
    str | None,
    typer.Option(metavar="TOKEN", help="Of a language model: explain why the target rather than this token."),
]
Position = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Of a language model: which token's place gives the logits, from 0, or negative from the end. Without it "
        "the last, or where the text has the mask.",
    ),
]
Layers = Annotated[bool, typer.Option("--layers", help="Of texts: draw the tokens' relevance at every layer, too.")]
Pixel = Annotated[
    tuple[int, int] | None,
    typer.Option(metavar="X,Y", parser=read_by(read_pixel), help="Of a segmentation network: the pixel to explain."),
]
Region = Annotated[
    tuple[int, int, int, int] | None,
    typer.Option(
        metavar="X0,Y0,X1,Y1",
        parser=read_by(read_region),
        help="Of a segmentation network: the region whose mean logit is explained; X1 and Y1 are no part of it.",
    ),
]
OneMethod = Annotated[
    tuple[str, ...],
    typer.Option(
        *METHOD_NAMES,
        metavar="NAME",
        autocompletion=completing.methods,
        callback=one_name,
        help="As `relprop methods` lists them; one.",
    ),
]
BestMethods = Annotated[
    tuple[str, ...],
    typer.Option(
        *METHOD_NAMES,
        metavar="NAMES",
        autocompletion=completing.methods,
        callback=split_names,
        help="As `relprop methods` lists them, by commas or one by one. Without it the best practice for what the "
        "network reads.",
    ),
]
Methods = Annotated[
    tuple[str, ...],
    typer.Option(
        *METHOD_NAMES,
        metavar="NAMES",
        autocompletion=completing.methods,
        callback=split_names,
        help="As `relprop methods` lists them, by commas or one by one; several make a column each.",
    ),
]
StudyMethods = Annotated[
    tuple[str, ...],
    typer.Option(
        *METHOD_NAMES,
        metavar="NAMES",
        autocompletion=completing.methods,
        callback=split_names,
        help="As `relprop methods` lists them, by commas or one by one. Without it the paper's and those that it "
        "compares.",
    ),
]
TestbedMethods = Annotated[
    tuple[str, ...],
    typer.Option(
        *METHOD_NAMES,
        metavar="NAMES",
        autocompletion=completing.methods,
        callback=split_names,
        help="As `relprop methods` lists them, by commas or one by one. Without it every one.",
    ),
]
Profile = Annotated[
    str, typer.Option(metavar="NAME", help="Numeric conventions: paper, innvestigate, toolbox or zennit.")
]


def read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Let a file's settings stand for the options that the command line does not give, whose defaults they become.

    Raises:
        InputError: the file cannot be read, or it names an option that there is not.
    """
    if path is not None:
        options = [each for each in context.command.params if each.name not in ("config", "help")]
        names = {option.removeprefix("--"): str(each.name) for each in options for option in each.opts}
        flags = [str(each.name) for each in options if getattr(each, "is_flag", False)]
        several = [str(each.name) for each in options if getattr(each, "multiple", False)]
        context.default_map = settings(path, names, flags, several)
    return path


Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        is_eager=True,
        callback=read_config,
        help="Settings from a TOML file, with these options' names as keys; an option given here wins.",
    ),
]

# -- data --------------------------------------------------------------------------------------------

DataName = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        autocompletion=completing.data,
        help="embedded, voc, imagenet, folder, webdataset (tar shards), parquet or huggingface.",
    ),
]
Split = Annotated[
    str | None,
    typer.Option(help="Of VOC (train, val, trainval, test, all), embedded data, or a folder of Hugging Face."),
]
Annotations = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="Folder of XML files, a COCO JSON file, or with --masks a folder of PNG files."),
]
Columns = Annotated[
    str,
    typer.Option(
        metavar="KIND=NAME,...",
        help="Of webdataset, parquet and huggingface: what image, label, bbox, boxes, classes, id, ... are called "
        "there, such as image=photo,bbox=objects.box.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=0,
        help="Processes that read pictures ahead. Without it some beside a GPU or for data elsewhere, else none.",
    ),
]
Masks = Annotated[
    bool,
    typer.Option(
        "--masks",
        help="Of VOC (SegmentationClass), COCO JSON (extra coco) or your own PNG files, ANNOTATIONS/CLASS/PICTURE.png: "
        "measure against masks instead of boxes.",
    ),
]
Index = Annotated[
    Path | None,
    typer.Option(help="What labels that are numbers mean: ImageNet's class index, a JSON file, or a name a line."),
]
GroundTruth = Annotated[Path | None, typer.Option(help="ImageNet's labels, a text or CSV file.")]
Synsets = Annotated[Path | None, typer.Option(help="What ILSVRC2012_ID means, a text file.")]
ClassMap = Annotated[
    Path | None,
    typer.Option(help="JSON, class of the data to outputs of the model; the highest is explained."),
]
Root = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Where the data is: a folder; of shards and Parquet a file, 'a-*.tar' or 'a-{000..146}.tar' too; here or "
        "at an address that fsspec knows (s3://, gs://, memory://, zip://...::...).",
    ),
]
Year = Annotated[str, typer.Option(help="Of VOC.")]
Variant = Annotated[str, typer.Option(help="Of the embedded data: multi or single.")]
Limit = Annotated[int | None, typer.Option(metavar="N", min=1, help="So many pictures, from the first on.")]
Batch = Annotated[int, typer.Option(metavar="N", min=1, help="Pictures at once.")]
Chunk = Annotated[
    int,
    typer.Option(metavar="N", min=1, help="Pictures a part: what is written, and lost when it is killed, at once."),
]
Shard = Annotated[
    tuple[int, int] | None,
    typer.Option(
        metavar="I/N",
        parser=read_by(read_shard),
        help="Measure the I-th of N shares, for several processes. Without it the share that RANK and WORLD_SIZE name, "
        "as torchrun sets them, or all.",
    ),
]
Ray = Annotated[
    bool,
    typer.Option("--ray", help="Let processes of Ray do it, on this machine or a cluster (extra ray)."),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Of --ray: the cluster, auto or HOST:PORT. Without it what RAY_ADDRESS says, or this machine alone.",
    ),
]
Actors = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Of --ray: so many processes. Without it one for every core, or GPU."),
]

# -- where to, and on what ---------------------------------------------------------------------------

Figure = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="The figure's file (png, pdf, svg, jpg, ...) or a folder for it. Without it the current folder; of "
        "several pictures a folder of its own in it.",
    ),
]
Scale = Annotated[
    str,
    typer.Option(metavar="NAME", help="Of figures: a colour scale for each map, each method, or all."),
]
Sign = Annotated[str, typer.Option(metavar="both|+|-", help="Of figures: which relevance is shown.")]
Percentile = Annotated[
    float, typer.Option(metavar="P", help="Of figures: of the absolute numbers, where the colour scale ends.")
]
Colours = Annotated[str, typer.Option(metavar="NAME", help="Of figures: a colour map of matplotlib's.")]
Overlay = Annotated[
    float, typer.Option(metavar="S", min=0, max=1, help="Of figures: how strong the grey picture is beneath the maps.")
]
Names = Annotated[str, typer.Option(metavar="paper|code", help="Of figures: how methods are written.")]
Boxes = Annotated[
    tuple[str, ...],
    typer.Option(
        "--box",
        metavar="X0,Y0,X1,Y1",
        callback=check_boxes,
        help="Of figures: a box to be outlined, in pixels of what the network sees; several.",
    ),
]
Format = Annotated[
    str | None, typer.Option(metavar="NAME", help="Of the figure where --out names no file: png, pdf, svg, jpg, ...")
]
Raw = Annotated[
    bool,
    typer.Option(
        "--raw",
        help="Write each method's maps too, as .npy beside the figure: (targets, channels, height, width).",
    ),
]
Figures = Annotated[
    bool,
    typer.Option(
        "--figures", help="Of several pictures: draw each one's figure too, with its colour bars, half a second each."
    ),
]
Folder = Annotated[Path, typer.Option(metavar="FOLDER", help="Where the results go; continued if begun.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]
Device = Annotated[str, typer.Option(metavar="NAME", help="Where to compute: cpu, cuda, cuda:1, mps.")]
Threads = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="CPU threads. Without it as many as torch takes.")
]
