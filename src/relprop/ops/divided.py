"""Relevance divided by what an op gave, as epsilon does it: the beginning of every op that is one sum."""

from __future__ import annotations

from torch import Tensor

from relprop.rules.attend import Attend
from relprop.rules.division import quotient
from relprop.rules.layer import Rule
from relprop.rules.lrp import Epsilon
from relprop.tape.tape import Value


def divided(
    R: Tensor, y: Tensor, out: Value, rule: Rule | None = None, into: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """S = R / (y + eps sign(y)), and what epsilon and empty denominators took, (T, B).

    Args:
        R: relevance from above, (T, *y.shape).
        y: the numbers of `out`, in the precision of relevance.
        out: the value that they are, which knows whose they are.
        rule: with an epsilon of its own; any other, or None, for the usual one.
        into: as for `division.quotient`.
    """
    eps = rule.eps if isinstance(rule, (Epsilon, Attend)) else Epsilon().eps
    return quotient(R, y, eps, 1.0, rows=out.owners.rows(out.shape), total=out.owners.total, into=into)
