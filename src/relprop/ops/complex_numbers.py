"""Complex numbers between real ones: a spectrum, its parts, its absolute values, and what is transformed back.

No relevance stands on a complex number. From the first real numbers after it it goes at once to the last real ones
before it: parts of a transform are sums of those with constant weights, an absolute value is the length of two such
sums. Both grow as their input does, so Euler's identity tells what each number gives (`ops.homogeneous`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from relprop.ops.homogeneous import of_degree
from relprop.ops.lines import EPSILON
from relprop.ops.remedies import COMPLEX
from relprop.rules.layer import Kind
from relprop.tape.owners import in_order
from relprop.tape.tape import Node, Slot
from relprop.tape.trees import mapped, tensors_of

ENDS = frozenset("real imag view_as_real abs fft_irfft fft_irfft2 fft_irfftn fft_hfft istft".split())
"""What gives real numbers for complex ones, twice as large for ones that are."""

TRANSFORMS = frozenset(
    "fft_fft fft_ifft fft_rfft fft_ihfft fft_fft2 fft_ifft2 fft_rfft2 fft_fftn fft_ifftn fft_rfftn fft_fftshift "
    "fft_ifftshift stft complex view_as_complex conj conj_physical resolve_conj resolve_neg sum mean neg mul div "
    "matmul add sub contiguous to".split()
)
"""What is linear, beside moves, as long as one value goes into a product."""


@dataclass(frozen=True)
class Given:
    """Stands in a step's arguments for one of the real values, or for a result of a step before it."""

    step: int
    k: int


Step = tuple[Any, Any, Any]
"""A function, its arguments and keywords."""


def through_complex(*values: Tensor, steps: Sequence[Step]) -> Any:
    """All steps, of real values."""
    made: list[Sequence[Tensor]] = [values]
    result: Any = None
    for function, args, kwargs in steps:
        given, named = mapped(Given, lambda each: made[each.step][each.k], (args, kwargs))
        result = function(*given, **named)
        made.append(tensors_of(result))
    return result


def goes_through_complex(node: Node) -> bool:
    """Whether a call makes real numbers of complex ones."""
    return any(value.data.is_complex() for value in node.inputs) and all(
        value.data.is_floating_point() for value in node.outputs
    )


def begun_at_real(node: Node) -> None:
    """Let a call that ends with real numbers take the last real ones before it, or say why it has no rule."""
    node.problem = COMPLEX
    nodes = _between(node)
    if node.op.name not in ENDS or nodes is None:
        return
    real = list(dict.fromkeys(value for each in nodes for value in each.inputs if not value.data.is_complex()))
    places = {value: Given(0, k) for k, value in enumerate(real)}
    steps: list[Step] = []
    for each in nodes:
        stands = [places[value] for value in each.inputs]
        args, kwargs = mapped(Slot, lambda slot, stands=stands: stands[slot.k], (each.args, each.kwargs))  # type: ignore[misc]
        steps.append((each.func, args, kwargs))
        places |= {value: Given(len(steps), k) for k, value in enumerate(each.outputs)}
    joined = replace(
        node,
        op=replace(node.op, kind=Kind.FUNCTION, hand_down=of_degree(1), default=EPSILON, refuse=None, receivers=None),
        func=through_complex,
        args=tuple(Slot(k) for k in range(len(real))),
        kwargs={"steps": tuple(steps)},
        inputs=tuple(real),
        constants=tuple(constant for each in nodes for constant in each.constants),
        problem="",
    )
    joined.problem = _not_alone(joined)
    for name in ("op", "func", "args", "kwargs", "inputs", "constants", "problem"):
        setattr(node, name, getattr(joined, name))
    if not node.problem:
        for value in node.outputs:
            value.owners, value.obscure = in_order(value.owners.batch, len(value.shape)), False
            value.after_weighted = any(each.after_weighted for each in real)


def _between(node: Node) -> list[Node] | None:
    """The calls on complex numbers that lead to this one, in order, and itself; None if one is not linear."""
    found, open_ = {node.index: node}, [*node.inputs]
    while open_:
        value = open_.pop()
        if not value.data.is_complex():
            continue
        source = value.source
        if source is None or source.inplace or not (source.kind == Kind.MOVE or source.op.name in TRANSFORMS):
            return None
        if source.op.name in ("mul", "div", "matmul") and len(source.inputs) > 1:
            return None
        if source.index not in found:
            found[source.index] = source
            open_ += source.inputs
    return [found[index] for index in sorted(found)]


def _not_alone(node: Node) -> str:
    """Why a joined call gives no picture its own numbers, twice as large for a picture twice as large, or ""."""
    batch = node.outputs[0].owners.batch
    first = all(value.owners.first_axis_of(value.shape) and not value.obscure for value in node.inputs)
    if batch > 1 and not (first and all(value.shape[:1] == (batch,) for value in node.outputs)):
        return "it mixes the pictures of a batch; explain one picture at a time"
    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(value.shape, generator=generator).to(value.data) for value in node.inputs]
    factors = [_of_pictures(batch, t) for t in given]
    once, more = (tensors_of(node.call(t)) for t in (given, [f * t for f, t in zip(factors, given, strict=True)]))
    nothing = tensors_of(node.call([torch.zeros_like(t) for t in given]))
    if any(bool(t.any()) for t in nothing):
        return "constants stand among its complex numbers, whose share has no rule; add them to the real numbers before"
    pairs = zip(once, more, strict=True)
    alike = all(torch.allclose(_of_pictures(batch, a) * a, b, rtol=1e-3, atol=1e-4) for a, b in pairs)
    return "" if alike else "it mixes the pictures of a batch; explain one picture at a time"


def _of_pictures(batch: int, like: Tensor) -> Tensor:
    """A factor for each picture."""
    if batch == 1:
        return like.new_full([1] * like.ndim, 2.0)
    return torch.arange(1, batch + 1, dtype=like.dtype, device=like.device).view(-1, *[1] * (like.ndim - 1))
