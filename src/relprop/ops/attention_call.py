"""The numbers of one call of attention, made again in blocks of queries."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from relprop.ops.fold import fold
from relprop.ops.softmax import masked
from relprop.rules.division import at_once
from relprop.tape.tape import Node, Slot, Value
from relprop.tape.visit import Visit

AT_ONCE = 2**22
"""So many numbers of attention's weights are made at a time."""

NAMES = ("query", "key", "value", "attn_mask")
"""The arguments that numbers come from, in their order."""


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """One call, with as many heads for keys and values as for queries.

    Attributes:
        q, k, v: queries (..., L, E), keys (..., S, E), values (..., S, D).
        mask: True where a key is seen, or what is added to the scores; None for neither.
        scale: of the scores, scale q k^T.
        groups: so many heads of queries share one of the keys, and one of the values, by the argument's name.
        recorded: the value that stands at each argument's place, of those that depend on the input.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    mask: Tensor | None
    scale: float
    groups: Mapping[str, int]
    recorded: Mapping[str, Value]

    @classmethod
    def of(cls, node: Node, visit: Visit) -> AttentionCall:
        """As it was recorded, in the precision of relevance."""
        q, k, v = (_held(node, name, visit) for name in NAMES[:3])
        scale = node.argument("scale", 6)
        groups = {"key": 1, "value": 1}
        if node.argument("enable_gqa", 7, False):
            groups = {"key": q.shape[-3] // k.shape[-3], "value": q.shape[-3] // v.shape[-3]}
            k, v = k.repeat_interleave(groups["key"], -3), v.repeat_interleave(groups["value"], -3)
        mask = None if node.argument("attn_mask", 3) is None else _held(node, "attn_mask", visit)
        if node.argument("is_causal", 5, False):
            mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()
        return cls(q, k, v, mask, q.shape[-1] ** -0.5 if scale is None else float(scale), groups, recorded_in(node))

    def blocks(self, s: Tensor, maps: int) -> Iterator[slice]:
        """Queries that go together, where so many maps of weights are held at once; s is (T, ..., L, D)."""
        length, keys = s.shape[-2], self.k.shape[-2]
        rows = max(1, at_once(s, AT_ONCE) // max(1, maps * math.prod(s.shape[1:-2]) * keys))
        for start in range(0, length, rows):
            yield slice(start, start + rows)

    def scores(self, block: slice) -> Tensor:
        """Scale q k^T of some queries, (..., rows, S), whatever a mask says."""
        return (self.scale * self.q[..., block, :]) @ self.k.mT

    def weights(self, scores: Tensor, block: slice) -> Tensor:
        """The softmax of scores and mask, 0 where all is hidden."""
        if self.mask is None:
            return scores.softmax(-1)
        mask = self._rows(block)
        if mask.dtype == torch.bool:
            return scores.masked_fill(~mask, -torch.inf).softmax(-1).nan_to_num_(0.0)
        return (scores + mask).softmax(-1).nan_to_num_(0.0)

    def added(self, block: slice) -> Tensor | None:
        """What a mask adds to the scores of some queries, 0 where it hides the key; None where nothing is added."""
        if self.mask is None or self.mask.dtype == torch.bool:
            return None
        mask = self._rows(block)
        return mask.masked_fill(masked(mask), 0.0)

    def hidden(self, block: slice) -> Tensor | None:
        """True for queries from which a mask hides every key by a number that is no -inf; None where there are none.

        Their weights are all the same, whatever the scores.
        """
        if self.mask is None or self.mask.dtype == torch.bool:
            return None
        rows = masked(self._rows(block)).all(-1, keepdim=True)
        return rows if bool(rows.any()) else None

    def _rows(self, block: slice) -> Tensor:
        assert self.mask is not None
        return self.mask if self.mask.ndim < 2 or self.mask.shape[-2] == 1 else self.mask[..., block, :]

    def folded(self, R: Tensor, name: str) -> Tensor | None:
        """Relevance as the argument was given: heads that share one, and axes that were repeated, added up."""
        value = self.recorded.get(name)
        if value is None:
            return None
        if self.groups.get(name, 1) > 1:
            R = R.unflatten(-3, (-1, self.groups[name])).sum(-3)
        return fold(R, value.shape)


def recorded_in(node: Node) -> dict[str, Value]:
    """The values among the arguments of a call, by name."""
    given = {name: node.argument(name, position) for position, name in enumerate(NAMES)}
    return {name: node.inputs[argument.k] for name, argument in given.items() if isinstance(argument, Slot)}


def _held(node: Node, name: str, visit: Visit) -> Tensor:
    """An argument's numbers, in the precision of relevance; the least number there is stays finite."""
    argument: Any = node.argument(name, NAMES.index(name))
    tensor: Tensor = node.inputs[argument.k].data if isinstance(argument, Slot) else argument
    if not tensor.is_floating_point() or tensor.dtype == visit.dtype:
        return tensor
    least = torch.finfo(visit.dtype).min
    if name == "attn_mask" and torch.finfo(tensor.dtype).min < least:
        tensor = torch.where(tensor.isinf(), tensor, tensor.clamp(min=least))
    return tensor.to(visit.dtype)
