"""Which tensor holds which value, and what writes into memory do to values that were recorded before.

A value's numbers are an alias of the model's own tensor. So what an in-place op is about to overwrite is copied first,
for the nodes that read it earlier, and every tensor's version is compared with the one that was recorded.
"""

from __future__ import annotations

import weakref
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from relprop.record.audit import Inside
from relprop.rules.layer import Kind
from relprop.tape.arguments import parameter_position
from relprop.tape.owners import Owners
from relprop.tape.tape import Node, Value
from relprop.tape.torch_internals import StorageWeakRef, base_of, memory_of, version

REMADE = frozenset({Kind.CONV, Kind.LINEAR, Kind.NORM, Kind.ADD})
"""Kinds of op that make their output again from their inputs, should relevance need what was overwritten."""

INPLACE_DUNDERS = frozenset({"__iadd__", "__isub__", "__imul__", "__itruediv__", "__setitem__"})


class Memory:
    """The values that were recorded, by the tensors that hold them.

    Args:
        inside: where kernels of our own run unseen.
    """

    def __init__(self, inside: Inside) -> None:
        self.inside = inside
        self.uses: Counter[Value] = Counter()
        self._holding: dict[int, tuple[weakref.ref[Tensor], Value]] = {}
        self._sharing: dict[int, list[Value]] = defaultdict(list)
        self._stale: set[Value] = set()
        self._partly: dict[
            Value, tuple[int, int]
        ] = {}  # overwritten through y[a:b], in y[a:b] += z: version and address
        self._dropped: dict[Value, int] = {}
        self._let_go: dict[int, StorageWeakRef] = {}  # memory of dropped values, which the model may still hold

    # -- what holds what -------------------------------------------------------------------------------

    def remember(self, t: Tensor, owners: Owners) -> Value:
        """From now on this tensor holds a new value."""
        value = Value(t.detach(), version(t), owners)
        self._holding[id(t)] = (weakref.ref(t), value)
        self._sharing[memory_of(t)].append(value)
        return value

    def value_of(self, t: Tensor) -> Value | None:
        """The recorded value that a tensor holds now."""
        ref, value = self._holding.get(id(t), (None, None))
        if ref is None or ref() is not t:
            return None
        if value is not None and value in self._dropped:
            self._take_back(value, t)
        return value

    def shares_memory(self, t: Tensor) -> bool:
        """Whether a tensor lies where a recorded value lies, or lay."""
        if t.numel() == 0:
            return False
        gone = self._let_go.get(memory_of(t))
        return bool(self._sharing.get(memory_of(t))) or (gone is not None and not gone.expired())

    def is_current(self, value: Value, t: Tensor) -> bool:
        """Whether a tensor still holds the numbers of its value, at the same place."""
        return value not in self._stale and version(t) == value.version and t.data_ptr() == value.data.data_ptr()

    def can_be_read(self, func: Any, args: Any, values: Iterable[Value], holders: Iterable[Tensor]) -> bool:
        """Whether all tensors of a call hold their values still.

        In y[a:b] += z Python reads y[a:b], writes into that view, and sets y[a:b] to it: the last of these calls puts
        what was written into y as it was before.
        """
        completed = self._completed(func, args)
        return all(value is completed or self.is_current(value, t) for value, t in zip(values, holders, strict=True))

    def _completed(self, func: Any, args: Any) -> Value | None:
        """The value of y in the last call of y[a:b] += z."""
        if name_of(func) != "__setitem__" or len(args) != 3 or not isinstance(args[2], Tensor):
            return None
        whole, place, part = args
        value = self.value_of(whole)
        if (
            value is None
            or self._partly.get(value) != (version(whole), whole.data_ptr())
            or self.value_of(part) is None
        ):
            return None
        view = whole[place]
        same = (view.data_ptr(), view.shape, view.stride()) == (part.data_ptr(), part.shape, part.stride())
        return value if same else None

    def drop(self, value: Value) -> None:
        """Hold a value's numbers no longer: the rules will see the BatchNorm that read it as part of its layer."""
        self._sharing[memory_of(value.data)].remove(value)
        self._let_go[memory_of(value.data)] = StorageWeakRef(value.data.untyped_storage())
        self._dropped[value], value.version = value.version, 0
        value.data = value.data.new_empty(0)

    def _take_back(self, value: Value, t: Tensor) -> None:
        """Somebody else reads it after all, and so its tensor is still there."""
        with self.inside:
            value.data, value.version = t.detach(), self._dropped.pop(value)
        self._sharing[memory_of(t)].append(value)

    # -- writes ----------------------------------------------------------------------------------------

    def only_rectified(self, node: Node, target: Tensor) -> bool:
        """Whether a call is a ReLU that overwrites what it alone reads, and that can be made again from its inputs.

        No copy is needed then: where the ReLU gives 0, relevance is 0 under nearly all rules, whatever stood there.
        """
        value = self.value_of(target)
        return (
            node.op.name == "relu"
            and value is not None
            and value.source is not None
            and value.source.kind in REMADE
            and not (value.source.inplace and value.source.kind != Kind.ADD)
            and self.uses[value] == 1
            and self._sharing[memory_of(target)] == [value]
        )

    def mark_rectified(self, value: Value) -> None:
        """A ReLU wrote over the value, and no copy was made."""
        value.rectified, value.version = True, version(value.data)
        self._stale.add(value)

    def copies_before(self, target: Tensor) -> dict[Value, Tensor]:
        """Copies of the recorded values that a write into `target` may change."""
        copied: dict[Value, Tensor] = {}
        by_place: dict[Any, Tensor] = {}
        for value in self._sharing[memory_of(target)]:
            place = (value.data.data_ptr(), value.shape, value.data.stride())
            if place not in by_place:
                by_place[place] = value.data.clone()
            copied[value] = by_place[place]
        return copied

    def writes_unknown(self, target: Tensor) -> bool:
        """Whether a write goes through a view of a tensor that holds no recorded value."""
        return not self._sharing[memory_of(target)] and base_of(target) is not None

    def protect(self, target: Tensor, copies: dict[Value, Tensor], through_view: Callable[[Tensor], None]) -> None:
        """Give the earlier nodes the copies of what was overwritten, and know whose tensor is stale now.

        Args:
            target: what was written into.
            copies: `copies_before` the write.
            through_view: is told of a value that was changed through a view while somebody else may read it.
        """
        current = self.value_of(target)
        views = self._only_viewed(current)
        whole = None if current is None else _indexed(current)
        for value, copy in copies.items():
            if value is not current and torch.equal(copy, value.data):
                value.version = version(value.data)
                continue
            excused = value is current or value is whole or value in views
            excused = excused or value.rectified  # what a ReLU made of it is checked itself
            if value is whole:
                self._partly[value] = (version(target), value.data.data_ptr())
            if not excused and base_of(target) is not None and self._is_held(value):
                through_view(copy)
            value.data, value.version = copy, version(copy)
            self._stale.add(value)
            self._sharing[memory_of(target)].remove(value)

    def _is_held(self, value: Value) -> bool:
        """Whether the model still has a tensor that holds a value, which it may read."""
        return any(held is value and ref() is not None for ref, held in self._holding.values())

    def _only_viewed(self, value: Value | None) -> set[Value]:
        """The values that a tensor is a view of and that nothing else has used: a write concerns no one."""
        chain: set[Value] = set()
        while value is not None and value.source is not None and value.source.kind == Kind.MOVE:
            value = value.source.inputs[0]
            if self.uses[value] > 1:
                break
            chain.add(value)
        return chain


def _indexed(value: Value) -> Value | None:
    """The value y that a value is y[...] of."""
    node = value.source
    return node.inputs[0] if node is not None and node.op.name == "getitem" and len(node.inputs) == 1 else None


def written_by(node: Node, args: Any, kwargs: Any) -> Tensor | None:
    """The tensor that a call will write into."""
    name = name_of(node.func)
    position = parameter_position(node.func, "inplace")
    flag = kwargs.get("inplace", args[position] if position is not None and position < len(args) else False)
    writes = flag is True or name in INPLACE_DUNDERS or (name.endswith("_") and not name.endswith("__"))
    return args[0] if writes and args and isinstance(args[0], Tensor) else None


def versions(tensors: Iterable[Tensor]) -> list[int]:
    """The version of each."""
    return [version(t) for t in tensors]


def name_of(func: Any) -> str:
    """A function's name, for people."""
    name = getattr(func, "__name__", None) or str(func)
    owner = getattr(func, "__self__", None)
    return str(getattr(owner, "__name__", name)) if name == "__get__" else str(name)
