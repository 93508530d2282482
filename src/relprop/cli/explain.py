"""``relprop explain``, ``compare``, ``plan`` and ``check``: what one picture, or a network's structure, has to say."""

# ruff: noqa: PLC0415
# A command imports its work when it runs: torch takes seconds, and --help must not wait for it.

from __future__ import annotations

from relprop.cli.app import command
from relprop.commands.console import waiting
from relprop.commands.picture_requests import CheckRequest, CompareRequest, ExplainRequest, PlanRequest


@command(
    "Picture or text in, heat map of relevance out.",
    "relprop explain",
    "relprop explain cat.jpg --model vgg16",
    "relprop explain cat.jpg --model vgg16 --weights vgg16.safetensors",
    "relprop explain cat.jpg --model vgg16 --target tabby --target 282",
    "relprop explain cat.jpg --method lrp-z --method cmp-alpha2-flat --out maps/",
    "relprop explain cat.jpg --out cat.pdf --raw --json",
    "relprop explain photos/ --model vgg16 --out maps",
    "relprop explain a/cat.jpg b/cat.jpg 'more/**/*.png' --target tabby --json",
    "relprop explain street.jpg --model fcn_resnet50 --target car --region 100,200,180,260",
    "relprop explain --text 'The capital of France is' --model hf:FOLDER --target ' Paris' --against ' London'",
    "relprop explain --text-file reviews.txt --model hf:FOLDER --target positive --method attnlrp --layers",
)
def explain(request: ExplainRequest) -> None:
    """Show which pixels of PICTURE speak for a class (red) and which against it (blue).

    Under lrp-alpha1 and lrp-alpha2 the colours are the other way round where the class's logit is negative: relevance
    keeps there the sign of the logit that it starts as.

    The figure has the picture, exactly as the network saw it, beside its map, and under the map how much of the logit
    lies on pixels, in red where that is less than half. Maps are summed over the colour channels. Their colour scale
    is symmetric around zero, or begins there where a map has one sign, and ends at the 99.9th percentile of the
    absolute relevance (--scale, --sign, --percentile, --colours, --overlay, --box); a pointed end of the colour bar
    says that some pixels lie beyond. Files that exist are overwritten.

    Several pictures, folders and patterns (in quotes) are explained with the network loaded once: into the folder --out
    or relprop-explain go a page (explained.html), a table (explained.csv, explained.parquet) and a file of maps for
    each picture, named by folder and whole name, so that a/cat.jpg and a/cat.png are two. A picture that cannot be
    explained is told on stderr, on the page and in the table; the others go on, and the exit code is 1 at the end.
    Ctrl-C keeps what is done. Files that exist are overwritten.

    A segmentation network gives a map of logits, and a place of it is explained: --pixel or --region, outlined in
    the figure.

    With --text a model of texts is explained: a language model at the last token's place, or at --position, or a
    classifier. Each method prints the text with its tokens coloured (with numbers where the output has no colours),
    and how much of the logit lies on them; a page (.html) is written beside the figure.
    """
    with waiting("starting"):
        if request.texts or request.text_file is not None:
            from relprop.commands.explain_text import run
        else:
            from relprop.commands.explain_pictures import run

    run(request)


@command(
    "A grid of maps: classes by methods.",
    "relprop compare",
    "relprop compare cat.jpg --model vgg16 --target tabby --target 'Labrador retriever'",
    "relprop compare cat.jpg --method lrp-z --method cmp-alpha2-flat",
    "relprop compare cat.jpg --paper --overlay 0.5 --format pdf",
    "relprop compare photos/ --model vgg16 --batch 8 --out maps",
)
def compare(request: CompareRequest) -> None:
    """Draw the grid of the paper's Figures 1 and 4: a row per class, a column per method.

    Without --method: one rule everywhere, then composites with the flat rule on none, the first, the lowest three,
    and all convolutions. Without --target the two highest classes.

    Several pictures, folders and patterns are compared as `relprop explain` explains them: compared.html, compared.csv.
    """
    with waiting("starting"):
        from relprop.commands.compare import run

    run(request)


@command(
    "Which rule each op of a network gets, and why.",
    "relprop plan --model vgg16",
    "relprop plan --model resnet50 --method cmp-alpha1-flat:layers=3",
    "relprop plan --model hf:FOLDER --text 'The capital of France is'",
    "relprop plan --json",
)
def plan(request: PlanRequest) -> None:
    """Show which rule each op of a network gets, and why. No weights are needed."""
    with waiting("starting"):
        from relprop.commands.plan import run

    run(request)


@command(
    "Does the record prove to be the network, and the ledger close?",
    "relprop check --model resnet50",
    "relprop check cat.jpg --model vgg16 --weights vgg16.safetensors",
    "relprop check --model mypackage.nets:build --method lrp-epsilon",
    "relprop check --model hf:FOLDER --text 'The capital of France is'",
    "relprop check --json",
)
def check(request: CheckRequest) -> None:
    """Prove that maps of a network are what they say they are; exit with 1 where they are not.

    The record of its forward pass is run again on PICTURE or a text, and on it plus a little noise, and must give what
    the network gives; every op's account of relevance must close. Without PICTURE, --text and --weights a network by
    name is checked with random weights on random numbers, or on tokens of no meaning.
    """
    with waiting("starting"):
        from relprop.commands.check import run

    run(request)
