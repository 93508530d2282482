"""What `explain` returns: relevance by method, with the outputs and the ledgers that belong to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from relprop.support.class_names import class_index
from relprop.support.errors import InputError
from relprop.support.suggest import did_you_mean
from relprop.support.tables import counted, html_table, text_table
from relprop.tape.trees import mapped, tensors_of
from relprop.walk.ledger import Ledger

HEAD = ("target", "logit", "method", "relevance", "bias", "eps", "lost")


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """What `explain` returns; T targets, B pictures. It prints as a table; two are equal if they are one.

    Where there are conditions, T counts each target once for every condition: target by target, and for each of them
    the conditions in their order.

    Attributes:
        outputs: (B, C) logits, from the one forward pass that all methods share; where no class is a target, what the
            model returned.
        targets: (T, B) class indices that were explained; -1 where the target is a function.
        values: (T, B) what was explained: the logit of the target, or the value of the function.
        relevance: per method (T, B, *x.shape[1:]), in the structure of x where that is a tuple or a mapping.
        ledger: per method a row per op; a function of the user's own has none.
        inside: per method and module path (T, B, *shape) at that module's output, as asked for.
        labels: a word for each target.
        classes: names of the outputs, where the model has `.classes`.
    """

    outputs: Any
    targets: Tensor
    values: Tensor
    relevance: dict[str, Any]
    ledger: dict[str, Ledger]
    inside: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    def versus(self, a: int | str, b: int | str, method: str | None = None) -> Any:
        """Why a rather than b: the map of a less the map of b, (B, *x.shape[1:]), in the structure of x.

        Args:
            a: an explained class, an index or a name; or the name of a function that was a target.
            b: another.
            method: whose maps; None: the first of them.

        Raises:
            InputError: a or b was not explained, or there is no such method.

        Example:
            >>> import torch, relprop as rp
            >>> e = rp.explain(torch.nn.Linear(4, 3).eval(), torch.ones(1, 4), [0, 2], ["lrp-z"])
            >>> e.versus(0, 2).shape
            torch.Size([1, 4])
        """
        name = next(iter(self.relevance)) if method is None else method
        if name not in self.relevance:
            near = did_you_mean(name, self.relevance)
            raise InputError(f"{name!r} is none of the methods of this explanation{near}")
        one, other = self._place(a), self._place(b)
        return mapped(Tensor, lambda R: R[one] - R[other], self.relevance[name])

    def _place(self, target: int | str) -> int:
        """Where a target stands along T."""
        if isinstance(target, str) and target in self.labels and not target.lstrip("-").isdigit():
            return self.labels.index(target)
        index = class_index(target, self.classes) if isinstance(target, str) and self.classes else target
        for place, row in enumerate(self.targets.tolist()):
            if all(each == index for each in row):
                return place
        raise InputError(f"class {target!r} was not explained; the targets are {', '.join(self.labels)}")

    def __repr__(self) -> str:
        """Short: `print` and a notebook show a table."""
        return f"Explanation({self._extent()}: {', '.join(self.relevance)})"

    def __str__(self) -> str:
        """A row per target and method, for the first picture."""
        return f"{self._extent()}, the first picture:\n\n{text_table(HEAD, self._rows())}"

    def _repr_html_(self) -> str:
        """What a notebook shows: the same table."""
        return html_table(f"{self._extent()}, the first picture", HEAD, self._rows())

    def _extent(self) -> str:
        targets, pictures = self.targets.shape
        extent = f"{counted(targets, 'target')}, {counted(pictures, 'picture')}"
        if isinstance(self.outputs, Tensor) and self.outputs.ndim == 2:
            return f"{extent}, {counted(self.outputs.shape[1], 'output')}"
        return extent

    def _rows(self) -> list[tuple[str, ...]]:
        rows = []
        for t, label in enumerate(self.labels):
            for name, maps in self.relevance.items():
                ledger = self.ledger.get(name)
                lost = [float(ledger.sum(column)[t, 0]) for column in HEAD[4:]] if ledger else []
                total = sum(float(R[t, 0].sum(dtype=torch.float64)) for R in tensors_of(maps))
                numbers = [f"{number:.6g}" for number in (total, *lost)]
                missing = ["-"] * (len(HEAD) - 3 - len(numbers))
                rows.append((label, f"{float(self.values[t, 0]):.6g}", name, *numbers, *missing))
        return rows


def finite(maps: Any) -> bool:
    """Whether all numbers of maps are finite."""
    return all(bool(torch.isfinite(R).all()) for R in tensors_of(dict(maps) if isinstance(maps, Mapping) else maps))
