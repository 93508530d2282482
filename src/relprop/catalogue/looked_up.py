"""Token ids for methods that are functions: what they explain is the rows that embeddings look up for the ids.

Ids have no gradient, the rows have. A `TorchFunctionMode` follows the id tensor through the moves of the model's own
run, finds each lookup of it, and puts other rows in their place when the model runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from relprop.ops.embedding import moves_ids
from relprop.ops.table import op_of
from relprop.record.inputs import Inputs, plain
from relprop.record.recorder import undisturbed
from relprop.rules.layer import Kind
from relprop.support.errors import InputError
from relprop.tape.tape import Op, fill
from relprop.tape.torch_internals import base_of
from relprop.tape.trees import mapped, tensors_of

FAR = 2**30
"""Further apart than any two tokens."""


class Lookups(TorchFunctionMode):
    """Finds the rows that are looked up for token ids, or puts others in their place.

    Beside each tensor of ids go two of places: where among the ids each number stood, and the same plus `FAR`. They are
    moved by the same calls, and where they come out `FAR` apart a number is a token, else one that the model put in.

    Args:
        ids: the very tensor that the model gets.
        rows: for each lookup the rows of all ids, (*ids.shape, D), that take the place of its own; None: find them.

    Attributes:
        found: for each lookup the rows of all ids, zeros for those that it left out.
    """

    def __init__(self, ids: Tensor, rows: Sequence[Tensor] | None = None) -> None:
        super().__init__()
        self.rows = rows
        self.found: list[Tensor] = []
        self._shape = ids.shape
        places = torch.arange(ids.numel(), device=ids.device).view(ids.shape)
        self._held = {id(ids): (ids, places, places + FAR)}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        ids = [t for t in tensors_of((args, kwargs)) if id(t) in self._held]
        op = op_of(func, args, kwargs) if ids else None
        if op is None:
            return func(*args, **kwargs)
        if op.kind == Kind.EMBEDDING:
            return self._look_up(func(*args, **kwargs), ids[0])
        if not moves_ids(op, func, ids, args, kwargs) or not _moved_and_no_index(op, ids, args, kwargs):
            return func(*args, **kwargs)
        return self._move(func, args, kwargs)

    def _move(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A call that moves ids: their places go the same way."""
        ways = [_made(func, *self._with_places(n, args, kwargs)) for n in (1, 2)]
        result = func(*args, **kwargs)
        target = args[0] if result is None else result
        if target is args[0] and base_of(target) is not None and id(target) not in self._held:
            raise InputError(
                "the model writes token ids into a part of a tensor that has a name of its own, where they cannot be "
                "followed; use an LRP method, or explain the embeddings (inputs_embeds)"
            )
        for each in zip(tensors_of(target), *map(tensors_of, ways), strict=True):
            self._held[id(each[0])] = each
        return result

    def _with_places(self, n: int, args: Any, kwargs: Any) -> Any:
        """The arguments with places for ids; all whole numbers are copies, which the call may write into."""

        def place(t: Tensor) -> Tensor:
            if id(t) in self._held:
                return self._held[id(t)][n].clone()
            return t if t.is_floating_point() or t.dtype == torch.bool else t.clone()

        return mapped(Tensor, place, (args, kwargs))

    def _look_up(self, own: Tensor, ids: Tensor) -> Tensor:
        """What an embedding gives for these ids."""
        _, places, far = self._held[id(ids)]
        tokens = far - places == FAR
        if self.rows is None:
            found = own.new_zeros(self._shape.numel(), own.shape[-1])
            found[places[tokens]] = own[tokens]
            self.found.append(found.view(*self._shape, -1))
            return own
        if len(self.found) == len(self.rows):
            raise InputError("the model looks its token ids up more often than before; explain the embeddings instead")
        rows = self.rows[len(self.found)]
        self.found.append(rows)
        taken = rows.reshape(-1, rows.shape[-1])[places.where(tokens, 0)]
        return taken if bool(tokens.all()) else torch.where(tokens[..., None], taken, own)


def _made(func: Any, args: Any, kwargs: Any) -> Any:
    """What a call gives, or what it wrote into."""
    result = func(*args, **kwargs)
    return args[0] if result is None else result


def _moved_and_no_index(op: Op, ids: Sequence[Tensor], args: Any, kwargs: Any) -> bool:
    """Whether ids stand where a call takes what it moves, and not where it is told which."""
    given = [*args, *kwargs.values()]
    written = {"setitem": given[2:], "copy": given[1:2]}.get(op.name, [])
    moved = tensors_of((given[:1], written))
    return all(any(t is one for one in moved) for t in ids)


@dataclass(frozen=True, eq=False)
class LookedUp(Inputs):
    """The rows that are looked up for token ids, in the place of the ids: explained is each of `tensors`.

    Attributes:
        given: the inputs, of which ids are all that is explained.
    """

    given: Inputs | None = None

    @property
    def alone(self) -> bool:
        """The model itself takes ids, and no rows."""
        return False

    def arguments(self, tensors: Sequence[Tensor] | None = None) -> Any:
        """The ids, the other arguments, and the rows."""
        assert self.given is not None
        rows = [plain(t) for t in self.tensors] if tensors is None else list(tensors)
        return [plain(self.given.tensors[0]), mapped(Tensor, plain, self.given.whole), rows]

    def call_with(self, model: Callable[..., Any], arguments: Any) -> Any:
        """Run the model on its ids, of which it sees these rows."""
        assert self.given is not None
        ids, whole, rows = arguments
        with Lookups(ids, rows):
            return self.given.call_with(model, fill(whole, [ids]))

    def row(self, b: int) -> LookedUp:
        """One text alone."""
        assert self.given is not None
        return LookedUp(self.whole, tuple(t[b : b + 1] for t in self.tensors), self.names, given=self.given.row(b))

    def per_token(self, maps: Sequence[Tensor]) -> Tensor:
        """Relevance of rows, (T, B, L, D) of each lookup, as that of their tokens: (T, B, L)."""
        return torch.stack([R.sum(-1) for R in maps]).sum(0)


def looked_up(model: Callable[..., Any], inputs: Inputs) -> LookedUp:
    """The rows that a model looks up for its ids.

    Raises:
        InputError: no embedding looks them up.
    """
    with undisturbed(inputs.device):
        ids = plain(inputs.tensors[0])
        lookups = Lookups(ids)
        arguments = inputs.arguments([ids])
        with lookups:
            inputs.call_with(model, arguments)
    if not lookups.found:
        raise InputError(
            f"{inputs.names[0]} is {ids.dtype}, and F.embedding does not look it up: a floating-point tensor is needed "
            f"(preprocess it, or x.float()), or token ids"
        )
    return LookedUp(inputs.whole, tuple(lookups.found), inputs.names, given=inputs)
