"""What an op needs to know when relevance comes to it: the walk's conventions, and what holds at this very op."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True)
class Conventions:
    """What is the same for a whole walk.

    Attributes:
        dtype: of relevance, and of all that rules compute.
        ties: "first" or "split": how a max-pool treats equal winners.
    """

    dtype: torch.dtype
    ties: str = "first"


@dataclass
class Visit:
    """The walk's visit to one op, by one rule or by several one after the other.

    Attributes:
        conventions: of the walk.
        may_overwrite: whether nobody else needs the relevance from above.
        vanishes: whether that relevance is proved to be 0 wherever the output, as it is held, is not positive.
        shared: whether more than one rule, or more than one part of the maps, works at this op.
        made: what was made for this op, whatever rules work there.
    """

    conventions: Conventions
    may_overwrite: bool = False
    vanishes: bool = False
    shared: bool = False
    made: dict[str, Any] = field(default_factory=dict)

    @property
    def dtype(self) -> torch.dtype:
        """Of relevance."""
        return self.conventions.dtype

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """What is made once for an op, whatever rules work there."""
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]
