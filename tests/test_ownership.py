"""Whose picture a number is: what puts pictures together is refused, and what only looks so is explained."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import relprop as rp
from conftest import randomised

D = torch.float64
CONV, LAYER, HEAD = (randomised(layer) for layer in (nn.Conv2d(3, 4, 3), nn.Linear(144, 6), nn.Linear(6, 5)))
MIXED = torch.randn(2, 2, dtype=D)
OVER_PICTURES = torch.randn(4, 2, 1, 1, dtype=D)


def features(x):
    """(B, 3, 8, 8) to (B, 6)."""
    return LAYER(F.relu(CONV(x)).flatten(1))


def of_features(middle):
    return lambda x: HEAD(middle(features(x)))


MIXING = {
    "a sum with the next picture's": of_features(lambda y: y + y.flip(0)),
    "a product with the next picture's": of_features(lambda y: y * torch.sigmoid(y.roll(1, 0))),
    "the largest of all pictures": of_features(lambda y: y.topk(2, dim=0).values),
    "the largest of all pictures, from behind": of_features(lambda y: y.topk(2, -2).values),
    "pictures sorted": of_features(lambda y: y.sort(0).values),
    "padding before the first picture": of_features(lambda y: F.pad(y, (0, 0, 1, -1))),
    "a constant before the first picture": of_features(lambda y: torch.cat([torch.ones(1, 6, dtype=D), y])[:2]),
    "a matrix on the left": of_features(lambda y: MIXED @ y),
    "pictures as channels": of_features(lambda y: F.conv2d(y.t()[:, :, None, None], OVER_PICTURES)[:, :2, 0, 0].t()),
    "a mean over pictures": of_features(lambda y: y - y.mean(0)),
}


@pytest.mark.parametrize("case", MIXING)
def test_what_puts_pictures_together_is_refused(case):
    x = torch.randn(2, 3, 8, 8, dtype=D)
    MIXING[case](x)  # it runs
    with pytest.raises(rp.UnsupportedOp, match=r"mixes the pictures|not the pictures in their order"):
        rp.attribute(MIXING[case], x, 1, "lrp-z")


APART = {
    "a stack in front of two pictures": lambda y: torch.stack([y, y.flip(1)], -3).sum(0),
    "a stack in front of two pictures, taken apart": lambda y: torch.stack([y, y.flip(1)], 0)[1],
    "two pictures twice": lambda y: torch.cat([y, y.flip(1)], -2)[2:],
    "the largest within a picture": lambda y: torch.cat([y.topk(3).values, y[:, :3]], 1),
    "sorted within a picture": lambda y: y.sort(-1).values,
    "a matrix on the left of columns": lambda y: (torch.ones(6, 6, dtype=D).tril() @ y.t()).t(),
    "padding and its removal": lambda y: F.pad(y, (1, 1))[:, 1:-1],
    "pictures turned and turned back": lambda y: (y.flip(0) * 2).flip(0),
}


@pytest.mark.parametrize("case", APART)
def test_what_keeps_pictures_apart_is_gradient_x_input_under_z(case):
    model = of_features(APART[case])
    x = torch.randn(2, 3, 8, 8, dtype=D, requires_grad=True)
    logits = model(x)[:, 1]
    (gradient,) = torch.autograd.grad(logits.sum(), x)
    e = rp.explain(model, x.detach(), [1], ["lrp-z"])
    torch.testing.assert_close(e.relevance["lrp-z"][0], gradient * x.detach(), rtol=1e-8, atol=1e-11)
    lost = e.ledger["lrp-z"].sum("bias") + e.ledger["lrp-z"].end
    torch.testing.assert_close(lost[0], logits.detach(), rtol=1e-8, atol=1e-10)  # each picture's own


FLAT = rp.Composite([(rp.on.conv, rp.rules.Flat()), (rp.on.any, rp.rules.Z())])
SQUARE = rp.Composite([(rp.on.conv, rp.rules.WSquare()), (rp.on.any, rp.rules.Z())])
BOX = rp.Composite([(rp.on.conv, rp.rules.ZBox(-3, 4)), (rp.on.any, rp.rules.Z())])


def network(side, conv):
    fc = randomised(nn.Linear(4 * side * side, 5))
    return lambda h: fc(conv(h).flatten(1))


@pytest.mark.parametrize("composite", [FLAT, SQUARE, BOX])
def test_padding_that_is_padded_again_is_padding(composite):
    padded = randomised(nn.Conv2d(3, 4, 3, padding=2))
    bare = nn.Conv2d(3, 4, 3).double()
    bare.load_state_dict(padded.state_dict())
    fc = randomised(nn.Linear(400, 5))
    x = torch.randn(2, 3, 8, 8, dtype=D)
    wanted = rp.attribute(lambda x: fc(padded(x).flatten(1)), x, 1, composite)
    for pads in (((2, 2, 2, 2),), ((1, 1, 1, 1), (1, 1, 1, 1)), ((2, 0, 0, 1), (0, 2, 2, 1))):

        def model(x, pads=pads):
            for pad in pads:
                x = F.pad(x, pad)
            return fc(bare(x).flatten(1))

        torch.testing.assert_close(rp.attribute(model, x, 1, composite), wanted, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("composite", [FLAT, SQUARE, BOX])
def test_where_one_term_is_padding_the_sum_comes_from_the_other(composite):
    """By the definitions: the layer's relevance of a sum that is real everywhere, shared by what each term brings."""
    conv = randomised(nn.Conv2d(3, 4, 3))
    model = network(6, conv)
    x = torch.randn(2, 3, 8, 7, dtype=D)
    right, left = F.pad(x, (0, 1)), F.pad(x, (1, 0))
    at_sum = rp.attribute(model, right + left, 1, composite) / (right + left)
    wanted = (right * at_sum)[..., :-1] + (left * at_sum)[..., 1:]
    R = rp.attribute(lambda x: model(F.pad(x, (0, 1)) + F.pad(x, (1, 0))), x, 1, composite)
    torch.testing.assert_close(R, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("composite", [FLAT, SQUARE, BOX])
def test_channels_that_are_padding_are_no_inputs(composite):
    """A layer with three channels, and the same with two more that are zeros; then in two groups."""
    conv, wide = randomised(nn.Conv2d(3, 4, 3)), nn.Conv2d(5, 4, 3).double()
    with torch.no_grad():
        wide.weight[:, 1:4], wide.bias[:] = conv.weight, conv.bias
    fc, x = randomised(nn.Linear(144, 5)), torch.randn(2, 3, 8, 8, dtype=D)
    wanted = rp.attribute(lambda x: fc(conv(x).flatten(1)), x, 1, composite)
    R = rp.attribute(lambda x: fc(wide(F.pad(x, (0, 0, 0, 0, 1, 1))).flatten(1)), x, 1, composite)
    torch.testing.assert_close(R, wanted, rtol=1e-10, atol=1e-13)
    grouped = randomised(nn.Conv2d(4, 4, 3, groups=2))
    first, second = nn.Conv2d(1, 2, 3).double(), nn.Conv2d(2, 2, 3).double()
    with torch.no_grad():  # of the first group's two channels one is padding
        first.weight[:], first.bias[:] = grouped.weight[:2, 1:], grouped.bias[:2]
        second.weight[:], second.bias[:] = grouped.weight[2:], grouped.bias[2:]
    apart = rp.attribute(lambda x: fc(torch.cat([first(x[:, :1]), second(x[:, 1:])], 1).flatten(1)), x, 1, composite)
    R = rp.attribute(lambda x: fc(grouped(F.pad(x, (0, 0, 0, 0, 1, 0))).flatten(1)), x, 1, composite)
    torch.testing.assert_close(R, apart, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("composite", [FLAT, SQUARE])
def test_padding_is_padding_after_an_activation_too(composite):
    padded, bare = randomised(nn.Conv2d(3, 4, 3, padding=1)), nn.Conv2d(3, 4, 3).double()
    bare.load_state_dict(padded.state_dict())
    fc, x = randomised(nn.Linear(256, 5)), torch.randn(2, 3, 8, 8, dtype=D)
    wanted = rp.attribute(lambda x: fc(padded(F.relu(x)).flatten(1)), x, 1, composite)
    for model in (
        lambda x: fc(bare(F.relu(F.pad(x, (1, 1, 1, 1)))).flatten(1)),
        lambda x: fc(bare(F.pad(F.relu(x), (1, 1, 1, 1))).flatten(1)),
        lambda x: fc(bare(F.pad(F.relu(x), (1, 1, 1, 1)) * 1.0).flatten(1)),
    ):
        torch.testing.assert_close(rp.attribute(model, x, 1, composite), wanted, rtol=1e-10, atol=1e-13)
