"""A recorded forward pass: values and the nodes that made them, in order of execution."""

from __future__ import annotations

import inspect
import operator
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch

from relprop.tape.trees import mapped

if TYPE_CHECKING:
    from torch import Tensor

    from relprop.ops.table import Op


@dataclass(eq=False)
class Value:
    """A tensor of the forward pass that depends on the input.

    Attributes:
        data: what the walk reads: an alias of the model's own tensor, or a copy from before the model
            overwrote it.
        version: of that tensor when it was recorded; another one at the walk means somebody wrote to it.
        samples: which picture each position belongs to, with size 1 along every axis that does not
            matter: (B, 1, 1, 1) for the usual (B, C, H, W).
        nonneg: whether it is proved to hold no negative number.
        rectified: whether `data` is what an in-place ReLU, its only reader, made of it.
        seen: whether a weighted op lies between the input and it.
        obscure: whether an op with a problem lies between the input and it, so that `samples` says nothing.
    """

    data: Tensor
    version: int
    samples: Tensor
    nonneg: bool = False
    rectified: bool = False
    seen: bool = False
    obscure: bool = False
    shape: torch.Size = field(init=False)
    _source: weakref.ref[Node] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.shape = self.data.shape

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
        constants: unrecorded tensors among the arguments with their versions.
        head: whether it is a fully connected op, by computation.
        merged: scale, shift and output of a BatchNorm that the rules see as part of this weighted op.
        into: the weighted op that this BatchNorm was merged into.
        reached: whether relevance can come to it.
        noted: what the op's own way of running it noted for the way down.
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
    constants: tuple[tuple[Tensor, int], ...] = ()
    head: bool = False
    merged: tuple[Tensor, Tensor, Value] | None = None
    into: Node | None = None
    reached: bool = True
    noted: Any = None

    @property
    def kind(self) -> str:
        """The kind of op, which selectors ask for."""
        return self.op.kind

    @property
    def where(self) -> str:
        """The op and its module path, for messages."""
        return f"{self.op.name} in '{self.path}'" if self.path else self.op.name

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

    def argument(self, name: str, position: int, default: Any = None) -> Any:
        """An argument of the call by keyword or position."""
        for spelling in (name, *NUMPY_NAMES.get(name, ())):
            if spelling in self.kwargs:
                return self.kwargs[spelling]
        return self.args[position] if position < len(self.args) else default


def fill(tree: Any, tensors: Sequence[Tensor]) -> Any:
    """The arguments of a call with tensors in the place of the slots."""
    return mapped(Slot, lambda slot: tensors[slot.k], tree)


@dataclass(eq=False)
class Tape:
    """One forward pass.

    Attributes:
        nodes: all recorded calls, in order of execution.
        input: the value that relevance is wanted for, (B, ...).
        output: the value that relevance starts from, (B, C).
        batch: the number of pictures B.
    """

    nodes: list[Node]
    input: Value
    output: Value
    batch: int

    def path_to_output(self) -> list[Node]:
        """The nodes that the output depends on, in order of execution."""
        needed: set[Value] = {self.output}
        found: list[Node] = []
        for node in reversed(self.nodes):
            if any(value in needed for value in node.outputs):
                found.append(node)
                needed.update(node.inputs)
        return found[::-1]

    def reached(self) -> set[Node]:
        """The nodes that relevance can come to: not those that only open a gate, or feed a detached value."""
        wanted: set[Value] = {self.output}
        found: set[Node] = set()
        for node in reversed(self.nodes):
            if any(value in wanted for value in node.outputs):
                found.add(node)
                gets = node.op.receivers(node) if node.op.receivers else [True] * len(node.inputs)
                wanted.update(v for v, receives in zip(node.inputs, gets, strict=True) if receives)
        return found


def per_axis(value: Any, axes: int) -> list[int]:
    """A setting that torch takes as one number or one per axis; NumPy's numbers and tensors of one are numbers too."""
    try:
        return [operator.index(value)] * axes
    except TypeError:
        values = [*map(operator.index, value)]
    return values * axes if len(values) == 1 else values


@lru_cache(maxsize=512)
def parameter_position(func: Callable[..., Any], name: str) -> int | None:
    """At which position a function written in Python takes a parameter; None if unknown."""
    try:
        names = list(inspect.signature(func).parameters)
    except (TypeError, ValueError):
        return None
    return names.index(name) if name in names else None
