"""Functions of each number alone: what they give for nothing is no input's, written out in float64."""

import pytest
import torch
import torch.nn.functional as F

import relprop as rp
from more_ops import D, assert_bounds, assert_definition, assert_equal, explained, nodes_of

FUNCTIONS = {
    "exp": torch.exp,
    "exp2": torch.exp2,
    "expm1": torch.expm1,
    "square": torch.square,
    "abs": torch.abs,
    "absolute": torch.Tensor.absolute,
    "built in abs": abs,
    "sin": torch.sin,
    "cos": torch.cos,
    "sinc": torch.sinc,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "atan": torch.arctan,
    "asinh": torch.asinh,
    "erfc": torch.erfc,
    "pow": lambda y: torch.pow(y, 3),
    "power 2": lambda y: y**2,
    "power 2.0": lambda y: y.pow(2.0),
    "power 0": lambda y: y**0,
    "power 1": lambda y: y**1,
    "power of a tensor": lambda y: y ** torch.tensor(2.0, dtype=D),
    "float_power": lambda y: y.float_power(2).to(y),
    "power in place": lambda y: y.clone().pow_(2),
    "constant to the power": lambda y: 1.5**y,
    "constant to the power, torch": lambda y: torch.pow(1.5, y),
    "sqrt": lambda y: torch.sqrt(y.square()),
    "half a power": lambda y: (y.square() + 0) ** 0.5,
    "log1p": lambda y: torch.log1p(y.abs()),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_passes_what_it_makes_of_the_input(name):
    f = FUNCTIONS[name]

    def expected(y, R):
        nothing = f(torch.zeros_like(y))
        return R * (f(y) - nothing) / (f(y) + 1e-6 * torch.where(f(y) >= 0, 1.0, -1.0) * bool(nothing.any()))

    assert_definition(f, expected, rtol=1e-9)


BOUNDED = {
    **FUNCTIONS,
    "power of what is bounded": lambda y: torch.sigmoid(y) ** 2,
    "odd power of what is bounded": lambda y: (1 + torch.sigmoid(y)) ** 3,
    "root of what is bounded": lambda y: torch.sigmoid(y) ** 0.5,
    "even power of both signs": lambda y: torch.tanh(y) ** 4,
    "inverse power of what is positive": lambda y: (1 + torch.sigmoid(y)) ** -1.5,
    "inverse square": lambda y: y**-2,
    "inverse": lambda y: torch.sigmoid(y) ** -1,
}


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("dtype", [D, torch.float32])
def test_bounds_hold(name, dtype):
    assert_bounds(BOUNDED[name], dtype)


def test_a_power_of_a_bounded_value_is_a_gate():
    gate = {"y ** 2": lambda y: torch.sigmoid(y) ** 2, "square": lambda y: torch.sigmoid(y).square()}
    maps = [explained(lambda y, g=g: y * g(-y)).relevance["it"] for g in gate.values()]
    assert_equal(maps[0], maps[1])
    assert_equal(maps[0], explained(lambda y: y * (torch.sigmoid(-y) * 1) ** 2).relevance["it"])
    assert [node.outputs[0].bounded for node in nodes_of(gate["y ** 2"]) if node.op.name == "pow"] == [True]


REFUSED = {
    "power below nothing": (lambda y: y.abs() ** -0.5, "nothing finite for 0"),
    "rsqrt": (lambda y: torch.rsqrt(y.abs()), "nothing finite for 0"),
    "power of two values": (lambda y: y.abs() ** F.relu(y), "constant number"),
    "power of a vector": (lambda y: y ** torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=D), "constant number"),
    "base that is not positive": (lambda y: 0.0 ** y.abs(), "base that is not positive"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_stays_refused(name):
    f, message = REFUSED[name]
    with pytest.raises(rp.UnsupportedOp, match=message):
        explained(f)


REMEDIES = {
    "a little more": lambda y: torch.log(y.abs() + 1e-6),
    "clamped": lambda y: torch.rsqrt(y.clamp(min=1e-6)),
    "power of two values": lambda y: torch.exp(F.relu(y) * torch.log(y.abs() + 1e-6)),
    "detached": lambda y: y * torch.rsqrt(y.abs() + 1).detach(),
    "bounded": lambda y: y * torch.rsqrt(1 + y**2),
    "power, bounded": lambda y: y * (1 + y**2) ** -0.5,
    "log1p": lambda y: torch.log1p(y.abs()),
    "logarithm beside": lambda y: torch.exp(2 * torch.log1p(y.abs())),
}


@pytest.mark.parametrize("name", REMEDIES)
def test_the_remedies_work(name):
    assert explained(REMEDIES[name]).ledger["it"].error < 1e-10
