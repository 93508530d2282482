"""LSTM, GRU and plain recurrent networks as what they are made of: two linear layers a step, gates, sums.

The weights of torch's functions lie in one list, layer by layer and forwards before backwards: of the input, of the
state, then their biases where there are some, then the projection of the state where an LSTM has one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

State = tuple[Any, ...]
"""What goes from one step to the next: h, and c in an LSTM."""


@dataclass(frozen=True)
class Weights:
    """Of one layer in one direction."""

    w_input: Tensor
    w_state: Tensor
    b_input: Tensor | None = None
    b_state: Tensor | None = None
    w_projection: Tensor | None = None

    def of_input(self, x: Any) -> Any:
        """What the input adds to all gates."""
        return F.linear(x, self.w_input, self.b_input)

    def of_state(self, h: Any) -> Any:
        """What the state adds to all gates."""
        return F.linear(h, self.w_state, self.b_state)


Step = Callable[[Any, State, Weights], State]
"""From what the input adds to the gates, and the state, to the next state."""


def lstm_step(given: Any, state: State, weights: Weights) -> State:
    """C' = f c + i g and h' = o tanh(c')."""
    h, c = state
    i, f, g, o = (given + weights.of_state(h)).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return (h if weights.w_projection is None else F.linear(h, weights.w_projection)), c


def gru_step(given: Any, state: State, weights: Weights) -> State:
    """H' = (1 - z) n + z h with n = tanh(W x + r (U h))."""
    (h,) = state
    r, z, n = given.chunk(3, -1)
    r_state, z_state, n_state = weights.of_state(h).chunk(3, -1)
    r, z = torch.sigmoid(r + r_state), torch.sigmoid(z + z_state)
    return ((1 - z) * torch.tanh(n + r * n_state) + z * h,)


def plain_step(function: Callable[[Any], Any]) -> Step:
    """H' = f(W x + U h)."""

    def step(given: Any, state: State, weights: Weights) -> State:
        (h,) = state
        return (function(given + weights.of_state(h)),)

    return step


STEPS: dict[str, Step] = {
    "lstm": lstm_step,
    "gru": gru_step,
    "rnn_tanh": plain_step(torch.tanh),
    "rnn_relu": plain_step(torch.relu),
}


def unrolled(name: str) -> Callable[[Any, Sequence[Any], dict[str, Any]], Any]:
    """How the recorder makes a call of torch.lstm, torch.gru, ...: step by step."""

    def made(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        del func
        if kwargs or len(args) != 9 or not isinstance(args[3], bool) or (args[5] and args[6]):
            return NotImplemented  # packed sequences, dropout that is switched on
        x, state, flat, biased, layers, _, _, both, batch_first = args
        states = state if isinstance(state, (tuple, list)) else (state,)
        return _layers(
            STEPS[name], x.transpose(0, 1) if batch_first else x, states, flat, biased, layers, both, batch_first
        )

    return made


def _layers(
    step: Step, x: Any, states: Sequence[Any], flat: Any, biased: bool, layers: int, both: bool, batch_first: bool
) -> tuple[Any, ...]:
    directions = 1 + both
    weights = _weights(flat, layers * directions, biased)
    ends: list[State] = []
    for layer in range(layers):
        found = []
        for backwards in range(directions):
            at = layer * directions + backwards
            y, end = _along(step, x, tuple(state[at] for state in states), next(weights), backwards=bool(backwards))
            found.append(y)
            ends.append(end)
        x = torch.cat(found, -1) if both else found[0]
    last = tuple(torch.stack(parts) for parts in zip(*ends, strict=True))
    return (x.transpose(0, 1) if batch_first else x), *last


def _along(step: Step, x: Any, state: State, weights: Weights, *, backwards: bool) -> tuple[Any, State]:
    """One layer in one direction: h of every step, (T, B, H), and the last state."""
    given = weights.of_input(x).unbind(0)
    outputs = []
    for each in reversed(given) if backwards else given:
        state = step(each, state, weights)
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if backwards else outputs), state


def _weights(flat: Sequence[Tensor], number: int, biased: bool) -> Iterator[Weights]:
    """The weights of each layer and direction."""
    each = len(flat) // number
    for start in range(0, len(flat), each):
        w_input, w_state, *more = flat[start : start + each]
        b_input, b_state = more[:2] if biased else (None, None)
        projection = more[2 * biased :]
        yield Weights(w_input, w_state, b_input, b_state, projection[0] if projection else None)


def one_step(name: str) -> Callable[[Any, Sequence[Any], dict[str, Any]], Any]:
    """How the recorder makes a call of torch.lstm_cell, torch.gru_cell, ..."""

    def made(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        del func
        if kwargs:
            return NotImplemented
        x, state, *weights = args
        states = tuple(state) if isinstance(state, (tuple, list)) else (state,)
        of = Weights(*weights)
        end = STEPS[name](of.of_input(x), states, of)
        return end if len(end) > 1 else end[0]

    return made
