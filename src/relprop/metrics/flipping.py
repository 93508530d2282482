"""Whether a map's order is the network's: what its output does as regions or tokens are taken away in that order.

Sources: Bach et al., "On Pixel-Wise Explanations" (2015), who flip pixels; Samek et al., "Evaluating the Visualization
of What a Deep Neural Network Has Learned" (2017), regions, both orders and the area between their curves (ABPC);
Blücher et al., "Decoupling Pixel Flipping and Occlusion Strategy for Consistent XAI Benchmarks" (2024), the symmetric
relevance gain (SRG): the order of two maps by one curve alone depends on what is put in the place of the pixels, by
the difference of both hardly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from relprop.metrics.arrays import as_tensor
from relprop.metrics.flipped import Keep, Pictures, Replacement, Tokens
from relprop.metrics.values import Target, Values
from relprop.support.errors import InputError
from relprop.support.tables import counted


@dataclass(frozen=True, eq=False)
class Flips:
    """What the target's value does as more and more is flipped; NaN where the map gives no order.

    Attributes:
        fractions: (B, steps + 1), 0 to 1: how much of what can be flipped is.
        morf: (B, steps + 1), the value with the most relevant first.
        lerf: (B, steps + 1), with the least relevant first.
    """

    fractions: Tensor
    morf: Tensor
    lerf: Tensor

    def __repr__(self) -> str:
        areas = ", ".join(
            f"{name} {float(getattr(self, name).nanmean()):.4g}" for name in ("morf_area", "lerf_area", "srg")
        )
        return f"Flips({counted(len(self.morf), 'curve')} of {self.morf.shape[1] - 1} steps; in the mean {areas})"

    @property
    def morf_area(self) -> Tensor:
        """Area under the curve of the most relevant first, (B,): the lower the better."""
        return torch.trapezoid(self.morf, self.fractions)

    @property
    def lerf_area(self) -> Tensor:
        """Area under the curve of the least relevant first, (B,): the higher the better."""
        return torch.trapezoid(self.lerf, self.fractions)

    @property
    def srg(self) -> Tensor:
        """Symmetric relevance gain, (B,): `lerf_area` less `morf_area`, 0 of an order by chance in the mean."""
        return self.lerf_area - self.morf_area

    @property
    def abpc(self) -> Tensor:
        """Area between the perturbation curves, (B,): the mean over all steps, 0 among them, of LeRF less MoRF.

        Both curves begin and end alike, so over equal steps it is `srg` times steps / (steps + 1).
        """
        return (self.lerf - self.morf).mean(1)


def flip(
    model: Callable[..., Any],
    x: Any,
    R: Any,
    target: Target,
    *,
    region: int = 1,
    steps: int = 20,
    replace: Replacement = None,
    keep: Keep = None,
    batch: int = 64,
) -> Flips:
    """Take away what a map calls relevant, and what it calls irrelevant, and see what the output does.

    Args:
        model: any callable in eval mode. It gets versions of x as it would get x.
        x: pictures (B, C, H, W); or token ids (B, L), or a mapping from a tokenizer with `input_ids` and, where there
            is padding, `attention_mask` (B, L).
        R: relevance of x: (B, C, H, W), summed over channels, or (B, H, W); of tokens (B, L). A tensor or an array.
        target: as for `relprop.attribute`: an index, a (B,) integer tensor, a name where the model has `.classes`, None
            for the class predicted on the whole of x; what `relprop.at` gives, with ids; or a function of the output to
            a number per row. It is given versions of several pictures at once, so it must not say something else of
            each.
        region: side of the squares that pictures are flipped by, in pixels; those at the right and lower border may be
            smaller. A region's relevance is the sum over its pixels.
        steps: at step k the number of regions or tokens nearest to k / steps of all is gone.
        replace: what stands in the place of pixels: "mean" (the picture's own mean colour, if nothing is said),
            "blur" (the picture under a Gaussian of an eighth of its shorter side), "neighbours" (a mean of the pixels
            that are left, weighted by nearness), a number, or a tensor (C,), (C, H, W), (B, C, H, W), such as the mean
            image. Of tokens: "absent" (attention_mask 0, if nothing is said), or the id of the token put there.
        keep: tokens that are never flipped, besides padding: positions such as (0, -1), which count the real tokens of
            each text, or a bool tensor (B, L). Where tokens become absent, some must stay.
        batch: how many versions the model gets in one call.

    Returns:
        Curves, in float64, and their areas. Of equal relevance is flipped first, in both orders, what comes first in
        reading order; the map of a picture that is the same everywhere, or not finite, gives no order: NaN.

    Raises:
        InputError: shapes do not fit, or an argument is not what it must be.

    Example:
        >>> import torch, relprop as rp
        >>> weights = torch.tensor([[4.0, 3.0], [2.0, 1.0]])
        >>> model = lambda x: (x * weights).sum((1, 2, 3))[:, None]
        >>> x = torch.ones(1, 1, 2, 2)
        >>> found = rp.metrics.flip(model, x, x * weights, target=0, steps=4, replace=0.0)
        >>> found.morf.tolist(), found.lerf.tolist()
        ([[10.0, 6.0, 3.0, 1.0, 0.0]], [[10.0, 9.0, 7.0, 4.0, 0.0]])
        >>> found.srg.tolist()
        [2.5]
    """
    if getattr(model, "training", False):
        raise InputError("the model is in training mode, so its output is random; call model.eval() first")
    if steps < 1 or batch < 1:
        raise InputError(f"steps={steps}, batch={batch}: both must be at least 1")
    subject = _subject(x, as_tensor(R, "R"), region, replace, keep)
    with torch.no_grad():
        values = Values(model, subject, target, batch)
        return _curves(subject, values, steps)


def _subject(x: Any, R: Tensor, region: int, replace: Replacement, keep: Keep) -> Pictures | Tokens:
    """What is flipped."""
    if isinstance(x, Mapping):
        if "input_ids" not in x:
            raise InputError(f"x has {', '.join(map(repr, x))} and no 'input_ids': give pictures as one tensor")
        return Tokens(x, R, replace, keep)
    x = as_tensor(x, "x")
    if x.ndim == 2 and not x.is_floating_point():
        return Tokens(x, R, replace, keep)
    if x.ndim != 4:
        raise InputError(f"x of shape {tuple(x.shape)}: give pictures (B, C, H, W), or token ids (B, L)")
    if keep is not None:
        raise InputError("keep names tokens; of pictures all regions are flipped")
    return Pictures(x, R, region, replace)


def _curves(subject: Pictures | Tokens, values: Values, steps: int) -> Flips:
    """Run all versions, and lay their values out as curves."""
    ranks = torch.stack([_ranks(subject, most_first) for most_first in (True, False)])
    total = subject.can.sum(1)
    counts = (2 * total[:, None] * torch.arange(steps + 1, device=total.device) + steps) // (2 * steps)
    wanted = [
        (order, picture, count)
        for picture in _ordered(subject).nonzero()[:, 0].tolist()
        for order in range(2)
        for count in counts[picture].unique().tolist()
        if order == 0 or 0 < count < int(total[picture])  # where nothing or all is gone both orders are the same
    ]
    curves = torch.full((2, *counts.shape), torch.nan, dtype=torch.float64, device=total.device)
    for start in range(0, len(wanted), values.batch):
        part = wanted[start : start + values.batch]
        order, picture, count = torch.tensor(part, device=total.device).T
        found = values.of(picture, ranks[order, picture] < count[:, None])
        for (o, p, c), value in zip(part, found, strict=True):
            both = slice(None) if c in (0, int(total[p])) else slice(o, o + 1)
            curves[both, p] = torch.where(counts[p] == c, value, curves[both, p])
    return Flips(counts.double() / total.clamp(min=1)[:, None], curves[0], curves[1])


def _ranks(subject: Pictures | Tokens, most_first: bool) -> Tensor:
    """When each region or token is flipped, (B, N), from 0; N for what never is."""
    sign = -1.0 if most_first else 1.0
    relevance = torch.where(subject.can, sign * subject.relevance, torch.inf)
    order = relevance.argsort(dim=1, stable=True)
    ranks = torch.empty_like(order).scatter_(
        1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
    )
    return ranks.masked_fill(~subject.can, order.shape[1])


def _ordered(subject: Pictures | Tokens) -> Tensor:
    """Whether the map of each picture says an order, (B,) bool."""
    can, relevance = subject.can, subject.relevance
    low, high = (sign * torch.where(can, sign * relevance, torch.inf).amin(1) for sign in (1.0, -1.0))
    return torch.where(can, relevance, 0.0).isfinite().all(1) & (low < high)
