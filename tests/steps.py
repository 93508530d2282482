"""A step of a network between a layer and a sum, so that what comes to it and goes from it can be seen."""

import torch
from torch import nn

import relprop as rp

D = torch.float64
EPS = 1e-6


def relevance_of(step, *shapes, method=None, batch=2):
    """Relevance of a step's inputs after a layer each and before a sum, with what came from above and its ledger."""
    inputs = [torch.randn(batch, *shape, dtype=D) for shape in shapes]
    layers = [nn.Linear(shape[-1], shape[-1]).to(D) for shape in shapes]
    kept = {}

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(layers)
            self.step = Step(step, kept)

        def forward(self, *x):
            y = self.step(*(layer(t) for layer, t in zip(self.layers, x, strict=True)))
            return y.flatten(1)

    net = Net().eval()
    target = 1
    e = rp.explain(
        net, tuple(inputs), [target], {"it": method or "lrp-epsilon"}, inside=["layers.*", "step"], check=True
    )
    inside = e.inside["it"]
    return kept["inputs"], [inside[f"layers.{k}"][0] for k in range(len(shapes))], inside["step"][0], e, (net, inputs)


class Step(nn.Module):
    def __init__(self, step, kept):
        super().__init__()
        self.step, self.kept = step, kept

    def forward(self, *x):
        self.kept.setdefault("inputs", [t.detach().clone() for t in x])  # a replay runs it again on other numbers
        return self.step(*x)


def by_autograd(function, inputs, R, eps=EPS):
    """X times the slope of the function, of R / (y + eps sign y): what epsilon is for a function that is linear."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    y = function(*leaves)
    s = R / torch.where(y >= 0, y + eps, y - eps)
    slopes = torch.autograd.grad(y, leaves, s.detach())
    return [x * slope for x, slope in zip(inputs, slopes, strict=True)]


def near(got, expected):
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12 * float(expected.abs().max()) + 1e-300)
