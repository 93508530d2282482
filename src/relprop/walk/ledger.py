"""The ledger: for every op the relevance that came, what was handed down, and where the rest went."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from relprop.support.errors import RelpropError
from relprop.support.tables import counted, html_table

TINY = 1e-30
COLUMNS = ("relevance_in", "relevance_out", "bias", "eps", "lost")


@dataclass(frozen=True, eq=False)
class Row:
    """One op. Every number is a tensor (T, B): per target and picture.

    For each op relevance_in = relevance_out + bias + eps + lost.

    Attributes:
        path: module path.
        op: name of the op.
        rule: as the plan shows it.
        relevance_in: what came from above.
        relevance_out: what was handed to the inputs.
        bias: what biases took: b_j s_j.
        eps: what the stabiliser took, and what denominators of zero could not hand out.
        lost: what went to detached values, constants and padding.
        magnitude: the sum of absolute relevance that came from above, the scale of rounding errors.
    """

    path: str
    op: str
    rule: str
    relevance_in: Tensor
    relevance_out: Tensor
    bias: Tensor
    eps: Tensor
    lost: Tensor
    magnitude: Tensor

    @property
    def gap(self) -> Tensor:
        """What is not accounted for, (T, B): rounding, or a mistake."""
        return self.relevance_in - self.relevance_out - self.bias - self.eps - self.lost

    def repeated(self, times: int) -> Row:
        """The row with every map so many times, one after the other."""
        if times == 1:
            return self
        columns = {name: getattr(self, name).repeat_interleave(times, 0) for name in (*COLUMNS, "magnitude")}
        return replace(self, **columns)

    def to(self, device: torch.device | str) -> Row:
        """The row with its numbers on a device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in (*COLUMNS, "magnitude")})

    def __repr__(self) -> str:
        return f"Row({self.op} {self.path}, {self.rule})".replace(" ,", ",")


@dataclass(eq=False)
class Ledger:
    """The rows of one method, from the output to the input.

    Attributes:
        start: the relevance that the walk started with, (T, B).
        end: the relevance of the input, (T, B).
        rows: one per op, in the order of the walk.
        coarsest: the machine epsilon of the coarsest precision that model or rules computed in.
    """

    start: Tensor
    end: Tensor
    rows: list[Row] = field(default_factory=list)
    coarsest: float = torch.finfo(torch.float32).eps

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]

    def to(self, device: torch.device | str) -> Ledger:
        """The same with all numbers on a device."""
        rows = [row.to(device) for row in self.rows]
        return replace(self, start=self.start.to(device), end=self.end.to(device), rows=rows)

    def sum(self, column: str) -> Tensor:
        """The sum of a column over all ops, (T, B): "bias", "eps" or "lost"."""
        return (
            torch.stack([getattr(row, column) for row in self.rows]).sum(0)
            if self.rows
            else torch.zeros_like(self.start)
        )

    @property
    def errors(self) -> Tensor:
        """The error of conservation, (T, B), relative to the largest sum of absolute relevance over any op.

        The larger one of the whole walk's (start = end + bias + eps + lost) and of any op's alone; rounding leaves
        about 1e-6 in float32 and 1e-15 in float64.
        """
        whole = self.start - self.end - self.sum("bias") - self.sum("eps") - self.sum("lost")
        gaps = torch.stack([whole, *(row.gap for row in self.rows)]).abs()
        scale = torch.stack([self.start.abs(), *(row.magnitude for row in self.rows)]).amax(0)
        return (gaps / scale.clamp(min=torch.finfo(scale.dtype).tiny)).amax(0)

    @property
    def error(self) -> float:
        """The largest of `errors`."""
        return float(self.errors.max())

    @property
    def bound(self) -> float:
        """The largest error that can be rounding, of the coarsest precision that anything was computed in."""
        return max(1e-9, 1e4 * self.coarsest)

    @property
    def open(self) -> Tensor:
        """Whether the account does not close beyond what rounding leaves, (T, B) bool; not where it is not finite."""
        return (self.errors > self.bound) & bool(self.rows)

    def demand_closed(self) -> None:
        """Raise where an account does not close beyond what rounding leaves: some relevance is not accounted for.

        Raises:
            RelpropError: it names the op whose account is furthest from closing.
        """
        if not self.open.any():
            return
        worst = max(self.rows, key=lambda row: float((row.gap.abs() / row.magnitude.clamp(min=TINY)).max()))
        raise RelpropError(
            f"the ledger does not close: {self.error:.2g} of the relevance is not accounted for, most at {worst.op} in "
            f"'{worst.path}' by {worst.rule}; let the rule's Share say what biases and the stabiliser took, or its "
            f"class that it does not conserve relevance (conserves = False)"
        )

    def __repr__(self) -> str:
        """Short: `print` and a notebook show the table."""
        return f"Ledger({counted(len(self), 'op')}, {self._extent()})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the table of the first target and picture."""
        rows = [
            (f"{row.op} {row.path}", row.rule, *(f"{float(getattr(row, c).flatten()[0]):.6g}" for c in COLUMNS))
            for row in self
        ]
        return html_table(f"ledger of the first of {self._extent()}", ("op", "rule", *COLUMNS), rows)

    def _extent(self) -> str:
        targets, pictures = self.start.shape
        return f"{counted(targets, 'target')} and {counted(pictures, 'picture')}"

    def __str__(self) -> str:
        """A table for the first target and picture."""
        columns = COLUMNS
        width = max([len(f"{row.op} {row.path}") for row in self.rows], default=4)
        lines = [f"{'op':{width}}  " + "  ".join(f"{c:>13}" for c in columns)]
        for row in self.rows:
            numbers = "  ".join(f"{float(getattr(row, c).flatten()[0]):13.6g}" for c in columns)
            lines.append(f"{row.op + ' ' + row.path:{width}}  {numbers}")
        return "\n".join(lines)
