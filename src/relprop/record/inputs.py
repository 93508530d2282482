"""What goes into a model: a tensor, a tuple that it is called with by position, or a mapping by keyword."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from relprop.ops.embedding import looked_up
from relprop.support.errors import InputError
from relprop.support.suggest import did_you_mean
from relprop.tape.tape import Node, Slot, Value, fill
from relprop.tape.trees import mapped, tensors_of

Key = str | int
Of = Key | Sequence[Key] | None
"""Which of several inputs are explained: keys of a mapping, places in a tuple; None: all that can be."""

TOKENS = ("input_ids", "decoder_input_ids")
"""What Hugging Face calls the tokens: beside them other whole numbers (masks, segments, positions) are none."""

EMBEDDED = ("inputs_embeds", "decoder_inputs_embeds")
"""What it calls the rows that were looked up for them: positions that are added to these are constants, too."""

MASK = "attention_mask"
"""How the names of masks end: they hide places of a text, and are no part of it, of whatever type they are."""

IDS = (torch.int64, torch.int32)
"""What an embedding takes."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """The arguments of one call of a model, and those of its tensors that are explained.

    Attributes:
        whole: x as it was given, each explained tensor replaced by its slot.
        tensors: the explained ones, in the order of their slots.
        names: what each is called in messages.
        demanded: whether the caller named them, and did not leave it to what can be explained.
    """

    whole: Any
    tensors: tuple[Tensor, ...]
    names: tuple[str, ...]
    demanded: bool = False

    @property
    def batch(self) -> int:
        """The number of pictures B."""
        return len(self.tensors[0])

    @property
    def device(self) -> torch.device:
        """Where the explained ones are."""
        return self.tensors[0].device

    @property
    def embedded(self) -> list[bool]:
        """For each explained tensor whether it is what an embedding gave, as Hugging Face calls that."""
        return [name in {f"x[{key!r}]" for key in EMBEDDED} for name in self.names]

    @property
    def alone(self) -> bool:
        """Whether x is one tensor."""
        return isinstance(self.whole, Slot)

    def call(self, model: Callable[..., Any], tensors: Sequence[Tensor] | None = None) -> Any:
        """Run the model on copies, or with other tensors in the place of those explained."""
        return self.call_with(model, self.arguments(tensors))

    def arguments(self, tensors: Sequence[Tensor] | None = None) -> Any:
        """X with these tensors in the place of those explained, and copies of all others."""
        given = [plain(t) for t in self.tensors] if tensors is None else list(tensors)
        return fill(mapped(Tensor, plain, self.whole), given)

    def call_with(self, model: Callable[..., Any], arguments: Any) -> Any:
        """Run the model on `arguments`."""
        if self.alone:
            return model(arguments)
        return model(**arguments) if isinstance(self.whole, Mapping) else model(*arguments)

    def row(self, b: int) -> Inputs:
        """Those of one picture alone; a tensor that has as many rows as there are pictures has one for each."""
        batch, at = self.batch, slice(b, b + 1)

        def own(t: Tensor) -> Tensor:
            return t[at] if t.ndim and len(t) == batch else t

        return Inputs(mapped(Tensor, own, self.whole), tuple(t[at] for t in self.tensors), self.names, self.demanded)

    def like(self, maps: Sequence[Tensor | None]) -> Any:
        """Maps, one for each explained tensor, in the structure of x.

        What is not explained is None in a tuple, and left out of a mapping; of a mapping of which one tensor alone is
        explained it is that one's map.
        """
        if isinstance(self.whole, Mapping):
            found = {key: self._maps_in(item, maps) for key, item in self.whole.items()}
            kept = {key: item for key, item in found.items() if tensors_of(item)}
            return next(iter(kept.values())) if len(kept) == 1 else kept
        return self._maps_in(self.whole, maps)

    def _maps_in(self, tree: Any, maps: Sequence[Tensor | None]) -> Any:
        return mapped(Slot, lambda slot: maps[slot.k], mapped(Tensor, lambda _: None, tree))


def plain(t: Tensor) -> Tensor:
    """A copy without gradient or subclass, that the model may write into."""
    return t.detach().as_subclass(Tensor).clone()


def inputs_of(x: Any, of: Of = None) -> Inputs:
    """X as arguments of a model.

    Args:
        x: a tensor (B, ...); a tuple or list of arguments by position; or a mapping of arguments by keyword. What is
            no tensor is passed as it is.
        of: which of them are explained.

    Raises:
        InputError: there is nothing in x that relevance could be given to, or `of` names what is not there.
    """
    if isinstance(x, Inputs):
        return x
    if isinstance(x, Tensor):
        check_tensor(x, "x", several=False)
        return Inputs(Slot(0), (x,), ("x",))
    if not isinstance(x, (tuple, list, Mapping)):
        array = ": torch.as_tensor(x) makes one of an array" if hasattr(x, "__array__") else ""
        raise InputError(
            f"x must be a tensor (B, ...), a tuple of arguments or a mapping of keyword arguments, not "
            f"{type(x).__name__}{array}"
        )
    items = {str(k): v for k, v in x.items()} if isinstance(x, Mapping) else dict(enumerate(x))
    wanted = _explained_of(items, of)
    tensors: list[Tensor] = []
    names: list[str] = []
    whole = {}
    for key, item in items.items():
        if key not in wanted:
            whole[key] = item
            continue
        several = len(tensors_of(item)) > 1
        found = _Slots(tensors, names, f"x[{key!r}]", several, demanded=of is not None)
        whole[key] = mapped(Tensor, found.slot, item)
    if not tensors:
        raise InputError("x holds no floating-point tensor (B, ...) and no token ids (B, L) that could be explained")
    if len({len(t) for t in tensors}) > 1:
        shown = ", ".join(f"{name} {tuple(t.shape)}" for name, t in zip(names, tensors, strict=True))
        raise InputError(f"the inputs differ in how many pictures they hold: {shown}; name those meant, of=...")
    return Inputs(_in_structure(x, whole), tuple(tensors), tuple(names), of is not None)


def _in_structure(x: Any, items: dict[Any, Any]) -> Any:
    """The items as x held them: a dict for a mapping, else a list or tuple."""
    if isinstance(x, Mapping):
        return items
    return list(items.values()) if isinstance(x, list) else tuple(items.values())


@dataclass
class _Slots:
    """Puts slots in the place of the tensors of one argument that can be explained."""

    tensors: list[Tensor]
    names: list[str]
    name: str
    several: bool
    demanded: bool

    def slot(self, t: Tensor) -> Any:
        """A slot, or the tensor where it is nothing that could be explained."""
        name = f"{self.name}[{len(self.tensors)}]" if self.several else self.name
        if not (t.is_floating_point() or t.dtype in IDS):
            if self.demanded:
                raise InputError(f"{name} is {t.dtype}, and cannot be explained: relevance goes to floating-point "
                                 f"numbers and to token ids")  # fmt: skip
            return t
        check_tensor(t, name, several=True)
        self.tensors.append(t)
        self.names.append(name)
        return Slot(len(self.tensors) - 1)


def _explained_of(items: Mapping[Any, Any], of: Of) -> set[Any]:
    """The arguments that are explained."""
    if of is None:
        text = [name for name in (*TOKENS, *EMBEDDED) if name in items]
        return {
            key for key, item in items.items()
            if not text or key in text
            or (not key.endswith(MASK) and any(t.is_floating_point() for t in tensors_of(item)))
        }  # fmt: skip
    keys = [of] if isinstance(of, (str, int)) else list(of)
    for key in keys:
        if key not in items:
            near = did_you_mean(str(key), map(str, items))
            raise InputError(f"of names {key!r}, which is none of the inputs: {', '.join(map(repr, items))}{near}")
    if not keys:
        raise InputError("of names no input; None means all that can be explained")
    return set(keys)


def check_tensor(t: Tensor, name: str, *, several: bool) -> None:
    """Refuse a tensor that no relevance can be given to.

    Raises:
        InputError: it says what is wrong with it.
    """
    if not t.is_floating_point() and t.dtype not in IDS:
        raise InputError(
            f"{name} is {t.dtype}; a floating-point tensor is needed (preprocess it, or x.float()), or token ids"
        )
    if t.is_meta or t.layout is not torch.strided:
        raise InputError(f"{name} is a {t.layout} tensor on {t.device}; a dense tensor with numbers is needed")
    if t.ndim < (1 if several else 2) or t.shape[0] == 0:
        raise InputError(
            f"{name} has shape {tuple(t.shape)}; a batch (B, ...) of at least one is needed, such as {name}[None]"
        )
    if t.is_floating_point() and not torch.isfinite(t).all():
        raise InputError(f"{name} holds NaN or infinite values; check how it was read and normalised")


def demand_ids_looked_up(inputs: Inputs, values: Sequence[Value], nodes: Sequence[Node]) -> None:
    """Refuse whole numbers that relevance cannot come to: none that an embedding looks up.

    Args:
        inputs: what went into the model.
        values: the recorded values of the explained tensors.
        nodes: the recorded calls.

    Raises:
        InputError: such an input was named, or there is no other.
    """
    read = looked_up(nodes)
    given = zip(inputs.names, values, strict=True)
    idle = [(name, v.data.dtype) for name, v in given if not v.data.is_floating_point() and v not in read]
    if idle and (inputs.demanded or len(idle) == len(values)):
        name, dtype = idle[0]
        raise InputError(
            f"{name} is {dtype}, and F.embedding does not look it up: a floating-point tensor is needed "
            f"(preprocess it, or x.float()), or token ids"
        )
