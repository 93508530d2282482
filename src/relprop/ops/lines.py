"""How lines of the table that are alike are written: what the functions of a kind have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from relprop.ops.activation import activation, beside_constant, beside_values, depends_on_more, no_constant_power
from relprop.ops.bilinear import bilinear, bounds_of_sums, of_two_matrices
from relprop.ops.bounds import (
    clamped,
    of_inputs,
)
from relprop.ops.chains import nothing_finite
from relprop.ops.expansions import in_parts_of
from relprop.ops.moves import move, terms_of_another_shape
from relprop.ops.product import (
    receiving_factors,
)
from relprop.ops.recurrent import one_step, unrolled
from relprop.ops.sums import (
    of_scattered,
    scattered,
)
from relprop.ops.winners import winner
from relprop.rules.layer import Fixed, Kind
from relprop.rules.lrp import Epsilon, Pass
from relprop.tape.tape import Bounds, HandDown, Node, Op, OwnersGo, unbounded
from relprop.tape.torch_internals import body_of

CONV, LINEAR, ADD, NORM, LAYER_NORM, PRODUCT = (
    Kind.CONV,
    Kind.LINEAR,
    Kind.ADD,
    Kind.NORM,
    Kind.LAYER_NORM,
    Kind.PRODUCT,
)
AVERAGE, MAXIMUM, ACTIVATION, MOVE = Kind.AVG_POOL, Kind.MAX_POOL, Kind.ACTIVATION, Kind.MOVE
IMAGE, LAST, MATRIX = OwnersGo.IMAGE, OwnersGo.LAST, OwnersGo.MATRIX
MOVED, REDUCED, BROADCAST = OwnersGo.MOVED, OwnersGo.REDUCED, OwnersGo.BROADCAST

EPSILON, PASS = Epsilon(), Pass()
WINNER, SIGNAL = Fixed("winner takes all"), Fixed("signal takes all")
TAYLOR = Fixed("Taylor at x")
ALIKE = Fixed("to all factors alike")
STAYS, STOPS, PER_TOKEN = Fixed("moved"), Fixed("stopped"), Fixed("summed per token")


def elementwise(name: str, bounds: Callable[[Node], Bounds] = unbounded, words: str = "") -> tuple[Op, str]:
    """An activation with constant bounds or slopes, of which torch may have a form that works in place."""
    return Op(name, ACTIVATION, activation, PASS, bounds=bounds, refuse=depends_on_more), words or f"{name} {name}_?"


def clamping(words: str) -> list[tuple[Op, str]]:
    """Activations between bounds; bounds that are tensors make them maxima and minima of two."""
    ops = [
        Op(n, ACTIVATION, activation, PASS, bounds=clamped, refuse=depends_on_more, expand=in_parts_of(n))
        for n in words.split()
    ]
    return [(op, f"{op.name} {op.name}_") for op in ops]


def power(name: str, bounds: Callable[[Node], Bounds]) -> Op:
    """A power, of which a gate may be made even where relevance has no way through."""
    return Op(name, ACTIVATION, activation, PASS, bounds=bounds, refuse=no_constant_power, gates=True)


def moving(
    words: str,
    name: str = "",
    *,
    bounds: Callable[[Node], Bounds] = of_inputs,
    loses: bool = False,
    form: bool = False,
) -> list[tuple[Op, str]]:
    """Ops that move numbers, each under its own name unless one is given; owners move with them."""
    names = [(name or word.strip("_?."), word) for word in words.split()]
    return [(Op(op, MOVE, move, STAYS, MOVED, bounds, loses=loses, form=form), word) for op, word in names]


def scattering(words: str) -> list[tuple[Op, str]]:
    """Sums whose terms stand at places that the call names."""
    op = {
        word: Op(word, ADD, scattered, EPSILON, OwnersGo.SUMMED, of_scattered, terms_of_another_shape)
        for word in words.split()
    }
    return [(op[word], f"{word} {word}_?") for word in op]


def winning(words: str, hand_down: HandDown = winner) -> list[tuple[Op, str]]:
    """Ops along axes that one number wins."""
    return [(Op(word, MAXIMUM, hand_down, WINNER, REDUCED, of_inputs), word) for word in words.split()]


def at_the_end(name: str, bounds: Callable[[Node], Bounds] = unbounded, words: str = "") -> tuple[Op, str]:
    """A function that gives nothing finite for 0: it has a rule as the end of a chain, and gates may be made of it."""
    op = Op(name, ACTIVATION, activation, PASS, bounds=bounds, refuse=nothing_finite, gates=True)
    return op, words or f"{name} {name}_?"


def beside_constants(name: str, bounds: Callable[[Node], Bounds] = unbounded, words: str = "") -> tuple[Op, str]:
    """A function of each number of a value and of a constant, which may be wider than the value."""
    op = Op(name, ACTIVATION, beside_constant, PASS, BROADCAST, bounds, beside_values)
    return op, words or f"{name} {name}_?"


def made_of_others(words: str) -> list[tuple[Op, str]]:
    """Functions that are recorded as the calls that they are made of."""
    return [(written_out(word), f"{word} {word}_?") for word in words.split()]


def written_out(name: str) -> Op:
    """A function that is recorded as the calls that it is made of."""
    return Op(name, Kind.OPAQUE, expand=in_parts_of(name))


def recurrent(words: str) -> list[tuple[Op, str]]:
    """Recurrent layers, and single steps of them."""
    layers = [(Op(word, Kind.OPAQUE, expand=unrolled(word)), word) for word in words.split()]
    return layers + [(Op(f"{word}_cell", Kind.OPAQUE, expand=one_step(word)), f"{word}_cell") for word in words.split()]


def by_its_body(func: Any, args: Any, kwargs: Any) -> Any:
    """A function written in Python, as it is written."""
    return body_of(func)(*args, **kwargs)


def two_matrices(name: str) -> Op:
    """A matrix product of two values."""
    return Op(
        name,
        Kind.BILINEAR,
        bilinear,
        EPSILON,
        OwnersGo.CONTRACTED,
        bounds_of_sums,
        refuse=of_two_matrices,
        receivers=receiving_factors,
    )
