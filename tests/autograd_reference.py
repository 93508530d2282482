"""LRP written into autograd: the judge of whole networks, which shares nothing with the engine but the paper.

A program (`random_program.Step`) is run once more, each op as a `torch.autograd.Function` whose forward gives the same
numbers and whose backward *is* the rule: it takes relevance and returns relevance. Autograd adds up where a value was
used twice, and its own derivative of an op that only moves numbers is what relevance does there. The seed of the
backward pass is the logit. There is no tape, no table, and no memory to be saved: every layer is an explicit matrix,
and every rule is its formula in `reference.py`, share by share.

Which rule an op gets is decided here a second time, from composites that are plain data:

    [(("first", 1, ("weighted",)), ("Flat",)), (("head",), ("Epsilon", 0.1)), (("weighted",), ("AlphaBeta", 2.0))]

Conventions are those of `docs/engine.md`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor

import reference
import relprop as rp
from random_program import Network, Step
from reference import Dense, divide

WEIGHTED = ("conv", "linear")
SUMS = 1e-6
"""Epsilon of additions and averages."""

Selector = tuple[Any, ...]
Rule = tuple[Any, ...]
Composite = Sequence[tuple[Selector, Rule]]


class RefusedError(Exception):
    """The composite cannot be meant: the engine must refuse it too."""


# -- composites as data --------------------------------------------------------------------------------


def as_relprop(composite: Composite) -> rp.Composite:
    """The same composite for the engine."""
    return rp.Composite([(_selector(selector), _rule(rule)) for selector, rule in composite])


def _selector(selector: Selector) -> Any:
    name, *rest = selector
    if name == "and":
        return _selector(rest[0]) & _selector(rest[1])
    if name == "or":
        return _selector(rest[0]) | _selector(rest[1])
    if name == "not":
        return ~_selector(rest[0])
    if name in ("first", "last"):
        return getattr(rp.on, name)(rest[0], of=_selector(rest[1]))
    return rp.on.path(rest[0]) if name == "path" else getattr(rp.on, name)


def _rule(rule: Rule) -> Any:
    name, *numbers = rule
    return getattr(rp.rules, name)(**dict(zip(ARGUMENTS[name], numbers, strict=False)))


ARGUMENTS = {
    "Z": (),
    "Epsilon": ("eps",),
    "AlphaBeta": ("alpha", "beta", "bias"),
    "ZPlus": (),
    "Gamma": ("gamma",),
    "Flat": ("padding",),
    "WSquare": ("bias",),
    "ZBox": ("low", "high"),
    "Pass": (),
}

HEAD, CONV, ANY, ALL = ("head",), ("conv",), ("any",), ("weighted",)
FIRST = ("first", 1, ALL)
STACK = ("before head",)
"""Convolutions, pools, additions and norms before the first fully connected op; no selector of the public names."""


def _composed(conv: Rule, *below: tuple[Selector, Rule], eps: float = 1e-6) -> Composite:
    return [*below, (HEAD, ("Epsilon", eps)), (ALL, conv)]


NAMED: dict[str, Composite] = {
    "lrp-z": [(ANY, ("Z",))],
    "lrp-epsilon": [(ANY, ("Epsilon", 1e-6))],
    "lrp-epsilon:eps=0.1": [(ANY, ("Epsilon", 0.1))],
    "lrp-alpha1": [(ALL, ("AlphaBeta", 1.0))],
    "lrp-alpha2": [(ALL, ("AlphaBeta", 2.0))],
    "cmp-alpha1": _composed(("AlphaBeta", 1.0)),
    "cmp-alpha2": _composed(("AlphaBeta", 2.0)),
    "cmp-alpha1-flat": _composed(("AlphaBeta", 1.0), (FIRST, ("Flat",))),
    "cmp-alpha2-flat": _composed(("AlphaBeta", 2.0), (FIRST, ("Flat",))),
    "cmp-alpha2-flat:layers=2": _composed(
        ("AlphaBeta", 2.0), (FIRST, ("Flat",)), (("first", 2, ("and", CONV, ("not", HEAD))), ("Flat",))
    ),
    "cmp-alpha1-flat:layers=stack": _composed(("AlphaBeta", 1.0), (FIRST, ("Flat",)), (STACK, ("Flat",))),
    "cmp-alpha1-zbox:low=-2,high=3": _composed(("AlphaBeta", 1.0), (FIRST, ("ZBox", -2.0, 3.0))),
    "cmp-alpha2-zbox:low=-3,high=3": _composed(("AlphaBeta", 2.0), (FIRST, ("ZBox", -3.0, 3.0))),
    "epsilon-gamma-box:low=-3,high=3": _composed(("Gamma", 0.25), (FIRST, ("ZBox", -3.0, 3.0))),
    "epsilon-plus": _composed(("ZPlus",)),
    "epsilon-plus-flat": _composed(("ZPlus",), (FIRST, ("Flat",))),
    "excitation-backprop": [(ALL, ("AlphaBeta", 1.0, 0.0, False))],
}
"""Methods of LRP by name, written out."""

STARTS_AT_ONE = ("excitation-backprop",)

FITS: dict[str, tuple[str, ...]] = {
    "Z": ("conv", "linear", "average", "interpolate", "norm", "add"),
    "Epsilon": ("conv", "linear", "average", "interpolate", "norm", "add"),
    "Flat": ("conv", "linear", "average", "interpolate", "norm", "add", "max"),
    "Pass": ("conv", "linear", "average", "interpolate", "norm", "max", "activation"),
}
"""Kinds of op that take a rule whoever hands it to them; other rules are for weighted ops alone."""

ASKED: dict[str, tuple[str, ...]] = {
    "conv": ("conv",),
    "linear": ("linear",),
    "pool": ("average", "interpolate", "max"),
    "norm": ("norm",),
    "add": ("add",),
    "activation": ("activation",),
}
"""Kinds that a selector asks for by name; averages and norms then take every rule."""


def asked_for(selector: Selector) -> set[str]:
    """The kinds of op that a selector names."""
    name, *rest = selector
    if name in ("and", "or"):
        return asked_for(rest[0]) | asked_for(rest[1])
    return set(ASKED.get(name, ()))


# -- a program, read -----------------------------------------------------------------------------------


@dataclass(eq=False)
class Op:
    """A step of the program, and what is found out about it.

    Attributes:
        step: what it is.
        order: its place in the program.
        sources: the op that made each value that it reads; None for the input.
        reached: whether relevance can come to it.
        seen: whether a weighted op lies before its result.
        merged: the BatchNorm that belongs to this layer.
        layer: the layer that this BatchNorm belongs to.
        head: whether it is fully connected.
        dense: its explicit matrix, once somebody asked for it.
    """

    step: Step
    order: int
    sources: tuple["Op | None", ...]
    reached: bool = False
    seen: bool = False
    merged: "Op | None" = None
    layer: "Op | None" = None
    head: bool = False
    dense: Dense | None = None

    @property
    def kind(self) -> str:
        """What the step is."""
        return self.step.kind

    @property
    def about(self) -> dict[str, Any]:
        """What the step says beside."""
        return self.step.about


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
        self.ops = self._read(net)
        self.rules: dict[Op, Rule | None] = {}
        self.largest = 0.0
        self._shares: dict[Any, Tensor] = {}
        self.x = x.clone().requires_grad_()
        with torch.enable_grad():
            self.logits = self._run(self.x)

    def relevance(self, composite: Composite, target: Tensor, *, one: bool = False) -> Tensor:
        """Relevance of x for the targets (B,); `largest` is then the most that stood at any op, in sum over a picture.

        Raises:
            RefusedError: the composite cannot be meant.
        """
        self.rules = self._assigned(composite)
        asked = torch.nn.functional.one_hot(target, self.logits.shape[1]).to(self.logits.dtype)
        seed = asked if one else asked * self.logits.detach()
        self.largest = float(seed.abs().sum(1).max())
        (R,) = torch.autograd.grad(self.logits, self.x, seed, retain_graph=True, materialize_grads=True)
        return R

    # -- what is found out -----------------------------------------------------------------------------

    def _read(self, net: Network) -> list[Op]:
        """The ops that the output depends on, in order."""
        made: dict[str, Op | None] = {"v0": None}
        ops: list[Op] = []
        for order, step in enumerate(net.steps):
            op = Op(step, order, tuple(made[r] for r in step.reads))
            op.seen = op.kind in WEIGHTED or any(source is not None and source.seen for source in op.sources)
            made[step.gives] = op
            ops.append(op)
        last = made[net.output]
        needed, reached = {last}, {last}
        for op in reversed(ops):
            if op in needed:
                needed.update(op.sources)
        for op in reversed(ops):
            if op in reached and op in needed:
                op.reached = True
                reached.update(source for source, part in zip(op.sources, _parts(op), strict=True) if part)
        ops = [op for op in ops if op in needed]
        _merge(ops)
        _find_heads(ops)
        return ops

    def _assigned(self, composite: Composite) -> dict[Op, Rule | None]:
        """The rule of every op; None is what the op does by itself."""
        reached = [op for op in self.ops if op.reached]
        meant = [(selector, rule, select(selector, reached)) for selector, rule in composite]
        return {op: _rule_of(op, meant) for op in reached}

    # -- the run ---------------------------------------------------------------------------------------

    def _run(self, x: Tensor) -> Tensor:
        values: dict[Op | None, Tensor] = {None: x}
        for op in self.ops:
            values[op] = self._value(op, [values[source] for source in op.sources])
        return values[self.ops[-1]]

    def _value(self, op: Op, inputs: list[Tensor]) -> Tensor:
        if op.kind in ("move", "stop"):
            return op.step.value(*inputs)
        plain = [v.detach() for v in inputs]
        value = op.step.value(*plain)

        def below(R: Tensor) -> Sequence[Tensor]:
            self.largest = max(self.largest, float(R.abs().flatten(1).sum(1).max()))
            return BELOW[op.kind](self, op, self.rules.get(op), plain, value, R)

        return Relevance.apply(value, below, *inputs)

    def share(self, op: Op, rule: Rule, x: Tensor, make: Callable[[Tensor], Tensor], R: Tensor) -> Tensor:
        """R_i = sum_j share_ij R_j, for x one row a picture."""
        key = (op, rule)
        if key not in self._shares:
            self._shares[key] = make((x * (1 + self.shake * torch.randn_like(x))).flatten(1))
        return torch.einsum("bij,bj->bi", self._shares[key], R.flatten(1)).view_as(x)


def _parts(op: Op) -> tuple[float, ...]:
    """The part of relevance that each value read may receive (1: some)."""
    if op.kind == "stop":
        return (0.0,)
    return factor_parts(op) if op.kind == "product" else (1.0,) * len(op.sources)


def factor_parts(op: Op) -> tuple[float, ...]:
    """Of two factors: a broadcast one is a gate and gets none; so does a sigmoid; two of a kind get half each."""
    whole = [shape == op.step.shapes[-1] for shape in op.step.shapes[:-1]]
    if whole.count(True) == 1:
        return tuple(map(float, whole))
    gates = [_is_sigmoid(source) for source in op.sources]
    return tuple(0.0 if gate else 1.0 for gate in gates) if gates.count(True) == 1 else (0.5, 0.5)


def _is_sigmoid(op: Op | None) -> bool:
    while op is not None and op.kind == "move" and len(op.sources) == 1:
        op = op.sources[0]
    return op is not None and "sigmoid" in op.about


def _merge(ops: list[Op]) -> None:
    """A BatchNorm that alone reads a layer's output belongs to the layer."""
    for op in ops:
        source = op.sources[0]
        if op.kind != "norm" or source is None or source.kind not in WEIGHTED or not source.about.get("merges", True):
            continue
        if sum(reader.sources.count(source) for reader in ops) == 1:
            op.layer, source.merged = source, op


def _find_heads(ops: list[Op]) -> None:
    """Linear ops; convolutions that cover their input; a last one of 1x1."""
    weighted = [op for op in ops if op.kind in WEIGHTED and op.reached]
    for op in weighted:
        last = op is weighted[-1] and op.about.get("pointwise", False)
        op.head = op.kind == "linear" or op.about["covers"] or last


def select(selector: Selector, ops: list[Op]) -> set[Op]:
    """The ops that a selector means, of those that relevance can come to."""
    name, *rest = selector
    if name in ("and", "or"):
        a, b = (select(each, ops) for each in rest)
        return a & b if name == "and" else a | b
    if name == "not":
        return {*ops} - select(rest[0], ops)
    if name in ("first", "last"):
        found = [op for op in ops if op in select(rest[1], ops)]
        return {*(found[: rest[0]] if name == "first" else found[max(len(found) - rest[0], 0) :])}
    if name == "path":
        found = {op for op in ops if fnmatchcase(op.step.path, rest[0])}
        if not found:
            raise RefusedError(f"no op is at {rest[0]}")
        return found
    if name == "before head":
        end = min((op.order for op in ops if op.head), default=len(ops))
        kinds = ("conv", "norm", "add", "average", "interpolate", "max")
        return {op for op in ops if op.kind in kinds and op.order < end and not op.head}
    kinds = {"any": None, "weighted": WEIGHTED, "head": WEIGHTED}.get(name, ASKED.get(name))
    return {op for op in ops if (kinds is None or op.kind in kinds) and (name != "head" or op.head)}


def _rule_of(op: Op, meant: list[tuple[Selector, Rule, set[Op]]]) -> Rule | None:
    if op.layer is not None:
        return None
    for selector, rule, found in meant:
        if op not in found:
            continue
        asked = asked_for(selector) if selector != STACK else {"conv", "norm", "add", "average", "max"}
        fits = op.kind in FITS.get(rule[0], WEIGHTED)
        if fits or (op.kind in ("average", "interpolate", "norm") and op.kind in asked):
            if rule[0] == "Flat" and op.kind in WEIGHTED and op.head:
                raise RefusedError("flat on a fully connected op")
            if rule[0] == "Pass" and op.step.shapes[-1] != op.step.shapes[0]:
                raise RefusedError("shapes differ")
            if op.kind == "interpolate" and rule[0] not in ("Epsilon", "Z", "Pass"):
                raise RefusedError("interpolation takes epsilon alone")
            return rule
        return None
    if op.kind in WEIGHTED:
        raise RefusedError("a layer without a rule")
    return None


# -- the rules -----------------------------------------------------------------------------------------


def rule_share(rule: Rule, x: Tensor, layer: Dense, area: int = 0) -> Tensor:
    """What the rule hands down, share_ij (B, i, j), straight from its formula."""
    name, *numbers = rule
    return FORMULAS[name](x, layer, area, *numbers)


def _alpha_beta(
    x: Tensor, layer: Dense, area: int, alpha: float, beta: float | None = None, bias: Any = True
) -> Tensor:
    beta = 1.0 - alpha if beta is None else beta
    if bias == "whole":
        return reference.alpha_beta_whole_bias(x, layer, alpha, beta)
    return reference.alpha_beta(x, layer, alpha, beta, bias=bias)


def _flat(x: Tensor, layer: Dense, area: int, padding: str = "real") -> Tensor:
    even = layer.real / area if padding == "kernel" else reference.flat(x, layer)
    return even.expand(len(x), -1, -1)


def _w_square(x: Tensor, layer: Dense, area: int, bias: bool = False) -> Tensor:
    b2 = layer.b**2 if bias else 0.0
    return divide(layer.w**2, (layer.w**2).sum(0) + b2).expand(len(x), -1, -1)


FORMULAS: dict[str, Callable[..., Tensor]] = {
    "Z": lambda x, layer, area: reference.z(x, layer),
    "Epsilon": lambda x, layer, area, eps: reference.epsilon(x, layer, eps),
    "ZPlus": lambda x, layer, area: reference.alpha_beta(x, layer, 1.0, 0.0),
    "AlphaBeta": _alpha_beta,
    "Gamma": lambda x, layer, area, gamma: reference.gamma(x, layer, gamma),
    "Flat": _flat,
    "WSquare": _w_square,
    "ZBox": lambda x, layer, area, low, high: reference.z_box(x, layer, low, high),
}


def weighted_below(
    judge: Reference, op: Op, rule: Rule, inputs: list[Tensor], value: Tensor, R: Tensor
) -> list[Tensor]:
    """A layer, with its BatchNorm if it has one."""
    if rule[0] == "Pass":
        return [R]
    layer = written_out(op)
    return [judge.share(op, rule, inputs[0], lambda x: rule_share(rule, x, layer, op.about["area"]), R)]


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
    """BatchNorm on its own is a layer of one input an output; merged, it has been told already."""
    if op.layer is not None or rule == ("Pass",):
        return [R]
    shape = op.step.shapes[0][1:]
    along = (-1, *[1] * (len(shape) - 1))
    scale, shift = (t.view(along).expand(shape).flatten() for t in scale_and_shift(op.about["norm"]))
    layer = Dense(torch.diag(scale), shift, torch.eye(len(scale), dtype=scale.dtype))
    rule = rule or ("Epsilon", SUMS)
    return [judge.share(op, rule, inputs[0], lambda x: rule_share(rule, x, layer, 1), R)]


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
    return [judge.share(op, rule, inputs[0], lambda x: rule_share(rule, x, layer), R)]


def max_below(
    judge: Reference, op: Op, rule: Rule | None, inputs: list[Tensor], value: Tensor, R: Tensor
) -> list[Tensor]:
    """The first winner takes all; under flat the window shares. What a window reads: a lone one wins it."""
    if rule == ("Pass",):
        return [R]
    reads, _ = pushed(op.step.value, op.step.shapes[0][1:])
    if rule is not None and rule[0] == "Flat":
        even = divide(reads, reads.sum(0))
        return [judge.share(op, ("Flat",), inputs[0], lambda x: even.expand(len(x), -1, -1), R)]
    return [judge.share(op, ("winner",), inputs[0], lambda x: reference.winner(x, reads), R)]


def add_below(
    judge: Reference, op: Op, rule: Rule | None, inputs: list[Tensor], value: Tensor, R: Tensor
) -> list[Tensor]:
    """To each term its share of the sum; a constant's goes to nobody, but it has none before the first layer."""
    terms = op.about["terms"]
    if (rule is not None and rule[0] == "Flat") or (len(terms) == 1 and not op.seen):
        return [_folded(R / len(terms), v) for v in inputs]
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
    "activation": same_below,
}
