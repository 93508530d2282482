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
from relprop.support.errors import RelpropError


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
Model = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="The network: a name that `relprop models` lists, timm:NAME, hf:FOLDER, FILE.onnx, "
        "or package.module:function of your own.",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="A safetensors or torch file, or for VGG a Keras .h5, instead of the network's own weights. "
        "No code in it is run.",
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
    """List the methods. Options follow a name after a colon, as in lrp-epsilon:eps=0.1.

    A method of your own, a function (model, x, target) that returns relevance of x's shape, is named by its place:
    package.module:function. Modules are looked for in the current folder too.
    """
    from relprop.commands import lists

    lists.methods(as_json=json)


@app.command(
    short_help="The networks by name, and what each needs.",
    epilog=_examples(
        "relprop models",
        "relprop models resnet",
        "relprop models timm:efficientnet",
        "relprop models --json",
    ),
)
def models(
    *,
    prefix: Annotated[
        str, typer.Argument(metavar="PREFIX", help="What the names begin with; timm: lists timm's, over a thousand.")
    ] = "",
    json: Json = False,
) -> None:
    """List the networks that can be loaded by name, and what loading each of them takes. Nothing is downloaded."""
    with waiting("starting"):
        from relprop.commands import lists

    lists.models(prefix, as_json=json)


def _three(text: str | None) -> tuple[float, ...] | None:
    """Read "0.229,0.224,0.225".

    Raises:
        BadParameter: it is no such thing.
    """
    if text is None:
        return None
    parts = text.split(",")
    try:
        numbers = tuple(float(part) for part in parts)
    except ValueError:
        numbers = ()
    if len(numbers) != 3 or not all(0 < number < float("inf") for number in numbers):
        raise typer.BadParameter(f"{text!r}: give three positive numbers, such as 1,1,1", param_hint="--std")
    return numbers


def _sides(text: str | None) -> int | tuple[int, int] | None:
    """Read "224" or "256x256".

    Raises:
        BadParameter: it is no such thing.
    """
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and 0 < int(part) <= 1 << 14 for part in parts):
        hint = "give the shorter side, such as 224, or HEIGHTxWIDTH"
        raise typer.BadParameter(f"{text!r}: {hint}", param_hint="--resize")
    return int(parts[0]) if len(parts) == 1 else (int(parts[0]), int(parts[1]))


@app.command(
    short_help="Weights of Caffe, Keras or PyTorch into one file that says how to use them.",
    epilog=_examples(
        "relprop convert vgg16_weights_tf_dim_ordering_tf_kernels.h5 --model vgg16",
        "relprop convert caffenet.caffemodel --model caffenet --mean mean.binaryproto --classes voc",
        "relprop convert VGG_ILSVRC_16_layers.caffemodel --model vgg16 --mean 103.939,116.779,123.68",
        "relprop convert mine.pth --model resnet50 --preprocess torchvision --classes names.txt --out mine.safetensors",
        "relprop convert mine.pth --model vgg16 --crop 224 --resize 256 --mean 0.5,0.5,0.5 --std 1,1,1 \\",
        "                --channels RGB --scale 1",
    ),
)
def convert(
    *,
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A .caffemodel, a Keras .h5, a torch or a safetensors file.")
    ],
    model: Annotated[
        str, typer.Option(metavar="NAME", help="The network: caffenet, torchvision's (vgg16) or an embedded one.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The result; without it SOURCE's name with .safetensors, here.")
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(metavar="MEAN", help="A .binaryproto, or three numbers in the network's order of colours."),
    ] = None,
    std: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="What divides the colours after the mean is subtracted.")
    ] = None,
    channels: Annotated[str | None, typer.Option(metavar="ORDER", help="Of the colours: RGB or BGR.")] = None,
    scale: Annotated[
        float | None, typer.Option(metavar="NUMBER", min=1e-6, help="What white is before that: 1 or 255.")
    ] = None,
    crop: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=1 << 14, help="Height and width that the network sees.")
    ] = None,
    resize: Annotated[
        str | None, typer.Option(metavar="N|HxW", help="Before the crop: the shorter side, or height and width.")
    ] = None,
    preprocess: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="torchvision, embedded, keras or caffe; flags beside it go before it."),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A name per line, or ImageNet's class index (JSON); or imagenet, or voc."),
    ] = None,
    prototxt: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Describes the .caffemodel, to be compared with the network.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that relprop has not written.")] = False,
    json: Json = False,
) -> None:
    """Write weights as safetensors with a card: network, classes, preprocessing, where from, and a self-check.

    How pictures are prepared is never guessed. Keras' application files define it, a .caffemodel lacks the mean
    alone, a torch file all of it: an error says which flags are needed. The self-check is a hash of the network's
    answer to a fixed picture; it is equal for equal weights with equal preprocessing, whatever file they came in.
    The result replaces an earlier one, but no other file, and never SOURCE.
    """
    stds, sides = _three(std), _sides(resize)
    if channels not in (None, "RGB", "BGR"):
        raise typer.BadParameter(f"{channels!r}: RGB or BGR", param_hint="--channels")
    with waiting("starting"):
        from relprop.commands.convert import run
        from relprop.models.convert.settle import Wanted

    wanted = Wanted(
        source=source,
        model=model,
        out=out or Path(f"{source.stem}.safetensors"),
        preset=preprocess,
        mean=mean,
        std=stds,
        channels=channels,
        scale=scale,
        crop=crop,
        resize=sides,
        classes=classes,
        prototxt=prototxt,
        force=force,
    )
    run(wanted, as_json=json)


Folder = Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where the results go; continued if begun.")]
Limit = Annotated[int | None, typer.Option(metavar="N", min=1, help="So many pictures, from the first on.")]
Batch = Annotated[int, typer.Option(metavar="N", min=1, help="Pictures at once.")]


def _shard(text: str) -> tuple[int, int]:
    """Read "2/8".

    Raises:
        BadParameter: it is no such thing.
    """
    i, _, n = text.partition("/")
    if not (i.isdigit() and n.isdigit() and 1 <= int(i) <= int(n)):
        raise typer.BadParameter(f"{text!r}: give I/N with I from 1 to N, such as 2/8", param_hint="--shard")
    return int(i), int(n)


def _names(given: list[str]) -> tuple[str, ...]:
    """Methods that were given one by one or by commas; an option such as eps=0.1 belongs to the name before it."""
    names: list[str] = []
    for part in ",".join(given).split(","):
        if names and "=" in part.partition(":")[0]:
            names[-1] += f",{part}"
        elif part:
            names.append(part)
    return tuple(dict.fromkeys(names))


@app.command(
    short_help="A grid of maps: classes by methods.",
    epilog=_examples(
        "relprop compare",
        "relprop compare cat.jpg --model vgg16 --target tabby --target 'Labrador retriever'",
        "relprop compare cat.jpg --method lrp-z --method cmp-alpha2-flat",
    ),
)
def compare(
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
    """Draw the grid of the paper's Figures 1 and 4: a row per class, a column per method.

    Without --method: one rule everywhere, then composites with the flat rule on none, the first, the lowest three,
    and all convolutions. Without --target the two highest classes.
    """
    with waiting("starting"):
        from relprop.commands.compare import METHODS
        from relprop.commands.explain import Request, run

    targets, methods = tuple(target or ()), tuple(method or METHODS)
    request = Request(picture, model, weights, targets, methods, profile, device, threads, out, raw, highest=2)
    run(request, as_json=json)


@app.command(
    short_help="Fit the patterns that Pattern Attribution needs.",
    epilog=_examples(
        "relprop patterns --model digits-deep --limit 1000",
        "relprop patterns --model vgg16 --data folder --root pictures --out vgg16.patterns.safetensors",
        "relprop patterns --model vgg16_bn --data imagenet --root train --limit 20000 --estimator two-component-bias",
        "relprop explain cat.jpg --model vgg16 --method pattern-attribution:patterns=vgg16.patterns.safetensors",
    ),
)
def patterns(
    *,
    model: Model = MODEL,
    weights: Weights = None,
    data: Annotated[str, typer.Option(metavar="NAME", help="embedded, folder, imagenet or voc.")] = "embedded",
    root: Annotated[Path | None, typer.Option(metavar="FOLDER", help="The data's folder.")] = None,
    split: Annotated[
        str | None, typer.Option(help="Of VOC or embedded data. Without it what networks are trained on.")
    ] = None,
    year: Annotated[str, typer.Option(help="Of VOC.")] = "2007",
    variant: Annotated[str, typer.Option(help="Of the embedded data: multi or single.")] = "multi",
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="So many pictures, spread evenly over the data.")
    ] = None,
    estimator: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="two-component (the paper's), two-component-bias (for networks with large biases, such as folded "
            "BatchNorm leaves) or linear.",
        ),
    ] = "two-component",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Without it MODEL.patterns.safetensors in the current folder.")
    ] = None,
    batch: Annotated[int, typer.Option(metavar="N", min=1, help="Pictures at once.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Of the embedded data.")] = 0,
    json: Json = False,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Learn for each layer of a network which direction in its input its output varies with.

    PatternNet and Pattern Attribution explain with these patterns. One pass over the pictures is enough; some
    thousands are. Labels are not needed. The file belongs to the network it was fitted to, and is refused for another.
    """
    with waiting("starting"):
        from relprop.commands.patterns import Request, run

    request = Request(
        model=model,
        weights=weights,
        data=data,
        root=root,
        split=split,
        year=year,
        variant=variant,
        limit=limit,
        estimator=estimator,
        out=out,
        batch=batch,
        seed=seed,
        device=device,
        threads=threads,
    )
    run(request, as_json=json)


@app.command(
    short_help="Measure how well methods find the objects of a data set.",
    epilog=_examples(
        "relprop study --limit 200",
        "relprop study --data voc --root VOCdevkit --model vgg16 --class-map voc_to_imagenet.json",
        "relprop study --data imagenet --root val --annotations boxes --index imagenet_class_index.json --model vgg16",
        "relprop study --data folder --root pictures --annotations coco.json --model resnet50 --class-map map.json",
        "relprop study --methods lrp-z,cmp-alpha1-flat:layers=3,eps=0.1,uniform",
        "relprop study --limit 1000 --shard 2/4 --out results",
    ),
)
def study(
    *,
    data: Annotated[str, typer.Option(metavar="NAME", help="embedded, voc, imagenet or folder.")] = "embedded",
    root: Annotated[Path | None, typer.Option(metavar="FOLDER", help="The data's folder.")] = None,
    split: Annotated[
        str | None, typer.Option(help="Of VOC (train, val, trainval, test, all) or embedded data.")
    ] = None,
    year: Annotated[str, typer.Option(help="Of VOC.")] = "2007",
    variant: Annotated[str, typer.Option(help="Of the embedded data: multi or single.")] = "multi",
    annotations: Annotated[Path | None, typer.Option(help="Folder of XML files, or a COCO JSON file.")] = None,
    index: Annotated[Path | None, typer.Option(help="ImageNet's class index, a JSON file.")] = None,
    ground_truth: Annotated[Path | None, typer.Option(help="ImageNet's labels, a text or CSV file.")] = None,
    synsets: Annotated[Path | None, typer.Option(help="What ILSVRC2012_ID means, a text file.")] = None,
    class_map: Annotated[
        Path | None,
        typer.Option(help="JSON, class of the data to outputs of the model; the highest is explained."),
    ] = None,
    model: Model = MODEL,
    weights: Weights = None,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", "--methods", metavar="NAMES", help="As `relprop methods` lists them, by commas."),
    ] = None,
    geometry: Annotated[
        str, typer.Option(help="paper (VOC: no cropping; ImageNet: shorter side, centre crop) or the model's own.")
    ] = "paper",
    limit: Limit = None,
    out: Folder = None,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="Measure the I-th of N shares, for several processes.")
    ] = "1/1",
    batch: Batch = 16,
    seed: Annotated[int, typer.Option(min=0, help="Of the embedded data and the bootstrap.")] = 0,
    occlusion: Annotated[bool, typer.Option(help="Hide object and context in turn, for Figure 2.")] = True,
    json: Json = False,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Measure localisation (mu, mu_w and more) of heat maps on pictures with boxes.

    One row per picture, class and method goes to Parquet files in the study's folder, part by part. A second start
    continues; with another configuration it refuses and says what differs. Without --method the paper's eight
    configurations are measured, gradients, Guided Backprop, the uniform baseline, and Pattern Attribution where the
    network brings its patterns, as the embedded ones do.
    """
    with waiting("starting"):
        from relprop.commands import study as work

    request = work.Request(
        data=data,
        root=root,
        split=split,
        year=year,
        variant=variant,
        annotations=annotations,
        index=index,
        ground_truth=ground_truth,
        synsets=synsets,
        class_map=class_map,
        model=model,
        weights=weights,
        methods=_names(method or []),
        geometry=geometry,
        limit=limit,
        out=out or Path("relprop-study"),
        shard=_shard(shard),
        batch=batch,
        device=device,
        threads=threads,
        seed=seed,
        occlusion=occlusion,
    )
    work.study(request, as_json=json)


@app.command(
    short_help="Tables, figures and a page from one or several studies.",
    epilog=_examples("relprop report relprop-study", "relprop report shallow deep --out report"),
)
def report(
    *,
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Folders of studies.")],
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where to; relprop-report without it.")] = None,
) -> None:
    """Write Table I (Markdown, LaTeX, CSV), Figures 2 and 3, the paper's claims, and one page that holds all of it."""
    with waiting("starting"):
        from relprop.commands import study as work

    work.report(folders, out or Path("relprop-report"))


@app.command(
    short_help="The paper's whole study with one command.",
    epilog=_examples(
        "relprop reproduce",
        "relprop reproduce --limit 100",
        "relprop reproduce --imagenet-root val --imagenet-index imagenet_class_index.json --imagenet-weights vgg16.pth",
        "relprop reproduce --voc-root VOCdevkit --voc-weights caffenet.safetensors",
        "relprop reproduce --voc-root VOCdevkit --voc-model vgg16 --voc-class-map voc_to_imagenet.json",
    ),
)
def reproduce(
    *,
    voc_root: Annotated[Path | None, typer.Option(help="VOCdevkit, with VOC2007 in it.")] = None,
    voc_model: Annotated[
        str, typer.Option(help="The network for VOC; relprop convert writes its weights.")
    ] = "caffenet",
    voc_weights: Annotated[str | None, typer.Option(help="Its weights, as relprop convert writes them.")] = None,
    voc_class_map: Annotated[Path | None, typer.Option(help="JSON, VOC class to outputs of the network.")] = None,
    imagenet_root: Annotated[Path | None, typer.Option(help="ImageNet's validation pictures.")] = None,
    imagenet_model: Annotated[str, typer.Option(help="The network for ImageNet.")] = "vgg16",
    imagenet_weights: Annotated[str | None, typer.Option(help="Its weights.")] = None,
    imagenet_annotations: Annotated[Path | None, typer.Option(help="Folder of the boxes' XML files.")] = None,
    imagenet_index: Annotated[Path | None, typer.Option(help="Class index, a JSON file.")] = None,
    imagenet_ground_truth: Annotated[Path | None, typer.Option(help="Labels, a text or CSV file.")] = None,
    imagenet_synsets: Annotated[Path | None, typer.Option(help="What ILSVRC2012_ID means.")] = None,
    limit: Limit = None,
    out: Folder = None,
    batch: Batch = 16,
    json: Json = False,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Run the study of Kohlbrenner et al. (2020): Table I, Figures 1 to 4, and its claims, each held or not.

    Without any data named, on the embedded data with both embedded networks, 500 pictures each. A second start
    continues where the first one ended.
    """
    with waiting("starting"):
        from relprop.commands.reproduce import Sources
        from relprop.commands.reproduce import reproduce as work
        from relprop.commands.study import Request

    sources = Sources(
        voc_root=voc_root,
        voc_model=voc_model,
        voc_weights=voc_weights,
        voc_class_map=voc_class_map,
        imagenet_root=imagenet_root,
        imagenet_model=imagenet_model,
        imagenet_weights=imagenet_weights,
        imagenet_annotations=imagenet_annotations,
        imagenet_index=imagenet_index,
        imagenet_ground_truth=imagenet_ground_truth,
        imagenet_synsets=imagenet_synsets,
    )
    base = Request(limit=limit, out=out or Path("relprop-reproduce"), batch=batch, device=device, threads=threads)
    work(sources, base, as_json=json)


def main() -> None:
    """Run the command line, as ``relprop`` and ``python -m relprop`` do."""
    app(prog_name="relprop")
