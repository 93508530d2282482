"""What flipping flips: regions of pictures, tokens of texts; and what stands in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from relprop.metrics.arrays import Array, as_tensor
from relprop.support.errors import InputError
from relprop.support.suggest import did_you_mean

Replacement = str | float | Array | None
"""What stands in the place of what is flipped."""

Keep = Sequence[int] | Array | None
"""Tokens that are never flipped."""

FILLS = ("mean", "blur", "neighbours")
ABSENT = "absent"


class Pictures:
    """Pictures whose regions can be replaced.

    Attributes:
        relevance: (B, N) float64, of each region; NaN where the map is the same everywhere.
        can: (B, N) bool, whether it may be flipped: always.
    """

    def __init__(self, x: Tensor, R: Tensor, region: int, replace: Replacement) -> None:
        self.x = x
        plane = R.detach().to(x.device, torch.float64)
        plane = plane.sum(1) if plane.ndim == 4 else plane
        if plane.shape != x.shape[:1] + x.shape[2:]:
            raise InputError(
                f"R of shape {tuple(R.shape)} with x of {tuple(x.shape)}: give relevance of x's shape, or (B, H, W)"
            )
        height, width = x.shape[2:]
        if not 1 <= region <= max(height, width):
            raise InputError(f"region={region}: choose the side of a square from 1 to {max(height, width)} pixels")
        columns = -(-width // region)
        down, across = (torch.arange(size, device=x.device) // region for size in (height, width))
        self.places = down[:, None] * columns + across
        number = int(self.places[-1, -1]) + 1
        flat = self.places.flatten().expand(len(x), -1)
        sums = plane.new_zeros(len(x), number).scatter_add_(1, flat, plane.flatten(1))
        same = (plane == plane[:, :1, :1]).flatten(1).all(1)  # though smaller regions at the border sum to less
        self.relevance = sums.masked_fill(same[:, None], torch.nan)
        self.can = torch.ones_like(self.relevance, dtype=torch.bool)
        self.neighbours = replace == "neighbours"
        self.fill = x if self.neighbours else _fill(x, "mean" if replace is None else replace)

    def versions(self, which: Tensor, flipped: Tensor) -> Tensor:
        """Pictures with some regions replaced, (n, C, H, W).

        Args:
            which: (n,) picture that each is a version of.
            flipped: (n, N) bool.
        """
        gone = flipped[:, self.places][:, None]
        whole = self.x[which]
        return torch.where(gone, _from_neighbours(whole, ~gone) if self.neighbours else self.fill[which], whole)


def _fill(x: Tensor, replace: Any) -> Tensor:
    """What replaces the pixels of each picture, (B, C, H, W)."""
    if isinstance(replace, str):
        if replace == "mean":
            return x.mean((2, 3), keepdim=True).expand_as(x)
        if replace == "blur":
            return _weighted(x, *(_bells(size, min(x.shape[2:]) / 8, x) for size in x.shape[2:]))
        raise InputError(f"no replacement {replace!r}{did_you_mean(replace, FILLS)}")
    fill = (torch.tensor(replace) if isinstance(replace, int | float) else as_tensor(replace, "replace")).to(x)
    shape = tuple(fill.shape)
    fill = fill[:, None, None] if fill.ndim == 1 else fill
    try:
        return fill.expand_as(x)
    except RuntimeError:
        raise InputError(
            f"replace of shape {shape} with x of {tuple(x.shape)}: give a number, (C,), (C, H, W) or (B, C, H, W)"
        ) from None


def _bells(size: int, width: float, like: Tensor) -> Tensor:
    """Gaussian weights (size, size) of each place around each place, which add up to 1 at the borders too."""
    at = torch.arange(size, device=like.device, dtype=like.dtype)
    weights = torch.exp(-((at[:, None] - at) ** 2) / (2 * width**2))
    return weights / weights.sum(1, keepdim=True)


def _weighted(x: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Sums of the pixels of each column, then of each row: (..., H, W)."""
    return down @ x @ across.T


def _from_neighbours(x: Tensor, kept: Tensor) -> Tensor:
    """The mean colour of what is kept, by weights that fall with the square of the distance along both axes.

    No colour of a flipped pixel goes into it, as it does into a blur. Where nothing is kept, the picture's mean.
    """
    near = [1 / (1 + (at[:, None] - at) ** 2) for at in (torch.arange(s, device=x.device).to(x) for s in x.shape[2:])]
    colours, weights = _weighted(x * kept, near[0], near[1]), _weighted(kept.to(x), near[0], near[1])
    return torch.where(weights > 0, colours / weights.clamp(min=1e-30), x.mean((2, 3), keepdim=True))


class Tokens:
    """Texts whose tokens can be taken from attention, or replaced.

    Attributes:
        relevance: (B, L) float64, of each token.
        can: (B, L) bool, whether it may be flipped: padding and what is kept may not.
    """

    def __init__(self, x: Any, R: Tensor, replace: Replacement, keep: Keep) -> None:
        self.named = isinstance(x, Mapping)
        self.arguments = {str(k): v for k, v in x.items()} if self.named else {"input_ids": x}
        ids = self.arguments["input_ids"]
        if R.shape != ids.shape:
            raise InputError(f"R of shape {tuple(R.shape)} with ids of {tuple(ids.shape)}: give relevance per token")
        self.replace = ABSENT if replace is None else replace
        self.relevance = R.detach().to(ids.device, torch.float64)
        mask = self.arguments.get("attention_mask")
        self.real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask != 0
        if self.real.shape != ids.shape:
            raise InputError(f"attention_mask of shape {tuple(self.real.shape)} with ids of {tuple(ids.shape)}")
        self.can = self.real & ~self._kept(keep)
        self._check()

    def _kept(self, keep: Keep) -> Tensor:
        """The tokens that stay, (B, L) bool; positions count real tokens, from the text's own ends."""
        if keep is None:
            return torch.zeros_like(self.real)
        if not isinstance(keep, (list, tuple)):
            kept = as_tensor(keep, "keep").to(self.real.device)  # type: ignore[arg-type]
            if kept.shape != self.real.shape or kept.dtype != torch.bool:
                raise InputError(f"keep takes positions, such as (0, -1), or a bool tensor {tuple(self.real.shape)}")
            return kept
        number = self.real.sum(1, keepdim=True)
        place = self.real.cumsum(1) - 1  # of each real token among those of its text
        kept = torch.zeros_like(self.real)
        for position in keep:
            kept |= place == (position if position >= 0 else number + position)
        return kept & self.real

    def _check(self) -> None:
        if self.replace == ABSENT:
            if not self.named:
                raise InputError(
                    'replace="absent" needs a model that takes an attention_mask: give x as a mapping, '
                    'x={"input_ids": ids}, or the id of a token that takes their place, replace=0'
                )
            if not (self.real & ~self.can).any(1).all():
                raise InputError(
                    "with all tokens of a text absent there is nothing left to attend to: name some that stay, "
                    "keep=(0,) or keep=(-1,), or give the id of a token that takes their place, replace=0"
                )
        elif isinstance(self.replace, bool) or not isinstance(self.replace, int):
            raise InputError(f'replace={self.replace!r}: of tokens give "absent", or the id of the token put there')

    def versions(self, which: Tensor, flipped: Tensor) -> Any:
        """Arguments with some tokens gone, as x is given.

        Args:
            which: (n,) text that each is a version of.
            flipped: (n, L) bool.
        """
        texts = len(self.real)
        rows = {
            key: item[which] if isinstance(item, Tensor) and item.ndim and len(item) == texts else item
            for key, item in self.arguments.items()
        }
        if self.replace == ABSENT:
            mask = self.arguments.get("attention_mask", self.real.long())
            rows["attention_mask"] = mask[which].masked_fill(flipped, 0)
        else:
            rows["input_ids"] = torch.where(
                flipped, torch.as_tensor(self.replace).to(rows["input_ids"]), rows["input_ids"]
            )
        return rows if self.named else rows["input_ids"]
