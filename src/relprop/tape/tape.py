"""A recorded forward pass: values and the nodes that made them, in order of execution."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

import torch
from torch import Tensor

from relprop.rules.layer import Kind, Rule, Share
from relprop.support.errors import RelpropError
from relprop.tape.constants import Constant
from relprop.tape.owners import Owners
from relprop.tape.trees import mapped
from relprop.tape.visit import Visit


@dataclass(eq=False)
class Value:
    """A tensor of the forward pass that depends on the input.

    Attributes:
        data: what the walk reads: an alias of the model's own tensor, or a copy from before the model
            overwrote it.
        version: of that tensor when it was recorded; another one at the walk means somebody wrote to it.
        owners: which picture each position belongs to.
        low, high: proved bounds of its numbers.
        real: where its numbers come from the input and are no constants such as padding, broadcastable to it;
            None: everywhere.
        rectified: whether `data` is what an in-place ReLU, its only reader, made of it.
        after_weighted: whether a weighted op, an embedding or a product of matrices lies between the input and it.
        obscure: whether an op with a problem lies between the input and it, so that `owners` says nothing.
    """

    data: Tensor
    version: int
    owners: Owners
    low: float = -math.inf
    high: float = math.inf
    real: Tensor | None = None
    rectified: bool = False
    after_weighted: bool = False
    obscure: bool = False
    shape: torch.Size = field(init=False)
    _source: weakref.ref[Node] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.shape = self.data.shape

    @property
    def nonneg(self) -> bool:
        """Whether it is proved to hold no negative number."""
        return self.low >= 0

    @property
    def bounded(self) -> bool:
        """Whether both of its bounds are finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def source(self) -> Node | None:
        """The node that made it, None for the input; the tape alone holds it, and is freed as soon as it is done."""
        return None if self._source is None else self._source()

    @source.setter
    def source(self, node: Node) -> None:
        self._source = weakref.ref(node)


NUMPY_NAMES = {"dim": ("axis",), "keepdim": ("keepdims",), "input": ("x", "a", "x1"), "other": ("x2",)}
"""Names that torch takes for an argument besides its own."""


@dataclass(frozen=True)
class Slot:
    """Where the k-th recorded input stood in the arguments of a call."""

    k: int


class OwnersGo(StrEnum):
    """How the owners of an op's inputs come to its outputs."""

    SAME = "same"
    """Each number stays where it was."""
    IMAGE = "image"
    """The axes of space, and those of channels, are put together."""
    LAST = "last"
    """The last axis is put together."""
    MATRIX = "matrix"
    """The last axis is put together, or the one before it where the value stands on the right."""
    MOVED = "moved"
    """Numbers move, and their owners with them."""
    REDUCED = "reduced"
    """Some axes are put together."""
    BROADCAST = "broadcast"
    """Numbers of several values are put together one by one."""
    CONTRACTED = "contracted"
    """The last axis of one value is put together with the last but one of another."""
    ATTENDED = "attended"
    """The axis of tokens of values is put together by weights that queries and keys make."""
    FIRST = "first"
    """All axes but the first are put together, whatever becomes of them."""
    SUMMED = "summed"
    """Numbers are added up at places that the call names."""
    LOOKED_UP = "looked up"
    """Each number becomes a row of them."""


HandDown = Callable[["Node", Rule, "list[Tensor]", Visit], Share]
"""Relevance of each output, (T, *shape), to the relevance of each input and where the rest went."""


Bounds = tuple[float, float]


def unbounded(node: Node) -> Bounds:
    """Nothing is known of the output."""
    del node
    return -math.inf, math.inf


def never(node: Node) -> bool:
    """Not so, for any call."""
    del node
    return False


@dataclass(frozen=True)
class Op:
    """What the engine knows of a function.

    Attributes:
        name: as plans, ledgers and errors show it.
        kind: what selectors ask for.
        hand_down: hands relevance down; None where there is nothing to hand down.
        default: the rule where the composite gives none; None: the composite must give one.
        owners: how the axis of pictures goes through.
        bounds: the least and the greatest number that a call's output is proved to lie between.
        refuse: a reason why this very call cannot be explained, or None.
        receivers: which inputs of a call are handed relevance; None: all of them.
        loses: whether outputs can stem from constants or padding.
        form: whether arguments after the first give nothing but a shape or a type, so that a constant
            first argument makes a constant.
        run: makes a recorded call, and may note on the node what relevance will need.
        of_two: what the function is where two or more recorded values go into it.
        merges: whether rules can see this very call as part of the weighted op that it reads.
        expand: makes a call by other functions, from function, arguments and keywords, or gives NotImplemented; the
            recorder records those in its place.
        gates: whether a call that is refused may still be part of a gate, where no relevance comes to it.
    """

    name: str
    kind: Kind
    hand_down: HandDown | None = None
    default: Rule | None = None
    owners: OwnersGo = OwnersGo.SAME
    bounds: Callable[[Node], Bounds] = unbounded
    refuse: Callable[[Node], str | None] | None = None
    receivers: Callable[[Node], list[bool]] | None = None
    loses: bool = False
    form: bool = False
    run: Callable[[Node, Any, Any], Any] | None = None
    of_two: Op | None = None
    merges: Callable[[Node], bool] = never
    expand: Callable[[Any, Sequence[Any], dict[str, Any]], Any] | None = None
    gates: bool = False


class Merged(NamedTuple):
    """A BatchNorm that the rules see as part of the weighted op before it: y = scale z + shift, and y's value."""

    scale: Tensor
    shift: Tensor
    output: Value


@dataclass(eq=False)
class Node:
    """One call of one torch function.

    Attributes:
        index: its place in the order of execution.
        op: what the table says of it.
        func: the function object.
        path: module path of the call, "" for the model itself.
        args, kwargs: the arguments, recorded tensors replaced by `Slot`.
        inputs: the recorded values, in the order of their slots.
        outputs: the recorded results.
        inplace: whether the call wrote into its first argument.
        problem: why relevance cannot pass here, "" if it can.
        constants: unrecorded tensors among the arguments.
        head: whether it is a fully connected op, by computation.
        merged: the BatchNorm that the rules see as part of this weighted op.
        into: the weighted op that this BatchNorm was merged into.
        reached: whether relevance can come to it.
        opened: the composites by whose rules, which go through gates, it can.
        beyond: whether a function of the output made the call, beyond the model.
        noted: what the op's own way of running it noted for the way down.
        one_signal: whether an addition's terms are all multiples of one value, once that was asked.
    """

    index: int
    op: Op
    func: Any
    path: str
    args: Sequence[Any]
    kwargs: dict[str, Any]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...] = ()
    inplace: bool = False
    problem: str = ""
    constants: tuple[Constant, ...] = ()
    head: bool = False
    merged: Merged | None = None
    into: Node | None = None
    reached: bool = True
    opened: frozenset[Any] = frozenset()
    beyond: bool = False
    noted: Any = None
    one_signal: bool | None = None

    @property
    def kind(self) -> Kind:
        """The kind of op, which selectors ask for."""
        return self.op.kind

    @property
    def where(self) -> str:
        """The op and its module path, for messages."""
        return f"{self.op.name} in '{self.path}'" if self.path else self.op.name

    @property
    def output(self) -> Value:
        """What the rules see as its output: its own, or that of the BatchNorm that was merged into it."""
        return self.outputs[0] if self.merged is None else self.merged.output

    def call(self, tensors: Sequence[Tensor], dtype: torch.dtype | None = None) -> Any:
        """Make the call again on other tensors; an in-place op works on a copy, which it returns.

        Args:
            tensors: what stands in the slots now.
            dtype: the precision that floating-point constants are raised to, if any.
        """
        tensors = list(tensors)
        first = self.args[0] if self.args else None
        if self.inplace and isinstance(first, Slot):
            tensors[first.k] = tensors[first.k].clone()
        args, kwargs = self.args, self.kwargs
        if dtype is not None and self.constants:
            args, kwargs = mapped(torch.Tensor, lambda t: t.to(dtype) if t.is_floating_point() else t, (args, kwargs))
        args, kwargs = fill((args, kwargs), tensors)
        if self.inplace and not isinstance(first, Slot):
            args = (args[0].clone(), *args[1:])
        result = self.func(*args, **kwargs)
        return args[0] if result is None else result

    def with_arguments(self, args: Sequence[Any], kwargs: dict[str, Any]) -> Node:
        """The same call with other constants."""
        return replace(self, args=args, kwargs=kwargs)

    def argument(self, name: str, position: int, default: Any = None) -> Any:
        """An argument of the call by keyword or position."""
        for spelling in (name, *NUMPY_NAMES.get(name, ())):
            if spelling in self.kwargs:
                return self.kwargs[spelling]
        return self.args[position] if position < len(self.args) else default

    def release(self) -> None:
        """Forget what no node before it needs: memory falls as relevance goes down."""
        done = [] if self.into is not None else [*self.outputs]
        if self.merged is not None:
            done.append(self.merged.output)
        for value in done:
            value.data = value.data.new_empty(0)
        self.args, self.kwargs, self.constants, self.merged, self.noted = (), {}, (), None, None


def fill(tree: Any, tensors: Sequence[Tensor]) -> Any:
    """The arguments of a call with tensors in the place of the slots."""
    return mapped(Slot, lambda slot: tensors[slot.k], tree)


class Derived(NamedTuple):
    """A call that made masks or indices of recorded values, or numbers of those: nothing that relevance passes.

    Attributes:
        place: how many nodes were recorded before it.
        func: the function.
        args, kwargs: the arguments, recorded tensors replaced by `Slot`.
        inputs: the recorded values, in the order of their slots.
        results: the tensors that it made.
    """

    place: int
    func: Any
    args: Any
    kwargs: Any
    inputs: tuple[Value, ...]
    results: tuple[Tensor, ...]


@dataclass(eq=False)
class Tape:
    """One forward pass.

    Attributes:
        nodes: recorded calls, in order of execution: all of them, or those that the outputs depend on.
        inputs: the values that relevance is wanted for, (B, ...).
        outputs: the values that relevance starts from: logits (B, C), or what a function made of them, (B,).
        batch: the number of pictures B.
        doubts: what the record could not see of where constants come from: a replay will tell whether they
            depend on the input.
        derived: calls that made masks or indices of recorded values, in order.
        whole: all recorded calls, where a replay needs more than those that the outputs depend on.
        places: the outputs of the modules that were asked for, by their paths.
        consumed: whether `consume` was called.
    """

    nodes: list[Node]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    batch: int
    doubts: list[Node] = field(default_factory=list)
    derived: list[Derived] = field(default_factory=list)
    whole: list[Node] = field(default_factory=list)
    places: dict[str, Value] = field(default_factory=dict)
    consumed: bool = False

    @property
    def input(self) -> Value:
        """The first of the inputs."""
        return self.inputs[0]

    @property
    def output(self) -> Value:
        """The first of the outputs."""
        return self.outputs[0]

    def path_to_output(self) -> list[Node]:
        """The nodes that the outputs depend on, in order of execution."""
        return self._leading_to_output(lambda node: [True] * len(node.inputs))

    def reached(self, opened: Collection[Node] = ()) -> set[Node]:
        """The nodes that relevance can come to: not those that only open a gate, or feed a detached value.

        Args:
            opened: nodes whose gates take relevance as well.
        """
        for node in self.nodes:
            receivers(node)  # in this order, what an addition knows of the one before it need not be asked again
        return set(
            self._leading_to_output(lambda node: [True] * len(node.inputs) if node in opened else receivers(node))
        )

    def _leading_to_output(self, follow: Callable[[Node], list[bool]]) -> list[Node]:
        wanted: set[Value] = set(self.outputs)
        found: list[Node] = []
        for node in reversed(self.nodes):
            if any(value in wanted for value in node.outputs):
                found.append(node)
                wanted.update(v for v, followed in zip(node.inputs, follow(node), strict=True) if followed)
        return found[::-1]

    def consume(self) -> Iterator[Node]:
        """The nodes from the output to the input, each forgotten, with its numbers, when the next one is asked for.

        Raises:
            RelpropError: the tape was consumed before.
        """
        if self.consumed:
            raise RelpropError("this recorded pass was walked before, and holds no numbers any more; record it again")
        self.consumed = True
        self.whole, self.derived = [], []
        while self.nodes:
            node = self.nodes.pop()
            yield node
            node.release()


def receivers(node: Node) -> list[bool]:
    """Which inputs of a call are handed relevance."""
    return node.op.receivers(node) if node.op.receivers else [True] * len(node.inputs)
