"""Errors of beginners: what is wrong with x or the target, and what to write instead, under every kind of method."""

import numpy as np
import pytest
import torch
from torch import nn

import relprop as rp

METHODS = ("cmp-alpha2-flat", "gradient", "uniform")


def pictures(*end):
    """A network of pictures (B, 3, 8, 8), that takes no other size unless it ends otherwise."""
    end = end or (nn.Flatten(), nn.Linear(144, 5))
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), *end).eval()


class Two(nn.Module):
    def forward(self, a, b):
        return a * b


GREY = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 3)).eval()
TOKENS = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 3)).eval()
NETWORKS = {
    "one picture": (pictures(), (3, 8, 8), r"x of shape \(3, 8, 8\).*3 channels; x has no axis of pic.*x\[None\]"),
    "and it works": (
        pictures(nn.AdaptiveAvgPool2d(1), nn.Flatten(-3), nn.Linear(4, 5)),
        (3, 8, 8),
        r"no axis of pictures: use x\[None\]",
    ),
    "one picture, channels last": (pictures(), (8, 8, 3), r"use x\.movedim\(-1, 0\)\[None\]"),
    "channels last": (pictures(), (2, 8, 8, 3), r"use x\.movedim\(-1, 1\)"),
    "no channels": (GREY, (2, 8, 8), r"no axis of channels: use x\[:, None\]"),
    "other channels": (pictures(), (2, 4, 8, 8), r"\(2, 4, 8, 8\), and its first layer, Conv2d, takes 3 channels: "),
    "another size": (pictures(), (2, 3, 9, 9), "its channels are right, so another size is probably wanted"),
    "features": (nn.Sequential(nn.Linear(6, 2)).eval(), (2, 5), "Linear, takes 6 features"),
    "two inputs": (Two().eval(), (2, 5), r"takes more than x.*'b'.*lambda x: model\(x, other\)"),
    "tokens": (TOKENS, (2, 3), r"Embedding, takes whole numbers; of token ids x\.long\(\)"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", NETWORKS)
def test_an_input_of_another_shape(case, method):
    model, shape, told = NETWORKS[case]
    with pytest.raises(rp.InputError, match=told) as failure:
        rp.attribute(model, torch.rand(shape), 0, method)
    assert "\n" not in str(failure.value)
    assert case == "and it works" or isinstance(failure.value.__cause__, (RuntimeError, TypeError, ValueError))


@pytest.mark.parametrize("method", METHODS)
def test_other_types(method):
    model, x = pictures(), torch.rand(2, 3, 8, 8)
    for given, told in (
        (x.double(), r"x is torch.float64 and the weights are torch.float32: use x\.to\(torch.float32\)"),
        ((255 * x).byte(), r"x is torch.uint8; a floating-point tensor is needed"),
        (x.numpy(), r"not ndarray: torch.as_tensor\(x\)"),
        ((x, x), "the model takes other inputs: .*; a tuple is called by position"),
    ):
        with pytest.raises(rp.InputError, match=told):
            rp.attribute(model, given, 0, method)
    with pytest.raises(rp.InputError, match=r"the model is the class Linear; make one of it first, Linear\(...\)"):
        rp.attribute(nn.Linear, x, 0, method)


@pytest.mark.parametrize("method", METHODS)
def test_targets_of_another_form(method):
    model, x = pictures(), torch.rand(2, 3, 8, 8)
    several = r"Several classes of each picture: explain\(model, x, targets=\[1, 2"
    for target, told in (
        ([1, 2], rf"target is a list, \[1, 2\]. {several}\]\); one class per picture: target=torch.tensor\(\[1, 2\]\)"),
        ((1, 2, 3), rf"{several}, 3\]\); one class per picture: target=a tensor of 2, as there are 2 pictures"),
        (torch.tensor([[1], [2]]), r"shape \(2, 1\), and \(B,\) is needed: target\[:, 0\]"),
        (torch.eye(5)[:2], r"of one-hot rows, target.argmax\(1\)"),
        (torch.tensor([[1, 2], [3, 4]]), r"explain\(model, x, targets=list\(target\)\)"),
        (np.array([1, 2]), r"torch.as_tensor\(target\)"),
    ):
        with pytest.raises(rp.InputError, match=told):
            rp.attribute(model, x, target, method)
    assert torch.equal(rp.attribute(model, x, np.int64(3), method), rp.attribute(model, x, 3, method))


@pytest.mark.parametrize("method", METHODS)
def test_an_error_of_the_model_s_own_is_its_own(method):
    for error in (AttributeError("nope"), KeyError("nope"), rp.RelpropError("nope"), MemoryError("nope")):

        def model(_, error=error):
            raise error

        with pytest.raises(type(error), match="nope"):
            rp.attribute(model, torch.rand(2, 3), 0, method)
    calls = []

    def once(x):
        calls.append(x)
        if len(calls) == 1:
            raise RuntimeError("only now")
        return x

    with pytest.raises(RuntimeError, match="only now"):  # by itself, the model takes this input
        rp.attribute(once, torch.rand(2, 3), 0, method)
