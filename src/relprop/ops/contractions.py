"""einsum, and what is written with it, as permutations, sums and products of matrices, which have rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def einsum(equation: Any, *operands: Any) -> Any:
    """Sums of products over the axes that letters name; NotImplemented for dots and diagonals."""
    given = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], (tuple, list)) else list(operands)
    if not isinstance(equation, str) or "." in equation:
        return NotImplemented
    left, _, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if "->" not in equation:  # those that stand once, in alphabetical order
        right = "".join(sorted(letter for letter in set(left) - {","} if left.count(letter) == 1))
    if any(len(set(term)) < len(term) for term in (*terms, right)):
        return NotImplemented
    letters, y = terms[0], given[0]
    for k, (term, operand) in enumerate(zip(terms[1:], given[1:], strict=True), 2):
        later = {letter for rest in (*terms[k:], right) for letter in rest}
        kept = "".join(dict.fromkeys(letter for letter in letters + term if letter in later))
        y = _contracted(letters, y, term, operand, kept)
        letters = kept
        if y is NotImplemented:
            return NotImplemented
    return _arranged(_summed(y, letters, right), "".join(x for x in letters if x in right), right)


def _summed(y: Tensor, letters: str, kept: str) -> Tensor:
    """The sum over the axes that nobody needs."""
    axes = [n for n, letter in enumerate(letters) if letter not in kept]
    return y.sum(axes) if axes else y


def _arranged(y: Tensor, letters: str, order: str) -> Tensor:
    """The axes in another order."""
    return y if letters == order else y.permute([letters.index(letter) for letter in order])


def _contracted(one: str, a: Tensor, other: str, b: Tensor, kept: str) -> Any:
    """The product of two terms, summed over what both have and nobody needs."""
    a, one = _summed(a, one, other + kept), "".join(x for x in one if x in other + kept)
    b, other = _summed(b, other, one + kept), "".join(x for x in other if x in one + kept)
    shared = [x for x in one if x in other and x in kept]
    gone = [x for x in one if x in other and x not in kept]
    rows, columns = [x for x in one if x not in other], [x for x in other if x not in one]
    size = dict(zip(one + other, (*a.shape, *b.shape), strict=True))
    left = _arranged(a, one, "".join(shared + rows + gone))
    right = _arranged(b, other, "".join(shared + gone + columns))
    if not gone:  # each number of one with each of the other
        wide = left.reshape([size[x] for x in shared + rows] + [1] * len(columns))
        y = wide * right.reshape([size[x] for x in shared] + [1] * len(rows) + [size[x] for x in columns])
        return _arranged(y, "".join(shared + rows + columns), kept)
    n = math.prod(size[x] for x in gone)
    left = left.reshape([size[x] for x in shared + rows] + [n])
    right = right.reshape([size[x] for x in shared] + [n, math.prod(size[x] for x in columns)])
    if shared:
        left = left.reshape([*(size[x] for x in shared), math.prod(size[x] for x in rows), n])
    y = (left @ right).reshape([size[x] for x in shared + rows + columns])
    return _arranged(y, "".join(shared + rows + columns), kept)


def tensordot(a: Any, b: Any, dims: Any = 2, out: Any = None) -> Any:
    """Sums of products over the last axes of one and the first of another, or over those named."""
    if out is not None or isinstance(dims, Tensor):
        return NotImplemented
    if isinstance(dims, int):
        dims = ([*range(a.ndim - dims, a.ndim)], [*range(dims)])
    first, second = ([axis % t.ndim for axis in _listed(d)] for d, t in zip(dims, (a, b), strict=True))
    one, other = list(LETTERS[: a.ndim]), list(LETTERS[a.ndim : a.ndim + b.ndim])
    for k, n in zip(first, second, strict=True):
        other[n] = one[k]
    kept = [x for x in one if x not in other] + [x for x in other if x not in one]
    return einsum(f"{''.join(one)},{''.join(other)}->{''.join(kept)}", a, b)


def _listed(axes: Any) -> Sequence[int]:
    return [axes] if isinstance(axes, int) else list(axes)


def inner(input: Any, other: Any, *, out: Any = None) -> Any:  # noqa: A002  (torch's name)
    """Sums of products over the last axis of both."""
    return NotImplemented if out is not None else tensordot(input, other, ([-1], [-1]))


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """A b / (|a| |b|): lengths scale, as gates do."""
    a, b = (t / t.norm(dim=dim, keepdim=True).clamp_min(eps) for t in (x1, x2))
    return (a * b).sum(dim)


def trapezoid(y: Any, x: Any = None, *, dx: float = 1.0, dim: int = -1) -> Any:
    """The area below straight lines between neighbours."""
    if x is not None:
        return NotImplemented
    last = y.shape[dim] - 1
    return (y.narrow(dim, 0, last) + y.narrow(dim, 1, last)).sum(dim) * (dx / 2)


def dstack(tensors: Any, *, out: Any = None) -> Any:
    """Side by side along the third axis."""
    return NotImplemented if out is not None else torch.cat([torch.atleast_3d(t) for t in tensors], 2)
