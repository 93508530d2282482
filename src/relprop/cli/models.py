"""``relprop models``, ``convert`` and ``patterns``: networks, their weights, and what is learned of them."""

# ruff: noqa: PLC0415
# A command imports its work when it runs: torch takes seconds, and --help must not wait for it.

from __future__ import annotations

from relprop.cli.app import command
from relprop.commands.console import waiting
from relprop.commands.requests import ConvertRequest, ModelsRequest, PatternsRequest


@command(
    "The networks by name, and what each needs.",
    "relprop models",
    "relprop models resnet",
    "relprop models timm:efficientnet",
    "relprop models --json",
)
def models(request: ModelsRequest) -> None:
    """List the networks that can be loaded by name, and what loading each of them takes. Nothing is downloaded."""
    with waiting("starting"):
        from relprop.commands import lists

    lists.models(request)


@command(
    "Weights of Caffe, Keras or PyTorch into one file that says how to use them.",
    "relprop convert vgg16_weights_tf_dim_ordering_tf_kernels.h5 --model vgg16",
    "relprop convert caffenet.caffemodel --model caffenet --mean mean.binaryproto --classes voc",
    "relprop convert VGG_ILSVRC_16_layers.caffemodel --model vgg16 --mean 103.939,116.779,123.68",
    "relprop convert mine.pth --model resnet50 --preprocess torchvision --classes names.txt --out mine.safetensors",
    "relprop convert mine.pth --model vgg16 --crop 224 --resize 256 --mean 0.5,0.5,0.5 --std 1,1,1 \\",
    "                --channels RGB --scale 1",
)
def convert(request: ConvertRequest) -> None:
    """Write weights as safetensors with a card: network, classes, preprocessing, where from, and a self-check.

    How pictures are prepared is never guessed. Keras' application files define it, a .caffemodel lacks the mean
    alone, a torch file all of it: an error says which flags are needed. The self-check is a hash of the network's
    answer to a fixed picture; it is equal for equal weights with equal preprocessing, whatever file they came in.
    The result replaces an earlier one, but no other file, and never SOURCE.
    """
    with waiting("starting"):
        from relprop.commands.convert import run

    run(request)


@command(
    "Fit the patterns that Pattern Attribution needs.",
    "relprop patterns --model digits-deep --limit 1000",
    "relprop patterns --model vgg16 --data folder --root pictures --out vgg16.patterns.safetensors",
    "relprop patterns --model vgg16_bn --data imagenet --root train --limit 20000 --estimator two-component-bias --ray",
    "relprop explain cat.jpg --model vgg16 --method pattern-attribution:patterns=vgg16.patterns.safetensors",
)
def patterns(request: PatternsRequest) -> None:
    """Learn for each layer of a network which direction in its input its output varies with.

    PatternNet and Pattern Attribution explain with these patterns. One pass over the pictures is enough; some
    thousands are. Labels are not needed. The file belongs to the network it was fitted to, and is refused for another.
    """
    with waiting("starting"):
        from relprop.commands.patterns import run

    run(request)
