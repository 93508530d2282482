"""Gates and activations in two spellings give the same map: what counts is the function."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from spelled import EXACT, METHODS, NEAR, Case, Middle, Parts, assert_alike, cases


def on(f: Callable[[Tensor], Tensor]) -> Middle:
    """An activation of a convolution's output."""
    return lambda n, y: f(n.c1(y))


def gelu_by_tanh(cube: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda y: 0.5 * y * (1 + torch.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * cube(y))))


def swish(y: Tensor, s: Tensor) -> Tensor:
    y = y.clone()
    y *= s
    return y


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
    "relu as a maximum": (EXACT, on(F.relu), on(lambda y: torch.maximum(y, torch.zeros(()).double()))),
    "relu as a maximum, the other way round": (EXACT, on(F.relu), on(lambda y: torch.max(torch.zeros_like(y), y))),
    "clamp as a maximum": (EXACT, on(lambda y: y.clamp(min=0.3)), on(lambda y: torch.maximum(y, y.new_tensor(0.3)))),
    "relu6 as two": (
        EXACT,
        on(F.relu6),
        on(lambda y: torch.minimum(torch.maximum(y, y.new_zeros(())), y.new_tensor(6.0))),
    ),
    "hard-swish by relu6": (
        EXACT,
        lambda n, y: F.hardswish(n.c1(y)),
        on(lambda z: z * F.relu6(z + 3) / 6),
    ),
    "hard-swish by hardsigmoid": (
        EXACT,
        lambda n, y: F.hardswish(n.c1(y)),
        on(lambda z: z * F.hardsigmoid(z)),
    ),
    "hard-swish by hardtanh": (
        EXACT,
        lambda n, y: F.hardswish(n.c1(y)),
        on(lambda z: z * (F.hardtanh(z + 3, 0, 6) / 6)),
    ),
    "SiLU": (EXACT, lambda n, y: F.silu(n.c1(y)), on(lambda z: z * torch.sigmoid(z))),
    "SiLU in place": (EXACT, lambda n, y: F.silu(n.c1(y)), on(lambda z: z.mul_(z.sigmoid()))),
    "GELU by erf": (
        EXACT,
        lambda n, y: F.gelu(n.c1(y)),
        on(lambda z: z * 0.5 * (1 + torch.erf(z / math.sqrt(2)))),
    ),
    "GELU by erf, the halves in another order": (
        EXACT,
        lambda n, y: F.gelu(n.c1(y)),
        on(lambda z: 0.5 * (z + z * torch.erf(z * 0.5**0.5))),
    ),
    "GELU by tanh, pow": (
        EXACT,
        lambda n, y: F.gelu(n.c1(y), approximate="tanh"),
        on(gelu_by_tanh(lambda z: torch.pow(z, 3))),
    ),
    "GELU by tanh, **": (
        EXACT,
        lambda n, y: F.gelu(n.c1(y), approximate="tanh"),
        on(gelu_by_tanh(lambda z: z**3)),
    ),
    "GELU by tanh, products": (
        EXACT,
        lambda n, y: F.gelu(n.c1(y), approximate="tanh"),
        on(gelu_by_tanh(lambda z: z * z * z)),
    ),
    "mish": (
        EXACT,
        lambda n, y: F.mish(n.c1(y)),
        on(lambda z: z * torch.tanh(F.softplus(z))),
    ),
    "softsign": (
        EXACT,
        lambda n, y: F.softsign(n.c1(y)),
        on(lambda z: z * (1 + z.abs()).reciprocal()),
    ),
    "ReLU by clamp": (EXACT, lambda n, y: F.relu(n.c1(y)), lambda n, y: n.c1(y).clamp(min=0)),
    "ReLU by a mask": (EXACT, lambda n, y: F.relu(n.c1(y)), on(lambda z: (z > 0) * z)),
    "ReLU by where": (
        EXACT,
        lambda n, y: F.relu(n.c1(y)),
        on(lambda z: torch.where(z > 0, z, 0.0)),
    ),
    "ReLU by masked_fill": (
        EXACT,
        lambda n, y: F.relu(n.c1(y)),
        on(lambda z: z.masked_fill(z < 0, 0.0)),
    ),
    "ReLU by hardtanh": (EXACT, lambda n, y: F.relu(n.c1(y)), lambda n, y: F.hardtanh(n.c1(y), 0.0, 1e9)),
    "ReLU by threshold": (EXACT, lambda n, y: F.relu(n.c1(y)), lambda n, y: F.threshold(n.c1(y), 0.0, 0.0)),
    "ReLU by leaky ReLU": (EXACT, lambda n, y: F.relu(n.c1(y)), lambda n, y: F.leaky_relu(n.c1(y), 0.0)),
    "leaky ReLU by where": (
        EXACT,
        lambda n, y: F.leaky_relu(n.c1(y), 0.2),
        on(lambda z: torch.where(z > 0, z, 0.2 * z)),
    ),
    "PReLU": (
        EXACT,
        lambda n, y: F.leaky_relu(n.c1(y), 0.25),
        lambda n, y: F.prelu(n.c1(y), torch.full((1,), 0.25).double()),
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


@cases(GATED)
def test_gates(bound, one, other):
    assert_alike(Parts(one), Parts(other), METHODS, bound)


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_factors_that_could_be_gates_the_lower_one_is(turned):
    """Neither is ever negative and both are bounded, so that the bounds alone tell them apart."""

    def model(n, y):
        signal, gate = F.relu6(9 * n.c2(y)), torch.sigmoid(n.gate(y))
        return gate * signal if turned else signal * gate

    detached = Parts(lambda n, y: F.relu6(9 * n.c2(y)) * torch.sigmoid(n.gate(y)).detach())
    assert_alike(Parts(model), detached, METHODS, EXACT)


@cases(ACTIVATIONS)
def test_activations(bound, one, other):
    assert_alike(Parts(one), Parts(other), METHODS, bound)
