"""Padding, affine ops and moves in two spellings give the same map: what counts is the function."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import relprop as rp
from relprop import rules
from spelled import EXACT, METHODS, NEAR, STACK, Case, Parts, assert_alike, cases, pictures


def affine(n: Parts) -> tuple[Tensor, Tensor]:
    scale = n.norm.weight / (n.norm.running_var + n.norm.eps).sqrt()
    return scale[:, None, None], (n.norm.bias - n.norm.running_mean * scale)[:, None, None]


def zeros_around(y: Tensor) -> Tensor:
    rows = y.new_zeros(len(y), 6, 1, y.shape[3])
    y = torch.cat([rows, y, rows], 2)
    columns = y.new_zeros(len(y), 6, y.shape[2], 1)
    return torch.cat([columns, y, columns], 3)


def filled(y: Tensor) -> Tensor:
    whole = y.new_zeros(len(y), 6, y.shape[2] + 2, y.shape[3] + 2)
    whole[:, :, 1:-1, 1:-1] = y
    return whole


def valid(n: Parts, y: Tensor) -> Tensor:
    """The second padded layer without its padding."""
    return F.conv2d(y, n.c2.weight, n.c2.bias)


PADDED: dict[str, Case] = {
    "ZeroPad2d": (EXACT, lambda n, y: n.c2(y), lambda n, y: valid(n, nn.ZeroPad2d(1)(y))),
    "F.pad": (EXACT, lambda n, y: n.c2(y), lambda n, y: valid(n, F.pad(y, (1, 1, 1, 1)))),
    "F.pad in two steps": (EXACT, lambda n, y: n.c2(y), lambda n, y: valid(n, F.pad(F.pad(y, (1, 1)), (0, 0, 1, 1)))),
    "cat with zeros": (EXACT, lambda n, y: n.c2(y), lambda n, y: valid(n, zeros_around(y))),
    "written into zeros": (EXACT, lambda n, y: n.c2(y), lambda n, y: valid(n, filled(y))),
    "ConstantPad": (EXACT, lambda n, y: n.c2(y), lambda n, y: valid(n, nn.ConstantPad2d(1, 0.0)(y))),
    "same": (EXACT, lambda n, y: n.c2(y), lambda n, y: F.conv2d(y, n.c2.weight, n.c2.bias, padding="same")),
    "padded before its ReLU": (
        EXACT,
        lambda n, y: n.c2(F.relu(n.point(y))),
        lambda n, y: valid(n, F.relu(F.pad(n.point(y), (1, 1, 1, 1)))),
    ),
    "zero channels beside": (
        EXACT,
        lambda n, y: n.c2(y),
        lambda n, y: F.conv2d(
            torch.cat([y, torch.zeros_like(y)], 1), torch.cat([n.c2.weight, n.c2.weight], 1), n.c2.bias, padding=1
        ),
    ),
    "a padded max-pool": (
        EXACT,
        lambda n, y: F.max_pool2d(y, 3, 1, padding=1),
        lambda n, y: F.max_pool2d(F.pad(y, (1, 1, 1, 1)), 3, 1),
    ),
    "a padded average pool": (
        EXACT,
        lambda n, y: F.avg_pool2d(y, 3, 1, padding=1),
        lambda n, y: F.avg_pool2d(F.pad(y, (1, 1, 1, 1)), 3, 1),
    ),
    "nearest neighbours": (
        EXACT,
        lambda n, y: n.c2(F.interpolate(F.pad(y, (0, 1)), scale_factor=2)),
        lambda n, y: n.c2(F.pad(y, (0, 1)).repeat_interleave(2, 2).repeat_interleave(2, 3)),
    ),
    "a shortcut with padded channels": (
        NEAR,
        lambda n, y: n.c2(y) + F.pad(y[:, :4], (0, 0, 0, 0, 1, 1)),
        lambda n, y: torch.cat([n.c2(y)[:, :1], n.c2(y)[:, 1:5] + y[:, :4], n.c2(y)[:, 5:]], 1),
    ),
}

AFFINE: dict[str, Case] = {
    "mean by avg_pool": (EXACT, lambda n, y: y.mean((2, 3), keepdim=True), lambda n, y: F.avg_pool2d(y, 8)),
    "mean by adaptive_avg_pool": (
        EXACT,
        lambda n, y: y.mean((2, 3), keepdim=True),
        lambda n, y: F.adaptive_avg_pool2d(y, 1),
    ),
    "mean by sum / n": (NEAR, lambda n, y: y.mean((2, 3), keepdim=True), lambda n, y: y.sum((2, 3), keepdim=True) / 64),
    "mean in two steps": (NEAR, lambda n, y: y.mean((2, 3), keepdim=True), lambda n, y: y.mean(3, True).mean(2, True)),
    "mean of a flat view": (EXACT, lambda n, y: y.mean((2, 3)), lambda n, y: y.flatten(2).mean(-1)),
    "flatten, view, reshape": (
        EXACT,
        lambda n, y: n.c1(y).flatten(2),
        lambda n, y: n.c1(y).reshape(len(y), 6, 36).view(len(y), 6, -1),
    ),
    "there and back": (EXACT, lambda n, y: n.c1(y), lambda n, y: n.c1(y.permute(0, 2, 3, 1).permute(0, 3, 1, 2))),
    "channels last": (EXACT, lambda n, y: n.c1(y), lambda n, y: n.c1(y.contiguous(memory_format=torch.channels_last))),
    "1x1 convolution of a 1x1 map by a linear layer": (
        EXACT,
        lambda n, y: F.relu(n.gate(F.max_pool2d(y, 8))),
        lambda n, y: F.relu(F.linear(F.max_pool2d(y, 8).flatten(1), n.gate.weight.flatten(1), n.gate.bias)),
    ),
    "linear by addmm": (
        EXACT,
        lambda n, y: n.rows(y.mean((2, 3))),
        lambda n, y: torch.addmm(n.rows.bias, y.mean((2, 3)), n.rows.weight.T),
    ),
    "linear by matmul": (
        EXACT,
        lambda n, y: F.linear(y.mean((2, 3)), n.rows.weight),
        lambda n, y: torch.matmul(y.mean((2, 3)), n.rows.weight.T),
    ),
    "linear by a matrix on the left": (
        EXACT,
        lambda n, y: F.linear(y.mean((2, 3)), n.rows.weight),
        lambda n, y: (n.rows.weight @ y.mean((2, 3)).unsqueeze(2)).squeeze(2),
    ),
    "siamese, batched": (
        EXACT,
        lambda n, y: n.c0(y[:, :3]) + n.c0(y[:, 3:]),
        lambda n, y: n.c0(y.reshape(2 * len(y), 3, 8, 8)).reshape(len(y), 2, 6, 8, 8).sum(1),
    ),
    "a module called in a loop": (
        EXACT,
        lambda n, y: torch.cat([F.relu(n.c0(v)) for v in y.chunk(2, 1)], 2),
        lambda n, y: torch.cat([F.relu(n.c0(y[:, :3])), F.relu(n.c0(y[:, 3:]))], 2),
    ),
    "BatchNorm by function": (
        EXACT,
        lambda n, y: n.norm(n.c1(y)),
        lambda n, y: F.batch_norm(
            n.c1(y), n.norm.running_mean, n.norm.running_var, n.norm.weight, n.norm.bias, eps=n.norm.eps
        ),
    ),
    "BatchNorm after dropout": (EXACT, lambda n, y: n.norm(n.c1(y)), lambda n, y: n.norm(n.drop(n.c1(y)))),
    "BatchNorm after clone": (EXACT, lambda n, y: n.norm(n.c1(y)), lambda n, y: n.norm(n.c1(y).clone())),
    "BatchNorm after contiguous": (
        EXACT,
        lambda n, y: n.norm(n.c1(y)),
        lambda n, y: n.norm(n.drop(nn.Identity()(n.c1(y).contiguous()))),
    ),
    "BatchNorm in the weights": (
        EXACT,
        lambda n, y: n.norm(n.c1(y)),
        lambda n, y: F.conv2d(
            y, n.c1.weight * affine(n)[0][..., None], n.c1.bias * affine(n)[0].flatten() + affine(n)[1].flatten()
        ),
    ),
    "torch.add": (EXACT, lambda n, y: n.c2(y) + y, lambda n, y: torch.add(n.c2(y), y)),
    "the other way round": (EXACT, lambda n, y: n.c2(y) + y, lambda n, y: y + n.c2(y)),
    "add_": (EXACT, lambda n, y: n.c2(y) + y, lambda n, y: n.c2(y).add_(y)),
    "+=": (EXACT, lambda n, y: n.c2(y) + y, lambda n, y: n.c2(y).__iadd__(y)),
    "the sum of a stack": (NEAR, lambda n, y: n.c2(y) + y, lambda n, y: torch.stack([n.c2(y), y]).sum(0)),
    "minus the negative": (EXACT, lambda n, y: n.c2(y) - y, lambda n, y: n.c2(y) + (-y)),
    "rsub": (EXACT, lambda n, y: n.c2(y) - y, lambda n, y: torch.rsub(y, n.c2(y))),
    "alpha": (EXACT, lambda n, y: n.c2(y) + 2 * y, lambda n, y: torch.add(n.c2(y), y, alpha=2)),
    "x + x": (EXACT, lambda n, y: y + y, lambda n, y: 2 * y),
    "chunk": (
        EXACT,
        lambda n, y: torch.cat([y[:, 3:], y[:, :3]], 1),
        lambda n, y: torch.cat(y.chunk(2, 1)[::-1], 1),
    ),
    "split": (
        EXACT,
        lambda n, y: torch.cat([y[:, 3:], y[:, :3]], 1),
        lambda n, y: torch.cat(y.split(3, 1)[::-1], 1),
    ),
    "roll": (EXACT, lambda n, y: torch.cat([y[:, 3:], y[:, :3]], 1), lambda n, y: y.roll(3, 1)),
    "index": (
        EXACT,
        lambda n, y: torch.cat([y[:, 3:], y[:, :3]], 1),
        lambda n, y: y[:, [3, 4, 5, 0, 1, 2]],
    ),
    "a loop over pictures": (EXACT, lambda n, y: n.c1(y), lambda n, y: torch.cat([n.c1(v) for v in y.split(1)])),
    "a loop over single pictures": (EXACT, lambda n, y: n.c1(y), lambda n, y: torch.stack([n.c1(v) for v in y])),
    "division": (EXACT, lambda n, y: n.c1(y) / 4.0, lambda n, y: n.c1(y) * 0.25),
    "division by a constant tensor": (
        EXACT,
        lambda n, y: n.c1(y) / n.norm.weight[:, None, None],
        lambda n, y: n.c1(y) * n.norm.weight.reciprocal()[:, None, None],
    ),
    "max by a pool": (EXACT, lambda n, y: F.max_pool2d(y, 8), lambda n, y: y.flatten(2).max(2)[0][..., None, None]),
    "max by an adaptive pool": (EXACT, lambda n, y: F.max_pool2d(y, 8), lambda n, y: F.adaptive_max_pool2d(y, 1)),
}


@cases(PADDED)
def test_padding(bound, one, other):
    assert_alike(Parts(one), Parts(other), STACK, bound)


@cases(AFFINE)
def test_affine(bound, one, other):
    assert_alike(Parts(one), Parts(other), METHODS, bound)


def linear_on_maps(n: Parts, y: Tensor) -> Tensor:
    return F.relu(F.linear(y.permute(0, 2, 3, 1), n.point.weight.flatten(1), n.point.bias)).mean((1, 2))


def by_hand(n: Parts, y: Tensor) -> Tensor:
    scale, shift = affine(n)
    return n.c1(y) * scale + shift


def test_what_uniform_rules_see_alike():
    """A linear layer on the channels of every place is a 1x1 convolution to every rule."""
    one = Parts(lambda n, y: F.relu(n.point(y)).mean((2, 3)))
    assert_alike(one, Parts(linear_on_maps), ["lrp-z", "lrp-epsilon", "lrp-alpha2"], EXACT)


@pytest.mark.xfail(strict=True, reason="linear ops are fully connected by definition, 1x1 convolutions of maps are not")
def test_a_linear_layer_on_maps_is_no_convolution_to_a_composite():
    one = Parts(lambda n, y: F.relu(n.point(y)).mean((2, 3)))
    assert_alike(one, Parts(linear_on_maps), ["lrp-z", "cmp-alpha2-flat"], NEAR)


def test_a_norm_by_hand_is_a_merged_one_to_lrp_z():
    """The shift is a bias either way, and the scale cancels."""
    assert_alike(Parts(lambda n, y: n.norm(n.c1(y))), Parts(by_hand), ["lrp-z", "lrp-epsilon"], NEAR)


@pytest.mark.xfail(strict=True, reason="BatchNorm's shift is part of the layer's bias, a constant by hand is a term")
def test_a_norm_by_hand_is_no_merged_one_to_alpha_beta():
    assert_alike(Parts(lambda n, y: n.norm(n.c1(y))), Parts(by_hand), ["lrp-z", "lrp-alpha2"], NEAR)


def test_a_norm_by_hand_is_one_apart_to_alpha_beta():
    """Seen apart by epsilon, the shift takes of every sum what a constant that is added takes."""
    apart = rp.Composite([(rp.on.weighted, rules.Apart(rules.AlphaBeta(2), rules.Epsilon()))])
    one, other = (Parts(middle) for middle in (lambda n, y: n.norm(n.c1(y)), by_hand))
    R, S = (rp.attribute(net, pictures(), 1, method=apart) for net in (one, other))
    torch.testing.assert_close(R, S, rtol=0, atol=NEAR * float(R.abs().max()))
