"""What one pass over a data set keeps of every channel: the best pictures, and sums; no more for more pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from relprop.study.statistics import interval

RESAMPLES = 1000


class Best:
    """For each channel the pictures with the greatest scores, greatest first; of equal ones those that came first.

    Args:
        size: how many pictures are kept.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.scores = torch.empty(0, 0, dtype=torch.float64)
        self.pictures = torch.empty(0, 0, dtype=torch.long)

    def add(self, pictures: Sequence[int], scores: Tensor) -> None:
        """Let these compete with those that are kept.

        Args:
            pictures: B indices, rising from call to call.
            scores: (B, channels).
        """
        channels = scores.shape[1]
        if not self.scores.numel():
            self.scores, self.pictures = scores.new_empty(channels, 0), torch.empty(channels, 0, dtype=torch.long)
        together = torch.cat([self.scores, scores.T], 1)
        named = torch.cat([self.pictures, torch.tensor(pictures).expand(channels, -1)], 1)
        self.scores, order = (t[:, : self.size] for t in together.sort(dim=1, descending=True, stable=True))
        self.pictures = named.gather(1, order)

    def of(self, channel: int) -> list[tuple[int, float]]:
        """The pictures of a channel with their scores; none without a positive one."""
        pairs = zip(self.pictures[channel].tolist(), self.scores[channel].tolist(), strict=True)
        return [(picture, score) for picture, score in pairs if score > 0]


class Moments:
    """Means over pictures, and their bootstrap.

    In every resample a picture counts as often as a Poisson variable of mean 1 says, drawn from the seed and its index.
    That is the bootstrap in the limit of many pictures; it needs no picture twice, and does not depend on batches.

    Args:
        seed: another one, other resamples.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.number = 0
        self._sums = torch.zeros(0, dtype=torch.float64)
        self._magnitudes = torch.zeros(0, dtype=torch.float64)
        self._drawn = torch.zeros(RESAMPLES, 0, dtype=torch.float64)
        self._times = torch.zeros(RESAMPLES, dtype=torch.float64)

    def add(self, pictures: Sequence[int], values: Tensor, magnitudes: Tensor) -> None:
        """Count pictures in.

        Args:
            pictures: B indices.
            values: (B, channels), whose mean is wanted.
            magnitudes: (B, channels), whose mean is wanted without an interval.
        """
        if not self.number:
            self._sums, self._magnitudes = (torch.zeros_like(values[0]) for _ in range(2))
            self._drawn = values.new_zeros(RESAMPLES, values.shape[1])
        draws = [np.random.default_rng((self.seed, k)).poisson(1.0, RESAMPLES) for k in pictures]
        counts = torch.from_numpy(np.stack(draws, 1)).to(values.dtype)
        self.number += len(pictures)
        self._sums += values.sum(0)
        self._magnitudes += magnitudes.sum(0)
        self._drawn += counts @ values
        self._times += counts.sum(1)

    @property
    def mean(self) -> Tensor:
        """Of the values, (channels,)."""
        return self._sums / self.number

    @property
    def magnitude(self) -> Tensor:
        """Mean of the magnitudes, (channels,)."""
        return self._magnitudes / self.number

    def interval(self, channels: Sequence[int]) -> tuple[list[float], list[float]]:
        """The ends of the 95 % intervals of some channels' means; NaN where there are fewer than two pictures."""
        if self.number < 2:
            return [float("nan")] * len(channels), [float("nan")] * len(channels)
        draws = self._drawn[:, list(channels)] / self._times[:, None]  # of no picture at all: not a number, left out
        low, high = interval(draws.numpy())
        return low.tolist(), high.tolist()
