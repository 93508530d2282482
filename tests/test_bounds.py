"""What a call's numbers are proved to lie between: they lie there. Rules and gates build on it."""

import pytest
import torch
import torch.nn.functional as F

from relprop.record.inputs import inputs_of
from relprop.record.prepare import logits_alone
from relprop.record.recorder import record

D = torch.float64
ROW = torch.linspace(-2, 1, 4, dtype=D)
MASK = torch.tensor([True, False, True, True])


def relu(x):
    """Never negative."""
    return F.relu(x) + 0.0


def unit(x):
    """Between 0 and 1."""
    return torch.sigmoid(x)


def both(x):
    """Between -1 and 1."""
    return torch.tanh(x)


def below(x):
    """Never positive."""
    return -F.relu(x)


def taped(model, x):
    """What a model does, unchecked."""
    return record(model, inputs_of(x), logits_alone(None, len(x)))


INPUTS = {"any": lambda x: x + 0.0, "never negative": relu, "0 to 1": unit, "-1 to 1": both, "never positive": below}
CALLS = {
    "relu": F.relu,
    "relu6": lambda y: F.relu6(9 * y),
    "hardtanh": F.hardtanh,
    "hardtanh(-2, 0.5)": lambda y: F.hardtanh(y, -2.0, 0.5),
    "clamp": lambda y: y.clamp(-0.5, 0.25),
    "clamp of low above high": lambda y: y.clamp(0, -1),
    "clamp_max": lambda y: torch.clamp_max(y, 0.3),
    "clamp_min": lambda y: torch.clamp_min(y, -0.3),
    "gelu": F.gelu,
    "silu": F.silu,
    "elu": F.elu,
    "softplus": F.softplus,
    "logsigmoid": F.logsigmoid,
    "softsign": F.softsign,
    "erf": torch.erf,
    "exp": torch.exp,
    "sine": lambda y: torch.sin(9 * y),
    "cube": lambda y: y**3,
    "square": lambda y: y**2,
    "torch.square": torch.square,
    "fourth power": lambda y: torch.pow(y, 4),
    "half power": lambda y: y.abs() ** 0.5,
    "root": lambda y: (y * y).sqrt(),
    "inverse": lambda y: (y.exp() + 1).reciprocal(),
    "inverse root": lambda y: (y.exp() + 1).rsqrt(),
    "absolute": torch.abs,
    "negative": torch.neg,
    "times a constant": lambda y: y * ROW,
    "times -2": lambda y: y * -2,
    "times itself": lambda y: y * y,
    "times a gate": lambda y: y * torch.sigmoid(-y),
    "over -3": lambda y: y / -3,
    "over constants": lambda y: y / (ROW + 3),
    "over constants of both signs": lambda y: y / (ROW + 0.1),
    "plus": lambda y: y + 1,
    "minus": lambda y: y - 1,
    "from one": lambda y: 1 - y,
    "constants minus": lambda y: ROW - y,
    "plus alpha": lambda y: torch.add(y, torch.sigmoid(y), alpha=-3),
    "minus alpha": lambda y: torch.sub(y, torch.sigmoid(y), alpha=-3),
    "rsub alpha": lambda y: torch.rsub(y, torch.sigmoid(y), alpha=2),
    "sum": lambda y: y.sum(-1, keepdim=True).expand_as(y),
    "sum over two axes": lambda y: y.sum((2, 3), keepdim=True).expand_as(y),
    "mean": lambda y: y.mean(-1, keepdim=True),
    "average with padding": lambda y: F.avg_pool2d(y + 1, 3, 1, 1),
    "average with a divisor": lambda y: F.avg_pool2d(y, 2, divisor_override=1),
    "average with a negative divisor": lambda y: F.avg_pool2d(y, 2, divisor_override=-1),
    "max-pool": lambda y: F.max_pool2d(y, 2),
    "bilinear": lambda y: F.interpolate(y, scale_factor=2, mode="bilinear"),
    "bicubic": lambda y: F.interpolate(y, scale_factor=3, mode="bicubic"),
    "LRN": lambda y: F.local_response_norm(y, 2, alpha=0.5),
    "LRN with a negative alpha": lambda y: F.local_response_norm(y, 2, alpha=-20.0, beta=1.0),
    "cat with constants": lambda y: torch.cat([y, torch.full((2, 3, 4, 1), -5.0, dtype=D)], -1),
    "stack with constants": lambda y: torch.stack([y, ROW.expand(2, 3, 4, 4)], 1).flatten(1, 2),
    "pad": lambda y: F.pad(y, (1, 1)),
    "pad with -4": lambda y: F.pad(y, (1, 1), value=-4.0),
    "pad with 4": lambda y: F.pad(y, (1, 1), "constant", 4.0),
    "pad by reflection": lambda y: F.pad(y, (1, 1, 1, 1), "reflect"),
    "where of numbers": lambda y: torch.where(MASK, y, -2.0),
    "where, the other way": lambda y: torch.where(MASK, -2.0, y),
    "where of tensors": lambda y: torch.where(MASK, ROW, y),
    "masked_fill": lambda y: y.masked_fill(MASK, -3.0),
    "masked_fill up": lambda y: y.masked_fill(MASK, 3.0),
    "tril": lambda y: (y + 2).tril(),
    "triu": lambda y: (y - 2).triu(),
    "unfold": lambda y: F.unfold(y + 2, 3, padding=1),
    "reshape": lambda y: y.flip(-1).transpose(1, 2).contiguous(),
    "double": lambda y: y.float().double(),
    "dropout": lambda y: F.dropout(y, 0.5, training=False),
}


def written(y):
    """Numbers of a constant written into a value."""
    y = y.clone()
    y[:, 0] = -7.0
    return y


def copied(y):
    """A value written into a constant."""
    out = torch.full((2, 3, 4, 4), -6.0, dtype=D)
    out[:, 1:] = y[:, 1:]
    return out


CALLS |= {"written into": written, "written into a constant": copied}


@pytest.mark.parametrize("given", INPUTS)
@pytest.mark.parametrize("name", CALLS)
def test_numbers_lie_between_their_bounds(name, given):
    x = 2 * torch.randn(2, 3, 4, 4, dtype=D)
    tape = taped(lambda x: CALLS[name](INPUTS[given](x)).flatten(1), x)
    for node in tape.nodes:
        for value in node.outputs:
            where = f"{node.op.name}: {value.low} to {value.high}"
            assert value.data.min() >= value.low - 1e-12 * abs(value.low or 1), where
            assert value.data.max() <= value.high + 1e-12 * abs(value.high or 1), where


KNOWN = {
    "relu": (F.relu, "any", (0, float("inf"))),
    "hardtanh": (F.hardtanh, "any", (-1, 1)),
    "hardtanh of what is never negative": (F.hardtanh, "never negative", (0, 1)),
    "times a gate": (lambda y: y * torch.sigmoid(y), "never negative", (0, float("inf"))),
    "one less a gate": (lambda y: 1 - y, "0 to 1", (0, 1)),
    "gates twice": (lambda y: y + y.flip(-1), "0 to 1", (0, 2)),
    "a sum of gates": (lambda y: y.sum(-1, keepdim=True).expand_as(y), "0 to 1", (0, 4)),
    "a mean of gates": (lambda y: y.mean(-1, keepdim=True).expand_as(y), "0 to 1", (0, 1)),
    "over two": (lambda y: y / 2, "-1 to 1", (-0.5, 0.5)),
    "over minus two": (lambda y: y / -2, "0 to 1", (-0.5, 0)),
    "padded": (lambda y: F.pad(y, (1, 1)), "0 to 1", (0, 1)),
    "LRN": (lambda y: F.local_response_norm(y, 2), "never negative", (0, float("inf"))),
    "bilinear": (lambda y: F.interpolate(y, scale_factor=2, mode="bilinear"), "0 to 1", (0, 1)),
    "average": (lambda y: F.avg_pool2d(y, 2), "never negative", (0, float("inf"))),
    "max-pool": (lambda y: F.max_pool2d(y, 2), "-1 to 1", (-1, 1)),
}


@pytest.mark.parametrize("name", KNOWN)
def test_bounds_are_as_near_as_is_known(name):
    """Which factor is a gate, and which layers save a pass, depends on it."""
    call, given, wanted = KNOWN[name]
    tape = taped(lambda x: call(INPUTS[given](x)).flatten(1), torch.randn(2, 3, 4, 4, dtype=D))
    assert (tape.output.low, tape.output.high) == wanted
