"""LRP written into autograd: the judge of whole networks, which shares nothing with the engine but the paper.

A program (`random_program.Step`) is run once more, each op as a `torch.autograd.Function` whose forward gives the same
numbers and whose backward *is* the rule: it takes relevance and returns relevance. Autograd adds up where a value was
used twice, and its own derivative of an op that only moves numbers is what relevance does there. The seed of the
backward pass is the logit. There is no tape, no table, and no memory to be saved: every layer is an explicit matrix,
and every rule is its formula in `reference.py`, share by share.

Which rule an op gets is decided a second time (`reference_program`), from composites that are plain data
(`reference_composites`).

Conventions are those of `docs/engine.md`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

import reference
from random_program import Network
from reference import Dense, divide
from reference_composites import Composite, Rule
from reference_program import Op, assigned, factor_parts, of_one, read, through

SUMS = 1e-6
"""Epsilon of additions, averages and activations."""


class Relevance(torch.autograd.Function):
    """Any op: its value forward, relevance backward."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, below: Callable[[Tensor], Sequence[Tensor]], *_: Tensor) -> Tensor:
        ctx.below = below
        ctx.set_materialize_grads(False)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, R: Tensor | None) -> tuple[Any, ...]:
        return None, None, *([None] * (len(ctx.needs_input_grad) - 2) if R is None else ctx.below(R))


class Reference:
    """The relevance of one program on some pictures, by any composite and target.

    Args:
        net: the network.
        x: pictures.
        shake: by how much of itself every number that a layer reads is moved, which tells how much relevance depends
            on the last digits.
    """

    def __init__(self, net: Network, x: Tensor, shake: float = 0.0) -> None:
        self.shake = shake
        self.net = net
        self.ops = read(net)
        self.rules: dict[Op, Rule | None] = {}
        self.largest = 0.0
        self._shares: dict[Any, Tensor] = {}
        self.real: dict[Op | None, Tensor | None] = {None: None}
        self.x = x.clone().requires_grad_()
        with torch.enable_grad():
            self.logits = self._run(self.x)

    def relevance(self, composite: Composite, target: Tensor, *, one: bool = False) -> Tensor:
        """Relevance of x for the targets (B,); `largest` is then the most that stood at any op, in sum over a picture.

        Raises:
            RefusedError: the composite cannot be meant.
        """
        self.rules = assigned(self.ops, composite)
        asked = torch.nn.functional.one_hot(target, self.logits.shape[1]).to(self.logits.dtype)
        seed = asked if one else asked * self.logits.detach()
        self.largest = float(seed.abs().sum(1).max())
        (R,) = torch.autograd.grad(self.logits, self.x, seed, retain_graph=True, materialize_grads=True)
        return R

    # -- the run ---------------------------------------------------------------------------------------

    def _run(self, x: Tensor) -> Tensor:
        values: dict[Op | None, Tensor] = {None: x}
        for op in self.ops:
            inputs = [values[source] for source in op.sources]
            self.real[op] = self._real(op, [v.detach() for v in inputs])
            values[op] = self._value(op, inputs)
        return values[self.ops[-1]]

    def _real(self, op: Op, inputs: list[Tensor]) -> Tensor | None:
        """Where the numbers that an op gives come from the input; None: everywhere.

        Moves are asked: what comes from the input is what changes if all that comes from it is changed a little.
        """
        masks = [self.real[source] for source in op.sources]
        if op.kind == "move" and ("fill" in op.about or any(m is not None for m in masks)):
            moved = [
                v + 1e-7 * (1 + torch.rand_like(v)) * (1.0 if m is None else m)
                for v, m in zip(inputs, masks, strict=True)
            ]
            return op.step.value(*moved) != op.step.value(*inputs)
        if op.kind in ONE_BY_ONE and all(m is not None for m in masks):
            either = masks[0]
            for m in masks[1:]:
                either = either | m
            return either.expand(op.step.shapes[-1])
        return None

    def _value(self, op: Op, inputs: list[Tensor]) -> Tensor:
        if op.kind in ("move", "stop"):
            return op.step.value(*inputs)
        plain = [v.detach() for v in inputs]
        value = through(op.row, *plain) if op.row else op.step.value(*plain)

        def below(R: Tensor) -> Sequence[Tensor]:
            self.largest = max(self.largest, float(R.abs().flatten(1).sum(1).max()))
            return BELOW[op.kind](self, op, self.rules.get(op), plain, value, R)

        return Relevance.apply(value, below, *inputs)

    def share(self, op: Op, rule: Rule, x: Tensor, make: Callable[[Tensor, Tensor], Tensor], R: Tensor) -> Tensor:
        """R_i = sum_j share_ij R_j, for x one row a picture; `make` takes x and where it comes from the input."""
        key = (op, rule)
        if key not in self._shares:
            real = self.real[op.sources[0]]
            real = torch.ones_like(x) if real is None else real.to(x.dtype)
            shaken = (x * (1 + self.shake * torch.randn_like(x))).flatten(1)
            self._shares[key] = make(shaken, real.flatten(1))
        return torch.einsum("bij,bj->bi", self._shares[key], R.flatten(1)).view_as(x)


ONE_BY_ONE = ("activation", "scale", "product", "add", "norm", "stop", "opaque")
"""Kinds of op that leave each number in its place: what is constant in all that they read stays it."""


# -- the rules -----------------------------------------------------------------------------------------


def rule_share(rule: Rule, x: Tensor, real: Tensor, layer: Dense, area: int = 0) -> Tensor:
    """What the rule hands down, share_ij (B, i, j), straight from its formula; `real` is 0 for constants, else 1."""
    name, *numbers = rule
    if name in READ_NO_NUMBERS:
        return READ_NO_NUMBERS[name](x, real[:, :, None], layer, area, *numbers)
    return FORMULAS[name](x, layer, *numbers)


def _alpha_beta(x: Tensor, layer: Dense, alpha: float, beta: float | None = None, bias: Any = True) -> Tensor:
    beta = 1.0 - alpha if beta is None else beta
    if bias == "whole":
        return reference.alpha_beta_whole_bias(x, layer, alpha, beta)
    return reference.alpha_beta(x, layer, alpha, beta, bias=bias)


FORMULAS: dict[str, Callable[..., Tensor]] = {
    "Z": reference.z,
    "Epsilon": reference.epsilon,
    "ZPlus": lambda x, layer: reference.alpha_beta(x, layer, 1.0, 0.0),
    "AlphaBeta": _alpha_beta,
    "Gamma": reference.gamma,
}


def _flat(x: Tensor, real: Tensor, layer: Dense, area: int, padding: str = "real") -> Tensor:
    ones = layer.real * real
    return ones / area if padding == "kernel" else divide(ones, ones.sum(1, keepdim=True))


def _w_square(x: Tensor, real: Tensor, layer: Dense, area: int, bias: bool = False) -> Tensor:
    squares = layer.w**2 * real
    return divide(squares, squares.sum(1, keepdim=True) + (layer.b**2 if bias else 0.0))


def _z_box(x: Tensor, real: Tensor, layer: Dense, area: int, low: float, high: float) -> Tensor:
    x = x[:, :, None]
    low, high = (torch.where(real > 0, bound, x) for bound in (low, high))
    z_ij = x * layer.w - low * reference.positive(layer.w) - high * reference.negative(layer.w)
    z_ij = torch.where(real > 0, z_ij, 0.0)
    return divide(z_ij, z_ij.sum(1, keepdim=True))


READ_NO_NUMBERS: dict[str, Callable[..., Tensor]] = {"Flat": _flat, "WSquare": _w_square, "ZBox": _z_box}
"""Rules for which it matters what an input is, and not only which number: a constant is none."""


def weighted_below(
    judge: Reference, op: Op, rule: Rule, inputs: list[Tensor], value: Tensor, R: Tensor
) -> list[Tensor]:
    """A layer, with its BatchNorm if it has one."""
    if rule[0] == "Pass":
        return [R]
    layer = written_out(op)
    return [judge.share(op, rule, inputs[0], lambda x, real: rule_share(rule, x, real, layer, op.about["area"]), R)]


def written_out(op: Op) -> Dense:
    """The explicit matrix of a layer; BatchNorm scales each output and shifts it."""
    if op.dense is None:
        shape, weight, bias = op.step.shapes[0][1:], op.about["weight"], op.about["bias"]
        w, out = pushed(lambda t: op.about["linear"](t, weight), shape)
        ones, _ = pushed(lambda t: op.about["linear"](t, torch.ones_like(weight)), shape)
        channels = _along(op, len(out))
        b = torch.zeros(out, dtype=w.dtype) if bias is None else bias.view(channels).expand(out)
        if op.merged is not None:
            scale, shift = (t.view(channels).expand(out) for t in scale_and_shift(op.merged.about["norm"]))
            w, b = w * scale.flatten(), b * scale + shift
        op.dense = Dense(w, b.flatten(), (ones != 0).to(w.dtype))
    return op.dense


def pushed(f: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> tuple[Tensor, tuple[int, ...]]:
    """The matrix (i, j) of a linear function of one picture, by its unit vectors, and the shape of its output."""
    n = torch.Size(shape).numel()
    with torch.no_grad():
        out = f(torch.eye(n, dtype=torch.float64).view(n, *shape))
    return out.flatten(1), tuple(out.shape[1:])


def _along(op: Op, ndim: int) -> tuple[int, ...]:
    """Where a number per output channel stands: first in a picture's axes, last for linear layers."""
    return (-1, *[1] * (ndim - 1)) if op.kind == "conv" else (-1,)


def scale_and_shift(norm: Any) -> tuple[Tensor, Tensor]:
    """BatchNorm is scale x + shift."""
    scale = (norm.running_var + norm.eps) ** -0.5
    shift = -norm.running_mean * scale
    if norm.affine:
        scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
    return scale, shift


def norm_below(
    judge: Reference, op: Op, rule: Rule | None, inputs: list[Tensor], value: Tensor, R: Tensor
) -> list[Tensor]:
    """BatchNorm on its own is a layer of one input an output; merged, it has been told; before the first, it passes."""
    if op.layer is not None or rule == ("Pass",) or not op.seen:
        return [R]
    shape = op.step.shapes[0][1:]
    along = (-1, *[1] * (len(shape) - 1))
    scale, shift = (t.view(along).expand(shape).flatten() for t in scale_and_shift(op.about["norm"]))
    layer = Dense(torch.diag(scale), shift, torch.eye(len(scale), dtype=scale.dtype))
    rule = rule or ("Epsilon", SUMS)
    return [judge.share(op, rule, inputs[0], lambda x, real: rule_share(rule, x, real, layer, 1), R)]


def average_below(
    judge: Reference, op: Op, rule: Rule | None, inputs: list[Tensor], value: Tensor, R: Tensor
) -> list[Tensor]:
    """A layer with fixed weights."""
    if rule == ("Pass",):
        return [R]
    if op.dense is None:
        w, _ = pushed(op.step.value, op.step.shapes[0][1:])
        op.dense = Dense(w, torch.zeros(w.shape[1], dtype=w.dtype), (w != 0).to(w.dtype))
    layer, rule = op.dense, rule or ("Epsilon", SUMS)
    rule = ("Flat",) if rule[0] == "Flat" else rule
    return [judge.share(op, rule, inputs[0], lambda x, real: rule_share(rule, x, real, layer), R)]


def max_below(
    judge: Reference, op: Op, rule: Rule | None, inputs: list[Tensor], value: Tensor, R: Tensor
) -> list[Tensor]:
    """The first winner takes all; under flat the window shares. What a window reads: a lone one wins it."""
    if rule == ("Pass",):
        return [R]
    reads, _ = pushed(op.step.value, op.step.shapes[0][1:])
    if rule is not None and rule[0] == "Flat":

        def even(x: Tensor, real: Tensor) -> Tensor:
            ones = reads * real[:, :, None]
            return divide(ones, ones.sum(1, keepdim=True))

        return [judge.share(op, ("Flat",), inputs[0], even, R)]
    return [judge.share(op, ("winner",), inputs[0], lambda x, _: reference.winner(x, reads), R)]


def add_below(
    judge: Reference, op: Op, rule: Rule | None, inputs: list[Tensor], value: Tensor, R: Tensor
) -> list[Tensor]:
    """To each term its share of the sum; a constant's goes to nobody, but it has none before the first layer.

    Of terms that are multiples of one value, any may take all. Under flat, terms share as they come from the input.
    """
    terms = op.about["terms"]
    if of_one(op):
        return [_folded(R, inputs[0]), *[None] * (len(inputs) - 1)]
    if len(terms) == 1 and not op.seen:
        return [R]
    if rule is not None and rule[0] == "Flat":
        real = [torch.ones_like(v) if m is None else m.to(v.dtype) for v, m in _with_masks(judge, op, inputs)]
        return [_folded(divide(m * R, sum(real)), v) for m, v in zip(real, inputs, strict=True)]
    eps = SUMS if rule is None else 0.0 if rule[0] == "Z" else rule[1]
    quotient = divide(R, torch.where(value >= 0, value + eps, value - eps))
    return [_folded(factor * v * quotient, v) for v, (_, factor) in zip(inputs, terms, strict=True)]


def product_below(
    judge: Reference, op: Op, rule: Rule | None, inputs: list[Tensor], value: Tensor, R: Tensor
) -> list[Tensor]:
    """By the parts of the factors."""
    return [_folded(part * R, v) if part else None for part, v in zip(factor_parts(op), inputs, strict=True)]


def same_below(
    judge: Reference, op: Op, rule: Rule | None, inputs: list[Tensor], value: Tensor, R: Tensor
) -> list[Tensor]:
    """Relevance passes."""
    return [R]


def activation_below(
    judge: Reference, op: Op, rule: Rule | None, inputs: list[Tensor], value: Tensor, R: Tensor
) -> list[Tensor]:
    """Relevance passes, but for what the activation gives for nothing."""
    for_nothing = through(op.row or [op], torch.zeros_like(inputs[0]))
    if not bool(for_nothing.any()):
        return [R]
    return [(value - for_nothing) / torch.where(value >= 0, value + SUMS, value - SUMS) * R]


def _with_masks(judge: Reference, op: Op, inputs: list[Tensor]) -> list[tuple[Tensor, Tensor | None]]:
    return [(v, judge.real[source]) for v, source in zip(inputs, op.sources, strict=True)]


def _folded(R: Tensor, like: Tensor) -> Tensor:
    """Summed where a number was repeated."""
    return R.sum_to_size(like.shape)


BELOW: dict[str, Callable[..., Sequence[Tensor]]] = {
    "conv": weighted_below,
    "linear": weighted_below,
    "norm": norm_below,
    "average": average_below,
    "interpolate": average_below,
    "max": max_below,
    "add": add_below,
    "product": product_below,
    "scale": same_below,
    "activation": activation_below,
    "opaque": activation_below,
}
