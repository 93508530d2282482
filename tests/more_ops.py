"""One op between two layers: what comes to its input, written out from what comes to its output."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import relprop as rp
from relprop.record.inputs import inputs_of
from relprop.record.recorder import record
from relprop.tape.tape import Node

D = torch.float64
SHAPE = (3, 4)


class Calls(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, y: Tensor) -> Tensor:
        return self.function(y)


class Around(nn.Module):
    """x (B, 5) -> y (B, *shape) = `before` -> f(y) = `op` -> logits (B, 3)."""

    def __init__(self, f: Callable[[Tensor], Tensor], shape: Sequence[int] = SHAPE, dtype: torch.dtype = D) -> None:
        super().__init__()
        size = torch.Size(shape).numel()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(11)
            self.before = nn.Sequential(nn.Linear(5, size, dtype=dtype), nn.Unflatten(1, tuple(shape)))
            self.op = Calls(f)
            with torch.no_grad():
                width = f(self.before(torch.randn(2, 5, dtype=dtype))).flatten(1).shape[1]
            self.after = nn.Linear(width, 3, dtype=dtype)
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.op(self.before(x)).flatten(1))


def inputs(batch: int = 2, dtype: torch.dtype = D) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return torch.randn(batch, 5, dtype=dtype)


def assert_equal(a: Tensor, b: Tensor, rtol: float = 1e-10) -> None:
    torch.testing.assert_close(a, b, rtol=rtol, atol=1e-12)


def explained(
    f: Callable[[Tensor], Tensor], shape: Sequence[int] = SHAPE, method: Any = "lrp-z", batch: int = 2
) -> rp.Explanation:
    return rp.explain(Around(f, shape), inputs(batch), [0, 2], {"it": method}, inside=["before", "op"])


def assert_definition(
    f: Callable[[Tensor], Tensor],
    expected: Callable[[Tensor, Tensor], Tensor],
    shape: Sequence[int] = SHAPE,
    *,
    rtol: float = 1e-10,
    method: Any = "lrp-z",
) -> None:
    """What comes to the op's input is `expected(y, R)`, for y and R of one picture each and all maps.

    The ledger is closed, the output is the model's own, and a batch gives what its pictures give alone.
    """
    net, x = Around(f, shape), inputs()
    e = explained(f, shape, method)
    assert e.ledger["it"].error < 1e-9
    y, above, below = net.before(x), e.inside["it"]["op"], e.inside["it"]["before"]
    assert above.abs().max() > 0
    for t in range(2):
        for b in range(2):
            assert_equal(below[t, b], expected(y[b : b + 1], above[t, b : b + 1])[0], rtol)
    singles = [rp.explain(net, x[b : b + 1], [0, 2], {"it": method}).relevance["it"] for b in range(2)]
    assert_equal(e.relevance["it"], torch.cat(singles, 1), 1e-9)


def by_gradient(f: Callable[[Tensor], Tensor], y: Tensor, R: Tensor, eps: float = 0.0) -> Tensor:
    """Y times the gradient of sum s f(y), s = R / (f(y) + eps sign(f(y))): each term by its share, for a linear f."""
    leaf = y.clone().requires_grad_()
    out = f(leaf)
    z = (out + eps * torch.where(out >= 0, 1.0, -1.0)).detach()
    s = torch.where(z == 0, 0.0, R / z)
    return y * torch.autograd.grad(out, leaf, s)[0]


def moved_back(f: Callable[[Tensor], Tensor], y: Tensor, R: Tensor) -> Tensor:
    """The gradient of sum R f(y): relevance goes back the way the numbers came."""
    leaf = y.clone().requires_grad_()
    return torch.autograd.grad(f(leaf), leaf, R)[0]


def nodes_of(f: Callable[[Tensor], Tensor], shape: Sequence[int] = SHAPE, dtype: torch.dtype = D) -> list[Node]:
    """What is recorded of the op."""
    x = inputs(16, dtype) * 3
    return record(Around(f, shape, dtype), inputs_of(x), lambda out, _: [out]).nodes


def assert_bounds(f: Callable[[Tensor], Tensor], dtype: torch.dtype = D, shape: Sequence[int] = SHAPE) -> None:
    """All recorded numbers lie between their proved bounds."""
    for node in nodes_of(f, shape, dtype):
        for value in node.outputs:
            data = value.data[value.data.isfinite()]
            if data.numel():
                assert value.low <= data.min(), node.where
                assert data.max() <= value.high, node.where
