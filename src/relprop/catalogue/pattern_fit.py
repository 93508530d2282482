"""Patterns are fitted: one pass over data, sums in float64, as much memory as a few copies of the weights.

Kindermans et al. (2018). x is what a neuron sees, for a convolution every patch with the padding's zeros; y is its
output. Where a ReLU follows, the two-component estimator (eq. 8), elsewhere the linear one (eq. 4):

    a_+ = (E_+[xy] - E_+[x] E[y]) / (w^T (E_+[xy] - E_+[x] E[y])),    a = cov[x, y] / (w^T cov[x, y])

E_+ is the mean over the region where the neuron fires, E[y] the mean over all data. The paper writes y = w^T x, and
says that a bias contributes nothing; in both implementations by its authors a neuron fires where w^T x + b > 0, and
the denominators are those above (whether b is part of y makes no difference: it cancels). So w^T a = 1.

With a bias that denominator can be zero or negative: then it is the bias that makes the neuron fire, against its
inputs. BatchNorm, merged or folded, leaves many such neurons. "two-component-bias" is eq. 8 with the bias as one more
weight, of an input that is always 1: the denominator becomes E_+[y^2] - E_+[y] E[y], which is positive, and what the
bias has of the signal is lost to it, as in LRP. Without biases the two are the same.

A neuron whose denominator is zero (it never fires, or its output never varies) has no pattern: zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from relprop.catalogue.pattern_rules import keyed
from relprop.catalogue.patterns import ESTIMATORS, LINEAR, WITH_BIAS, Pattern, PatternError, Patterns
from relprop.ops.activation import BOUNDED
from relprop.ops.convolution import Conv
from relprop.ops.linear_map import Linear, NeuronMap, Product
from relprop.ops.weighted import map_and_weights, unbatched
from relprop.record.acceptance import Model
from relprop.record.prepare import recorded
from relprop.rules.layer import Kind
from relprop.support.errors import InputError
from relprop.support.fingerprint import weights_hash
from relprop.support.suggest import did_you_mean
from relprop.tape.tape import Node, Tape, Value

ROUNDING = 16
"""A denominator below so many units in the last place of its terms is rounding, and counts as zero."""


def fit_patterns(
    model: Model,
    batches: Iterable[Any],
    *,
    estimator: str = "two-component",
    progress: Callable[[int], None] = lambda _: None,
) -> Patterns:
    """Learn a network's patterns from data, for PatternNet and Pattern Attribution.

    Args:
        model: as for `relprop.attribute`. It is not changed.
        batches: inputs x, (B, ...), or tuples that begin with them: any data loader. Labels are not used. How the
            inputs are divided into batches changes the result by rounding alone.
        estimator: "two-component" or "two-component-bias" where a ReLU follows, and "linear" elsewhere; or "linear"
            everywhere. The first is the paper's; see above for networks with large biases.
        progress: told of the number of inputs after each batch.

    Returns:
        A pattern for every call of a weighted op that the inputs ran through.

    Raises:
        InputError: no inputs, no weighted op, an unknown estimator, or a model or input that cannot be explained.
        UnsupportedOp: as `relprop.attribute` does.

    Reference: Kindermans et al. (2018), eq. 4 and 8.
    """
    fitter = Fitter(model, estimator)
    for batch in batches:
        x = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
        fitter.add(x)
        progress(len(x))
    return fitter.patterns()


class Fitter:
    """Takes inputs batch by batch, and gives patterns at any time.

    Args:
        model: as for `fit_patterns`.
        estimator: likewise.

    Raises:
        InputError: an unknown estimator.
    """

    def __init__(self, model: Model, estimator: str = "two-component") -> None:
        if estimator not in ESTIMATORS:
            raise InputError(f"no estimator {estimator!r}{did_you_mean(estimator, ESTIMATORS)}")
        self.model = model
        self.estimator = estimator
        self.samples = 0
        self.sums: dict[str, Sums] = {}
        self._sha = weights_hash(model)

    @property
    def against(self) -> int:
        """How many neurons fire by their bias, against their inputs, so that the paper's estimator inverts them."""
        return sum(int((sums.denominator()[0] < 0).sum()) for sums in self.sums.values())

    def add(self, x: Tensor) -> None:
        """Count the inputs x, (B, ...), in.

        Raises:
            InputError, UnsupportedOp: as `fit_patterns`.
        """
        self._look(x, count=True)
        self.samples += len(x)

    def begin(self, x: Tensor) -> None:
        """See the layers on inputs x, (B, ...), and count nothing: fitters that begin alike round alike.

        Raises:
            InputError, UnsupportedOp: as `fit_patterns`.
        """
        self._look(x, count=False)

    def empty(self) -> Fitter:
        """Another fitter, which has begun as this one has, and has counted nothing."""
        other = Fitter(self.model, self.estimator)
        other.sums = {key: sums.empty() for key, sums in self.sums.items()}
        return other

    def _look(self, x: Tensor, count: bool) -> None:
        tape = recorded(self.model, x)
        readers: dict[Value, list[Node]] = {}
        for node in tape.nodes:
            for value in node.inputs:
                readers.setdefault(value, []).append(node)
        dtype = torch.promote_types(x.dtype, torch.float32)
        with torch.inference_mode(mode=False), torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            for key, node in keyed(tape.nodes):
                if key not in self.sums:
                    rectified = self.estimator != LINEAR and fires(node, tape, readers)
                    self.sums[key] = Sums.of(node, self.estimator if rectified else LINEAR, dtype)
                if count:
                    self.sums[key].add(node, dtype)

    def patterns(self) -> Patterns:
        """The patterns of all that was counted in.

        Raises:
            InputError: that was nothing, or the model has no weighted op, or its weights changed meanwhile.
        """
        if not self.samples:
            raise InputError("no inputs to fit patterns on: the batches are empty")
        if not self.sums:
            raise InputError("the model has no convolution or linear layer, so there are no patterns to fit")
        if weights_hash(self.model) != self._sha:
            raise InputError("the model's weights changed while its patterns were fitted; fit them again")
        layers = {key: Pattern(sums.pattern(key), sums.estimator) for key, sums in self.sums.items()}
        return Patterns(layers, self._sha, self.samples)


def fires(node: Node, tape: Tape, readers: dict[Value, list[Node]]) -> bool:
    """Whether all that reads a layer's output, perhaps moved or max-pooled first, is a ReLU."""

    def ends(value: Value) -> list[Node | None]:
        found: list[Node | None] = [None] if value is tape.output else []
        for reader in readers.get(value, []):
            through = reader.kind in (Kind.MOVE, Kind.MAX_POOL)
            found += [end for out in reader.outputs for end in ends(out)] if through else [reader]
        return found

    reached = ends(node.output)
    return bool(reached) and all(end is not None and is_relu(end) for end in reached)


def is_relu(node: Node) -> bool:
    """Whether an op is a ReLU: nothing below zero passes, and zero is its bound."""
    return node.op.name in ("relu", "relu6") or (node.op.name in BOUNDED and node.outputs[0].nonneg)


@dataclass
class Sums:
    """Of one layer, over inputs and positions, for O neurons with I inputs each; in float64.

    Those that count are the positions where the neuron fires, or (linear) all.

    Attributes:
        estimator: which of `ESTIMATORS` they are for.
        kind: of linear op.
        w: weight, BatchNorm included.
        shift: a number near E[y] that is taken off each y, (O,): it cancels, and float32 then holds x y well.
        n: how many outputs each neuron had.
        y: the sum of y - shift, (O,).
        fired, y_fired, yy: of those that count the number and the sums of y and y (y - shift), (O,).
        x, xy: over those that count the sums of x and x (y - shift), (O, I).
    """

    estimator: str
    kind: NeuronMap
    w: Tensor
    shift: Tensor
    n: int
    y: Tensor
    fired: Tensor
    y_fired: Tensor
    yy: Tensor
    x: Tensor
    xy: Tensor

    @classmethod
    def of(cls, node: Node, estimator: str, dtype: torch.dtype) -> Sums:
        """Of nothing yet."""
        kind, w, _ = map_and_weights(node)
        w = w.detach().to(dtype)
        w = w if node.merged is None else kind.scale(w, node.merged.scale.to(dtype))
        shape = by_neuron(kind, w).shape
        zeros = [torch.zeros(size, dtype=torch.float64, device=w.device) for size in [shape[:1]] * 4 + [shape] * 2]
        y = node.output.data.detach().to(dtype)
        shift = neurons_first(kind, y[None] if unbatched(node) else y).mean(1)
        return cls(estimator, kind, w, shift, 0, *zeros)

    def add(self, node: Node, dtype: torch.dtype) -> None:
        """Count the numbers of one call in."""
        x, y = (value.data.detach().to(dtype) for value in (node.inputs[0], node.output))
        if unbatched(node):
            x, y = x[None], y[None]
        counts = torch.ones_like(y) if self.estimator == LINEAR else (y > 0).to(dtype)
        shifted = y - self.shift.view(self.kind.channels(y.ndim))
        flat, flat_shifted, flat_counts = (neurons_first(self.kind, t).double() for t in (y, shifted, counts))
        self.n += flat.shape[1]
        self.y += flat_shifted.sum(1)
        self.fired += flat_counts.sum(1)
        self.y_fired += (flat * flat_counts).sum(1)
        self.yy += (flat * flat_shifted * flat_counts).sum(1)
        self.x += by_neuron(self.kind, products(self.kind, x, counts, self.w))
        self.xy += by_neuron(self.kind, products(self.kind, x, shifted * counts, self.w))

    @property
    def totals(self) -> dict[str, Tensor]:
        """What is added up, by name, and the shift."""
        named = {name: getattr(self, name) for name in ("shift", "y", "fired", "y_fired", "yy", "x", "xy")}
        return named | {"n": torch.tensor(self.n)}

    def empty(self) -> Sums:
        """Of nothing, with the same shift."""
        zeros = [torch.zeros_like(t) for t in (self.y, self.fired, self.y_fired, self.yy, self.x, self.xy)]
        return Sums(self.estimator, self.kind, self.w, self.shift, 0, *zeros)

    def put(self, totals: Mapping[str, Tensor]) -> None:
        """Count in what others have of other inputs: their `totals`."""
        others = {name: total.to(self.y.device) for name, total in totals.items()}
        moved = others["shift"].double() - self.shift.double()  # y - shift here is theirs and this more
        self.n += int(others["n"])
        self.y += others["y"] + others["n"] * moved
        self.yy += others["yy"] + others["y_fired"] * moved
        self.xy += others["xy"] + others["x"] * moved[:, None]
        self.fired += others["fired"]
        self.y_fired += others["y_fired"]
        self.x += others["x"]

    def pattern(self, key: str) -> Tensor:
        """The patterns in the weight's shape and type.

        Raises:
            PatternError: the layer's numbers are not finite.
        """
        d, terms = self.denominator()
        none = d.abs() <= ROUNDING * torch.finfo(self.w.dtype).eps * terms
        a = (self._mean(self.xy) - self._mean(self.x) * self._y) / d.masked_fill(none, torch.inf)[:, None]
        if not a.isfinite().all():
            raise PatternError(f"the numbers in layer {key} are not all finite, so it has no patterns")
        return as_weight(self.kind, a, self.w.shape).to(self.w.dtype)

    def denominator(self) -> tuple[Tensor, Tensor]:
        """What the patterns are divided by, (O,), and the size of the terms that it is the difference of."""
        if self.estimator == WITH_BIAS:
            first, second = self._mean(self.yy[:, None]), self._mean(self.y_fired[:, None]) * self._y
        else:
            w = by_neuron(self.kind, self.w).double()
            first, second = w * self._mean(self.xy), w * self._mean(self.x) * self._y
        return (first - second).sum(1), (first.abs() + second.abs()).sum(1)

    def _mean(self, total: Tensor) -> Tensor:
        """E_+, or E: the mean over those that count."""
        return total / self.fired.clamp(min=1)[:, None]

    @property
    def _y(self) -> Tensor:
        """E[y] less the shift, (O, 1)."""
        return (self.y / self.n)[:, None]


RIGHT = Product(right=True)
"""The product x w, whose weight has a neuron's inputs in a column."""

# Every kind of linear op as neurons with their inputs: weights (O, I), outputs (O, N).


def products(kind: NeuronMap, x: Tensor, s: Tensor, w: Tensor) -> Tensor:
    """Sum x_i s_j over inputs and positions, for all i that j is connected with; the shape of w."""
    if isinstance(kind, Conv):
        x = F.pad(x, kind.extra) if kind.extra else x
        found: Tensor = torch.ops.aten.convolution_backward(
            s,
            x,
            w,
            None,
            kind.stride,
            kind.padding,
            kind.dilation,
            kind.transposed,
            kind.output_padding,
            kind.groups,
            [False, True, False],
        )[1]
        return found
    if isinstance(kind, Linear):
        return _rows(s).mT @ _rows(x)
    if kind == RIGHT:
        return _rows(x).mT @ _rows(s)
    return neurons_first(kind, s) @ x.movedim(-2, 0).flatten(1).mT


def by_neuron(kind: NeuronMap, w: Tensor) -> Tensor:
    """A weight as (O, I)."""
    if isinstance(kind, Conv):
        return _swapped(w, kind.groups).flatten(1) if kind.transposed else w.flatten(1)
    return w.mT if kind == RIGHT else w


def as_weight(kind: NeuronMap, rows: Tensor, shape: Sequence[int]) -> Tensor:
    """What `by_neuron` gave, in the weight's shape again."""
    if not isinstance(kind, Conv):
        return by_neuron(kind, rows).contiguous()
    if not kind.transposed:
        return rows.view(shape)
    inputs, outputs = shape[0] // kind.groups, shape[1]
    return _swapped(rows.view(kind.groups * outputs, inputs, *shape[2:]), kind.groups)


def _swapped(w: Tensor, groups: int) -> Tensor:
    """(groups A, B, ...) to (groups B, A, ...): in a transposed convolution inputs come first, group by group."""
    grouped: Tensor = w.unflatten(0, (groups, -1))
    return grouped.transpose(1, 2).flatten(0, 1)


def neurons_first(kind: NeuronMap, y: Tensor) -> Tensor:
    """Outputs as (O, N)."""
    if isinstance(kind, Conv):
        return y.transpose(0, 1).flatten(1)
    if isinstance(kind, Linear) or kind == RIGHT:
        return _rows(y).mT
    return y.movedim(-2, 0).flatten(1)


def _rows(t: Tensor) -> Tensor:
    return t.reshape(-1, t.shape[-1])
