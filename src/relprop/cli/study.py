"""``relprop study``, ``report`` and ``reproduce``: how well methods find objects."""

# ruff: noqa: PLC0415
# A command imports its work when it runs: torch takes seconds, and --help must not wait for it.

from __future__ import annotations

from relprop.cli.app import command
from relprop.commands.console import waiting
from relprop.commands.requests import CompactRequest, ReportRequest, ReproduceRequest, StudyRequest


@command(
    "Measure how well methods find the objects of a data set.",
    "relprop study --limit 200",
    "relprop study --data voc --root VOCdevkit --model vgg16 --class-map voc_to_imagenet.json",
    "relprop study --data imagenet --root val --annotations boxes --index imagenet_class_index.json --model vgg16",
    "relprop study --data folder --root pictures --annotations coco.json --model resnet50 --class-map map.json",
    "relprop study --methods lrp-z,cmp-alpha1-flat:layers=3,eps=0.1,uniform",
    "relprop study --limit 50 --measures occlusion,flipping:region=8,randomisation,sparseness",
    "relprop study --data voc --root VOCdevkit --masks --model vgg16 --class-map voc_to_imagenet.json",
    "relprop study --config study.toml --limit 50",
    "relprop study --limit 1000 --shard 2/4 --out results",
    "relprop study --limit 1000 --chunk 200 --out results",
    "relprop study --limit 1000 --ray --actors 4",
)
def study(request: StudyRequest) -> None:
    """Measure localisation (mu, mu_w and more) of heat maps on pictures with boxes.

    One row per picture, class and method goes to Parquet files in the study's folder, part by part. A second start
    continues; with another configuration it refuses and says what differs. Without --method the paper's eight
    configurations are measured, gradients, Guided Backprop, the uniform baseline, and Pattern Attribution where the
    network brings its patterns, as the embedded ones do.
    """
    with waiting("starting"):
        from relprop.commands import study as work

    work.study(request)


@command(
    "Tables, figures and a page from one or several studies.",
    "relprop report relprop-study",
    "relprop report shallow deep --out report",
    "relprop report relprop-study --by sign",
)
def report(request: ReportRequest) -> None:
    """Write Table I (Markdown, LaTeX, CSV), Figures 2 and 3, the paper's claims, and one page that holds all of it."""
    with waiting("starting"):
        from relprop.commands import study as work

    work.report(request)


@command(
    "A study's many small files put into few large ones.",
    "relprop compact relprop-study",
    "relprop compact relprop-study --json",
)
def compact(request: CompactRequest) -> None:
    """Put the parts of a study together, a few hundred in the files of one folder.

    What is written is read back and compared before a part goes, so that no moment is a bad one to be interrupted at.
    The study is read, continued and reported on as before; parts that are not surrounded yet stay for a later call.
    """
    with waiting("starting"):
        from relprop.commands import study as work

    work.compact(request)


@command(
    "The paper's whole study with one command.",
    "relprop reproduce",
    "relprop reproduce --limit 100",
    "relprop reproduce --imagenet-root val --imagenet-index imagenet_class_index.json --imagenet-weights vgg16.pth",
    "relprop reproduce --voc-root VOCdevkit --voc-weights caffenet.safetensors",
    "relprop reproduce --voc-root VOCdevkit --voc-model vgg16 --voc-class-map voc_to_imagenet.json",
)
def reproduce(request: ReproduceRequest) -> None:
    """Run the study of Kohlbrenner et al. (2020): Table I, Figures 1 to 4, and its claims, each with a verdict.

    Without any data named, on the embedded data with both embedded networks, 500 pictures each. A second start
    continues where the first one ended.
    """
    with waiting("starting"):
        from relprop.commands.reproduce import run

    run(request)
