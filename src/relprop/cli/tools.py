"""``relprop concepts``, ``testbed`` and ``tune``: questions that many pictures answer, to a network and its maps."""

# ruff: noqa: PLC0415
# A command imports its work when it runs: torch takes seconds, and --help must not wait for it.

from __future__ import annotations

from relprop.cli.app import command
from relprop.commands.console import waiting
from relprop.commands.requests import ConceptsRequest, TestbedRequest
from relprop.commands.tune_request import TuneRequest


@command(
    "The channels that matter most for a class, and what shows them.",
    "relprop concepts --layer features.29 --class three",
    "relprop concepts --layer features.22 --class 3 --top 5 --shown 6 --out three.pdf",
    "relprop concepts --model digits-shallow --layer features.13 --class seven --by max --json",
    "relprop concepts --data imagenet --root val --annotations boxes --index imagenet_class_index.json \\",
    "                 --model vgg16 --layer features.28 --class n02123045",
    "relprop concepts --data folder --root pictures --annotations coco.json --class-map map.json \\",
    "                 --model resnet50 --layer layer4.2.conv2 --class cat",
)
def concepts(request: ConceptsRequest) -> None:
    """Show which channels of a layer matter most for a class of the data, and the pictures that show best what each is.

    The class is explained on all of its pictures. Channels are ranked by the relevance that arrives in them, in the
    mean over these pictures (Concept Relevance Propagation, Achtibat et al. 2023); shown are the pictures in which a
    channel's relevance is greatest, each with its map through that channel alone and the region that the map lies in.
    `relprop plan` lists the layers. A figure that exists is overwritten.
    """
    with waiting("starting"):
        from relprop.commands.concepts import run

    run(request)


@command(
    "Hold explanations against what is known to be true.",
    "relprop testbed",
    "relprop testbed --network digits-shallow --pictures 8",
    "relprop testbed --methods lrp-z,cmp-alpha1-flat:layers=3,eps=0.1,grad-cam --out mine",
    "relprop testbed --network digits-deep --pictures 100 --json",
)
def testbed(request: TestbedRequest) -> None:
    """Hold methods against what is known to be true of pictures and networks made for that; nothing is downloaded.

    Pictures are drawn again without a digit, a part of one or a fragment, on another ground and in another light, and
    what the output does is compared with the maps (single deletion, target sensitivity, distractibility, background).
    Mosaics ask whether the class is found in its cell (grid pointing); where cells go through the network apart, no
    relevance may lie in another (DiFull); and a mark planted in a network's training has to be found. One table per
    network is printed, and written with examples and a page; files of an earlier run are overwritten. 24 pictures and
    every method take one to two minutes for both networks on two cores.
    """
    with waiting("starting"):
        from relprop.commands.testbed import run

    run(request)


@command(
    "Which composite explains a network best.",
    "relprop tune",
    "relprop tune --space large --by mu_w,srg --limit 400 --folder search --figure search.png",
    "relprop tune --space my-space.toml --model digits-shallow --out mine.toml",
    "relprop tune --data imagenet --root val --annotations boxes --index imagenet_class_index.json --model vgg16",
    "relprop explain cat.jpg --method tuned.toml",
)
def tune(request: TuneRequest) -> None:
    """Search a space of composites by how well their maps find the objects of a data set, or by flipping.

    One part of the pictures is searched by: all candidates on a few, then ever fewer on ever more. On the other part,
    which the search does not see, the best is compared with the named methods: it beats one where the 95 % interval of
    the difference, pair by pair, is above zero. Candidates share the way down as far as their rules agree, so that many
    cost little more than a few. The best is printed as Python code and written as TOML, which every command takes as a
    method.
    """
    with waiting("starting"):
        from relprop.commands.tune import run

    run(request)
