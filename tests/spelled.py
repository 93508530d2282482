"""A small network whose middle is spelled in one way or another, and how far two spellings' maps are apart."""

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


def assert_alike(one: nn.Module, other: nn.Module, methods: list[str], bound: float) -> None:
    off = apart(one, other, methods)
    assert off["lrp-z"] < EXACT, off
    assert max(off.values()) < bound, off


Middle = Callable[[Parts, Tensor], Tensor]
Case = tuple[float, Middle, Middle]


def cases(several: dict[str, Case]) -> Any:
    return pytest.mark.parametrize(
        ("bound", "one", "other"), [pytest.param(*case, id=name) for name, case in several.items()]
    )
