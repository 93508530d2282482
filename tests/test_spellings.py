"""The same function in two spellings gives the same map, whichever way it is written."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import relprop as rp

METHODS = ["lrp-z", "lrp-epsilon", "lrp-alpha2", "cmp-alpha2-flat", "cmp-alpha1-zbox:low=-1,high=1"]
STACK = [*METHODS, "cmp-alpha1-flat:layers=stack"]
D = torch.float64
EXACT = 1e-11
"""Of the largest number of a map."""
NEAR = 1e-3
"""Where an epsilon of 1e-6 stands at another place, and a denominator of a thousandth shows it; LRP_z is exact."""


class Parts(nn.Module):
    """Layers that both spellings are made of; the middle of the network is what is spelled."""

    def __init__(self, middle: Callable[["Parts", Tensor], Tensor]) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.c0, self.c1, self.c2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3), nn.Conv2d(6, 6, 3, padding=1)
            self.gate, self.point = nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 1)
            self.end, self.rows = nn.Linear(6, 4), nn.Linear(6, 6)
            self.norm, self.drop = nn.BatchNorm2d(6), nn.Dropout(0.5)
            for t in (self.norm.running_mean, self.norm.bias):
                nn.init.normal_(t, 0, 0.3)
            for t in (self.norm.running_var, self.norm.weight):
                nn.init.uniform_(t, 0.5, 1.5)
        self.middle = middle
        self.double().eval().requires_grad_(requires_grad=False)

    def squeeze(self, y: Tensor) -> Tensor:
        """A gate (B, C, 1, 1) of squeeze-and-excitation."""
        return torch.sigmoid(self.gate(y.mean((2, 3), keepdim=True)))

    def s(self, y: Tensor) -> Tensor:
        """A gate of every number."""
        return torch.sigmoid(self.gate(y))

    def forward(self, x: Tensor) -> Tensor:
        y = self.middle(self, F.relu(self.c0(x)))
        y = y if y.shape[1] == 6 and y.ndim == 4 else y.reshape(len(x), 6, -1, 1)
        return self.end(F.relu(self.point(y)).mean((2, 3)))


def pictures() -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return torch.rand(2, 3, 8, 8, dtype=D) * 2 - 1


def apart(a: nn.Module, b: nn.Module, methods: list[str], x: Tensor | None = None) -> dict[str, float]:
    """How far the maps are from each other, relative to the largest number."""
    x = pictures() if x is None else x
    p, q = (rp.explain(m, x, [1, 2], methods) for m in (a, b))
    torch.testing.assert_close(p.outputs, q.outputs, rtol=1e-9, atol=1e-9)  # they are the same function
    return {m: float((p.relevance[m] - q.relevance[m]).abs().max() / p.relevance[m].abs().max()) for m in methods}


def gelu_by_tanh(cube: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda y: 0.5 * y * (1 + torch.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * cube(y))))


def affine(n: Parts) -> tuple[Tensor, Tensor]:
    scale = n.norm.weight / (n.norm.running_var + n.norm.eps).sqrt()
    return scale[:, None, None], (n.norm.bias - n.norm.running_mean * scale)[:, None, None]


def column(n: Parts, y: Tensor) -> Tensor:
    """A 1x1 convolution's matrix on the channels, as the last axis."""
    return n.point.weight.flatten(1).T


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


def swish(y: Tensor, s: Tensor) -> Tensor:
    y = y.clone()
    y *= s
    return y


Middle = Callable[[Parts, Tensor], Tensor]
Case = tuple[float, Middle, Middle]

GATED: dict[str, Case] = {
    "SE: expand_as": (EXACT, lambda n, y: y * n.squeeze(y), lambda n, y: y * n.squeeze(y).expand_as(y)),
    "SE: expand": (EXACT, lambda n, y: y * n.squeeze(y), lambda n, y: n.squeeze(y).expand(-1, -1, 8, 8) * y),
    "SE: repeat": (EXACT, lambda n, y: y * n.squeeze(y), lambda n, y: y * n.squeeze(y).repeat(1, 1, 8, 8)),
    "SE: view": (
        EXACT,
        lambda n, y: y * n.squeeze(y),
        lambda n, y: y * n.squeeze(y).view(len(y), 6).view(len(y), 6, 1, 1),
    ),
    "SE: pooled and linear": (
        EXACT,
        lambda n, y: y * n.squeeze(y),
        lambda n, y: (
            y * torch.sigmoid(F.linear(y.mean((2, 3)), n.gate.weight.flatten(1), n.gate.bias))[..., None, None]
        ),
    ),
    "SE: upsampled": (EXACT, lambda n, y: y * n.squeeze(y), lambda n, y: y * F.interpolate(n.squeeze(y), size=(8, 8))),
    "SE: in place": (EXACT, lambda n, y: y * n.squeeze(y), lambda n, y: swish(y, n.squeeze(y))),
    "SE: detached gate": (EXACT, lambda n, y: y * n.squeeze(y), lambda n, y: y * n.squeeze(y).detach()),
    "1 + s": (EXACT, lambda n, y: y * (1 + n.s(y)), lambda n, y: y + y * n.s(y)),
    "1 + s, addcmul's terms": (EXACT, lambda n, y: y * (1 + n.s(y)), lambda n, y: (y * n.s(y)).add_(y)),
    "1 + s of a layer called twice": (
        EXACT,
        lambda n, y: n.c1(y) * (1 + n.s(n.c1(y))),
        lambda n, y: n.c1(y) + n.c1(y) * n.s(n.c1(y)),
    ),
    "1 - s": (EXACT, lambda n, y: y * (1 - n.s(y)), lambda n, y: y * torch.sigmoid(-n.gate(y))),
    "1 - s as a difference": (EXACT, lambda n, y: y * (1 - n.s(y)), lambda n, y: y - y * n.s(y)),
    "highway": (
        NEAR,
        lambda n, y: n.c2(y) * n.s(y) + y * (1 - n.s(y)),
        lambda n, y: y * (1 - n.s(y)) + n.c2(y) * n.s(y),
    ),
    "2 s": (EXACT, lambda n, y: y * (2 * n.s(y)), lambda n, y: 2 * (y * n.s(y))),
    "tanh as 2 sigmoid(2 g) - 1": (
        EXACT,
        lambda n, y: n.c2(y) * torch.tanh(n.gate(y)),
        lambda n, y: n.c2(y) * (2 * torch.sigmoid(2 * n.gate(y)) - 1),
    ),
    "sigmoid by exp": (
        EXACT,
        lambda n, y: n.c2(y) * n.s(y),
        lambda n, y: n.c2(y) * torch.reciprocal(1 + torch.exp(-n.gate(y))),
    ),
    "hard sigmoid by relu6": (
        EXACT,
        lambda n, y: y * F.hardsigmoid(n.gate(y)),
        lambda n, y: y * F.relu6(n.gate(y) + 3) / 6,
    ),
    "hard sigmoid by clamp": (
        EXACT,
        lambda n, y: y * F.hardsigmoid(n.gate(y)),
        lambda n, y: y * (n.gate(y) / 6 + 0.5).clamp(0, 1),
    ),
    "a ReLU gate in 1x1 and 2x2 maps": (
        EXACT,
        lambda n, y: n.c2(F.max_pool2d(y, 8)) * F.relu(n.gate(F.max_pool2d(y, 8))),
        lambda n, y: F.max_pool2d(
            n.c2(F.max_pool2d(y, 8)).expand(-1, -1, 2, 2) * F.relu(n.gate(F.max_pool2d(y, 8))), 2
        ),
    ),
}

ACTIVATIONS: dict[str, Case] = {
    "hard-swish by relu6": (
        EXACT,
        lambda n, y: F.hardswish(n.c1(y)),
        lambda n, y: (lambda z: z * F.relu6(z + 3) / 6)(n.c1(y)),
    ),
    "hard-swish by hardsigmoid": (
        EXACT,
        lambda n, y: F.hardswish(n.c1(y)),
        lambda n, y: (lambda z: z * F.hardsigmoid(z))(n.c1(y)),
    ),
    "hard-swish by hardtanh": (
        EXACT,
        lambda n, y: F.hardswish(n.c1(y)),
        lambda n, y: (lambda z: z * (F.hardtanh(z + 3, 0, 6) / 6))(n.c1(y)),
    ),
    "SiLU": (EXACT, lambda n, y: F.silu(n.c1(y)), lambda n, y: (lambda z: z * torch.sigmoid(z))(n.c1(y))),
    "SiLU in place": (EXACT, lambda n, y: F.silu(n.c1(y)), lambda n, y: (lambda z: z.mul_(z.sigmoid()))(n.c1(y))),
    "GELU by erf": (
        EXACT,
        lambda n, y: F.gelu(n.c1(y)),
        lambda n, y: (lambda z: z * 0.5 * (1 + torch.erf(z / math.sqrt(2))))(n.c1(y)),
    ),
    "GELU by erf, the halves in another order": (
        EXACT,
        lambda n, y: F.gelu(n.c1(y)),
        lambda n, y: (lambda z: 0.5 * (z + z * torch.erf(z * 0.5**0.5)))(n.c1(y)),
    ),
    "GELU by tanh, pow": (
        EXACT,
        lambda n, y: F.gelu(n.c1(y), approximate="tanh"),
        lambda n, y: gelu_by_tanh(lambda z: torch.pow(z, 3))(n.c1(y)),
    ),
    "GELU by tanh, **": (
        EXACT,
        lambda n, y: F.gelu(n.c1(y), approximate="tanh"),
        lambda n, y: gelu_by_tanh(lambda z: z**3)(n.c1(y)),
    ),
    "GELU by tanh, products": (
        EXACT,
        lambda n, y: F.gelu(n.c1(y), approximate="tanh"),
        lambda n, y: gelu_by_tanh(lambda z: z * z * z)(n.c1(y)),
    ),
    "mish": (
        EXACT,
        lambda n, y: F.mish(n.c1(y)),
        lambda n, y: (lambda z: z * torch.tanh(F.softplus(z)))(n.c1(y)),
    ),
    "softsign": (
        EXACT,
        lambda n, y: F.softsign(n.c1(y)),
        lambda n, y: (lambda z: z * (1 + z.abs()).reciprocal())(n.c1(y)),
    ),
    "ReLU by clamp": (EXACT, lambda n, y: F.relu(n.c1(y)), lambda n, y: n.c1(y).clamp(min=0)),
    "ReLU by a mask": (EXACT, lambda n, y: F.relu(n.c1(y)), lambda n, y: (lambda z: (z > 0) * z)(n.c1(y))),
    "ReLU by where": (
        EXACT,
        lambda n, y: F.relu(n.c1(y)),
        lambda n, y: (lambda z: torch.where(z > 0, z, 0.0))(n.c1(y)),
    ),
    "ReLU by masked_fill": (
        EXACT,
        lambda n, y: F.relu(n.c1(y)),
        lambda n, y: (lambda z: z.masked_fill(z < 0, 0.0))(n.c1(y)),
    ),
    "ReLU by hardtanh": (EXACT, lambda n, y: F.relu(n.c1(y)), lambda n, y: F.hardtanh(n.c1(y), 0.0, 1e9)),
    "ReLU by threshold": (EXACT, lambda n, y: F.relu(n.c1(y)), lambda n, y: F.threshold(n.c1(y), 0.0, 0.0)),
    "ReLU by leaky ReLU": (EXACT, lambda n, y: F.relu(n.c1(y)), lambda n, y: F.leaky_relu(n.c1(y), 0.0)),
    "leaky ReLU by where": (
        EXACT,
        lambda n, y: F.leaky_relu(n.c1(y), 0.2),
        lambda n, y: (lambda z: torch.where(z > 0, z, 0.2 * z))(n.c1(y)),
    ),
    "PReLU": (
        EXACT,
        lambda n, y: F.leaky_relu(n.c1(y), 0.25),
        lambda n, y: F.prelu(n.c1(y), torch.full((1,), 0.25, dtype=D)),
    ),
    "ReLU6 by hardtanh": (EXACT, lambda n, y: F.relu6(n.c1(y)), lambda n, y: F.hardtanh(n.c1(y), 0, 6)),
    "ReLU6 by clamp": (EXACT, lambda n, y: F.relu6(n.c1(y)), lambda n, y: n.c1(y).clamp(0, 6)),
    "hardtanh by clamp": (EXACT, lambda n, y: F.hardtanh(n.c1(y)), lambda n, y: n.c1(y).clamp(-1, 1)),
    "hardtanh by two clamps": (
        EXACT,
        lambda n, y: F.hardtanh(n.c1(y)),
        lambda n, y: n.c1(y).clamp_max(1).clamp_min(-1),
    ),
    "dropout": (EXACT, lambda n, y: F.relu(n.c1(y)), lambda n, y: n.drop(F.relu(n.drop(n.c1(y))))),
}

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
        lambda n, y: (lambda z: torch.cat([z[:, :1], z[:, 1:5] + y[:, :4], z[:, 5:]], 1))(n.c2(y)),
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


def cases(several: dict[str, Case]) -> Any:
    return pytest.mark.parametrize(
        ("bound", "one", "other"), [pytest.param(*case, id=name) for name, case in several.items()]
    )


def assert_alike(one: nn.Module, other: nn.Module, methods: list[str], bound: float) -> None:
    off = apart(one, other, methods)
    assert off["lrp-z"] < EXACT, off
    assert max(off.values()) < bound, off


@cases(GATED)
def test_gates(bound, one, other):
    assert_alike(Parts(one), Parts(other), METHODS, bound)


@cases(ACTIVATIONS)
def test_activations(bound, one, other):
    assert_alike(Parts(one), Parts(other), METHODS, bound)


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


def test_a_maximum_with_zero_is_refused():
    with pytest.raises(rp.UnsupportedOp, match="maximum"):
        rp.attribute(Parts(lambda n, y: torch.maximum(n.c1(y), torch.zeros(()).double())), pictures(), 1, "lrp-z")
