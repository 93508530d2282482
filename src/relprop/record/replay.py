"""The replay: the record, run again, must give what the model gives, on the input and on the input plus a little noise.

It proves what no look at single calls can: that no number that depends on the input came past the record (from another
thread, through NumPy), and that the weights that ran are the weights that the rules will see.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from relprop.record.inputs import Inputs, plain
from relprop.record.recorder import Roots, undisturbed
from relprop.tape.tape import Node, Tape, Value, fill
from relprop.tape.trees import float_tensors, mapped, tensors_of

NOISE = 1e-2
"""Of the input's standard deviation."""


@dataclass(frozen=True)
class Replay:
    """How far the record is from the model, relative to the largest logit.

    Attributes:
        on_input: on the input itself; exactly 0 as long as every number came through the record.
        on_noise: on the input plus a little noise.
        bound: what rounding may leave.
    """

    on_input: float
    on_noise: float
    bound: float

    @property
    def ok(self) -> bool:
        """Whether the record is the model."""
        return self.on_input <= self.bound and self.on_noise <= self.bound


def replay(tape: Tape, model: Callable[..., Any], inputs: Inputs, roots: Roots) -> Replay:
    """Compare the record with the model; it costs three forward passes, of which two are the record's.

    Args:
        tape: what was recorded, not walked yet.
        model: what was recorded.
        inputs: its arguments.
        roots: finds what relevance starts from in what the model returned.
    """
    with undisturbed(inputs.device):
        given = [plain(t) for t in inputs.tensors]
        noisy = noise_added(given)
        on_input = gap(run_again(tape, given), [value.data for value in tape.outputs])
        theirs = list(roots(inputs.call(model, [t.clone() for t in noisy]), contextlib.nullcontext()))
        on_noise = gap(run_again(tape, noisy), theirs)
    dtypes = {value.data.dtype for value in (*tape.inputs, *tape.outputs) if value.data.is_floating_point()}
    return Replay(on_input, on_noise, 100 * max(torch.finfo(dtype).eps for dtype in dtypes))


def noise_added(given: Sequence[Tensor]) -> list[Tensor]:
    """The inputs plus a little noise; token ids are turned by one place instead."""
    generator = torch.Generator(device="cpu").manual_seed(0)
    noisy = []
    for x in given:
        if not x.is_floating_point():
            noisy.append(x.roll(1, -1))
            continue
        noise = torch.randn(x.shape, generator=generator, dtype=torch.float32).to(x)
        spread = x.std(correction=0)
        noisy.append(x + NOISE * torch.where(spread > 0, spread, 1.0) * noise)
    return noisy


def gap(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """The largest difference, relative to the largest number; infinite where shapes or what is finite differ."""
    return max(_gap(a, b) for a, b in zip(ours, theirs, strict=True))


def _gap(ours: Tensor, theirs: Tensor) -> float:
    if ours.shape != theirs.shape or not bool((ours.isfinite() == theirs.isfinite()).all()):
        return float("inf")
    scale = theirs.abs().amax().clamp(min=torch.finfo(theirs.dtype).tiny)
    return float(((ours - theirs).abs().amax() / scale).nan_to_num())


def run_again(tape: Tape, given: Sequence[Tensor]) -> list[Tensor]:
    """Make every recorded call again, in order, from other inputs; what relevance starts from."""
    held: dict[Value, Tensor] = {value: t.clone() for value, t in zip(tape.inputs, given, strict=True)}
    masks: dict[int, Tensor] = {}
    nodes = tape.whole or tape.nodes
    last = {value: node for node in nodes for value in node.inputs}
    derived = list(tape.derived)
    for node in nodes:
        while derived and derived[0].place <= node.index:
            made = derived.pop(0)
            if all(value in held for value in made.inputs):
                args, kwargs = fill(_with((made.args, made.kwargs), masks), [held[v] for v in made.inputs])
                masks |= dict(zip(map(id, made.results), tensors_of(made.func(*args, **kwargs)), strict=True))
        held.update(zip(node.outputs, _results(node, [held[v] for v in node.inputs], masks), strict=True))
        for value in node.inputs:
            if last[value] is node and value not in tape.outputs and not tape.derived:
                held.pop(value, None)
    return [held[value] for value in tape.outputs]


def _results(node: Node, inputs: list[Tensor], masks: dict[int, Tensor]) -> list[Tensor]:
    """What a call gives, with what was made of recorded values by comparisons made again."""
    if not masks or not any(id(constant.tensor) in masks for constant in node.constants):
        result = node.call(inputs)
    else:
        result = node.with_arguments(*_with((node.args, node.kwargs), masks)).call(inputs)
    return float_tensors(result) or tensors_of(result)


def _with(tree: Any, masks: dict[int, Tensor]) -> Any:
    return mapped(Tensor, lambda t: masks.get(id(t), t), tree)
