"""Logits are found in whatever a network returns, and what holds none is described."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

import relprop as rp
from relprop.record.logits import logits_of


class Returns(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 5)
        self.wrap = wrap

    def forward(self, x):
        features = self.conv(x).relu()
        return self.wrap(self.fc(features.mean((2, 3))), features)


WRAPS = {
    "tensor": lambda y, f: y,
    "object": lambda y, f: SimpleNamespace(logits=y, loss=None),
    "mapping": lambda y, f: {"features": f, "logits": y},
    "logits first": lambda y, f: (y, f),
    "logits last": lambda y, f: [f, None, y],
    "loss first": lambda y, f: (y.sum(), y),
    "indices first": lambda y, f: (y.argmax(1), torch.zeros(2, 2, dtype=torch.long), y),
}


@pytest.mark.parametrize("kind", WRAPS)
def test_logits_are_found_in_what_a_network_returns(kind):
    model, x = Returns(WRAPS[kind]).eval(), torch.rand(2, 3, 6, 6)
    plain = Returns(WRAPS["tensor"]).eval()
    plain.load_state_dict(model.state_dict())
    for method in ("cmp-alpha2-flat", "gradient"):
        assert torch.equal(rp.attribute(model, x, 1, method), rp.attribute(plain, x, 1, method))


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ((torch.zeros(2, 3, 4), None, "x"), r"tuple of Tensor \(2, 3, 4\), NoneType, str"),
        ({"scores": torch.zeros(2, 5)}, r"dict of scores: Tensor \(2, 5\)"),
        ((), "returned tuple"),
        (torch.zeros(2, 5).numpy(), "returned ndarray"),
        (SimpleNamespace(logits="none"), "returned SimpleNamespace"),
        ([(torch.zeros(2, 5),)], "list of tuple"),
    ],
)
def test_what_holds_no_logits_is_described(returned, told):
    with pytest.raises(rp.InputError, match=told) as caught:
        logits_of(returned)
    assert "\n" not in str(caught.value)
