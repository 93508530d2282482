"""Methods that are functions (model, x, target): what they are called with, whatever the model takes and returns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from relprop.catalogue.looked_up import LookedUp, looked_up
from relprop.catalogue.names import Function
from relprop.record.acceptance import Model
from relprop.record.inputs import Inputs
from relprop.record.logits import Output, chosen, logits_of, rows_of
from relprop.record.recorder import undisturbed
from relprop.support.errors import InputError
from relprop.tape.trees import mapped, tensors_of
from relprop.targets import Starts, is_function, value_of


class AsLogits(nn.Module):
    """A model seen as one tensor in, rows of logits (B, C) out, for functions that know of nothing else.

    Args:
        model: the model.
        inputs: its arguments; where several are explained, they are laid side by side as (B, N).
        output: which of several outputs is meant.
        function: a target of the user's own, whose value is the only logit; None: the logits are the model's.
    """

    def __init__(self, model: Model, inputs: Inputs, output: Output, function: Any = None) -> None:
        super().__init__()
        self.model = model
        self.inputs = inputs
        self.output = output
        self.function = function
        self.train(getattr(model, "training", False))

    def named_modules(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Module]]:
        """The model's own modules by their own paths, which options of methods name."""
        if isinstance(self.model, nn.Module):
            yield from self.model.named_modules(*args, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """Rows of logits."""
        inputs = self.inputs
        arguments = inputs.arguments(parted(x, inputs))
        if self._of_versions(x):
            if inputs.batch > 1:
                raise SeveralVersionsError
            arguments = mapped(Tensor, lambda t: t.expand(len(x), *t.shape[1:]) if len(t) == 1 else t, arguments)
        returned = inputs.call_with(self.model, arguments)
        if self.function is None:
            return rows_of(logits_of(returned, self.output), len(x))
        return value_of(self.function, chosen(returned, self.output), len(x))[:, None]

    def _of_versions(self, x: Tensor) -> bool:
        """Whether these may be versions of some pictures, and something else belongs to each picture of the batch."""
        fixed = isinstance(self.inputs, LookedUp) or bool(tensors_of(self.inputs.whole))
        return fixed and (len(x) != self.inputs.batch or not torch.equal(x.detach(), joined(self.inputs)))


class SeveralVersionsError(InputError):
    """A method runs versions of some pictures of a batch, and nobody can tell of which."""


def joined(inputs: Inputs) -> Tensor:
    """The explained inputs as one tensor: itself, or all side by side, (B, N)."""
    if len(inputs.tensors) == 1:
        return inputs.tensors[0]
    return torch.cat([t.reshape(len(t), -1) for t in inputs.tensors], 1)


def parted(x: Tensor, inputs: Inputs) -> list[Tensor]:
    """The explained inputs out of one tensor (..., as `joined` made it)."""
    if len(inputs.tensors) == 1:
        return [x]
    sizes = [t[0].numel() for t in inputs.tensors]
    pieces = x.split(sizes, -1)
    shaped = zip(pieces, inputs.tensors, strict=True)
    return [piece.reshape(*piece.shape[:-1], *t.shape[1:]).to(t.dtype) for piece, t in shaped]


def by_functions(functions: Mapping[str, Function], model: Model, inputs: Inputs, starts: Starts) -> dict[str, Any]:
    """Relevance (T, B, ...) of each explained input, in the structure of x, by every method that is a function.

    Of token ids a function gets the rows that embeddings look up for them, (B, L, D), and a model that takes those; the
    relevance of a token is the sum over its row.

    Raises:
        InputError: a function returned something else than a tensor of x's shape, or token ids are explained beside
            other inputs.
    """
    if not functions:
        return {}
    if all(t.is_floating_point() for t in inputs.tensors):
        seen = inputs
    elif len(inputs.tensors) == 1:
        seen = looked_up(model, inputs)
    else:
        raise InputError(
            f"{', '.join(map(repr, functions))} cannot explain token ids, which have no gradient, beside other inputs "
            f"({', '.join(inputs.names)}); name one, of=..., use an LRP method, or explain the embeddings "
            f"(inputs_embeds)"
        )
    with torch.inference_mode(mode=False):  # tensors of that mode cannot be differentiated by or with
        x = joined(seen).clone()
    found = {}
    for name, function in functions.items():
        maps = torch.stack([_of_target(name, function, model, x, seen, starts, t) for t in range(len(starts.each))])
        each = parted(maps, seen)
        found[name] = inputs.like([seen.per_token(each)] if isinstance(seen, LookedUp) else each)
    return found


def _as_function(starts: Starts, t: int, texts: slice) -> Any:
    """A target that is no class, as a function of the output of some texts, or of versions of one."""
    if t not in starts.picks:
        return starts.each[t] if is_function(starts.each[t]) else None
    pick = starts.picks[t].of(texts)

    def of_token(y: Any) -> Tensor:
        return pick.value(logits_of(y))

    return of_token


def _of_target(
    name: str, function: Function, model: Model, x: Tensor, inputs: Inputs, starts: Starts, t: int
) -> Tensor:
    """Relevance of x, (B, ...), for one of the targets.

    One picture at a time where a method runs several versions of a picture, and other inputs belong to each.
    """
    with contextlib.suppress(SeveralVersionsError):
        return _by_one(name, function, model, x, inputs, starts, t, slice(None))
    maps = []
    for b in range(inputs.batch):
        at, one = slice(b, b + 1), inputs.row(b)
        _demand_the_same_alone(name, model, x[at], one, starts, t, b)
        maps.append(_by_one(name, function, model, x[at], one, starts, t, at))
    return torch.cat(maps)


def _demand_the_same_alone(name: str, model: Model, x: Tensor, inputs: Inputs, starts: Starts, t: int, b: int) -> None:
    """Refuse a picture whose output is another one where its part of all inputs goes into the model alone."""
    at = slice(b, b + 1)
    with undisturbed(x.device):
        logits = AsLogits(model, inputs, starts.output, _as_function(starts, t, at))(x)
        alone = logits[0, max(int(starts.indices[t, b]), 0) if logits.shape[1] > 1 else 0]
    together = starts.values()[t, b]
    if not torch.isclose(alone.double(), together.double(), rtol=1e-3, atol=1e-4):
        raise InputError(
            f"{name} runs several versions of a picture, one picture of a batch after the other; alone picture {b} "
            f"gives {float(alone):.5g} and in the batch {float(together):.5g}: explain one picture at a time"
        )


def _by_one(
    name: str, function: Function, model: Model, x: Tensor, inputs: Inputs, starts: Starts, t: int, texts: slice
) -> Tensor:
    """Relevance of x, which is some texts of all, by one call of the function."""
    index, own = starts.indices[t][texts], _as_function(starts, t, texts)
    plain = inputs.alone and own is None and starts.output is None and starts.rows_as_returned
    seen = model if plain else AsLogits(model, inputs, starts.output, own)
    with torch.inference_mode(mode=False):  # of its own, to write into; of that mode none could be differentiated
        x_of_its_own, index_of_its_own = x.clone(), index.clone() if own is None else torch.zeros_like(index)
    R = function(seen, x_of_its_own, index_of_its_own)
    if not isinstance(R, Tensor) or R.shape != x.shape:
        got = tuple(R.shape) if isinstance(R, Tensor) else type(R).__name__
        raise InputError(f"method {name!r} returned {got}, and must return a tensor of x's shape {tuple(x.shape)}")
    return R.detach().to(x.device, torch.promote_types(x.dtype, torch.float32))
