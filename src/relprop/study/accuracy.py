"""How good a model is on pictures that show classes: top-1, top-5, and the mean average precision of VOC."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from relprop.study.statistics import Bools, Floats


def top_hits(top5: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> Floats:
    """Return (N, 2): whether the model's highest, and any of its five highest outputs is of a class shown.

    Args:
        top5: per picture, best first; empty where the model saw no picture.
        targets: per picture, the outputs for the classes that it shows; -1 for a class that the model lacks.

    Returns:
        1 for a hit, 0 for a miss, NaN where there is nothing to hit or no output.
    """
    result = np.full((len(top5), 2), np.nan)
    for row, (best, shown) in enumerate(zip(top5, targets, strict=True)):
        wanted = {target for target in shown if target >= 0}
        if wanted and best:
            result[row] = best[0] in wanted, not wanted.isdisjoint(best[:5])
    return result


def average_precision(scores: NDArray[np.floating], truth: Bools, eleven_points: bool = False) -> float:
    """Return the area under one class's precision-recall curve; NaN where no picture shows the class.

    As VOC's development kit has it since 2010, precision at a recall is the highest at that or any higher
    recall, and every recall counts. Pictures of equal scores are taken together, so that their order in
    the data set means nothing.

    Args:
        scores: (N,) finite.
        truth: (N,) which pictures show the class.
        eleven_points: as VOC 2007's kit has it, average the precision at recalls 0, 0.1, ..., 1 instead.
    """
    if not truth.any():
        return float("nan")
    from sklearn.metrics import precision_recall_curve  # type: ignore[import-untyped]  # noqa: PLC0415 - slow

    precision, recall, _ = precision_recall_curve(truth, scores)  # from the highest recall to an added end at 0
    recall, best = recall[-2::-1], np.maximum.accumulate(precision[:-1])[::-1]
    if eleven_points:
        at = np.searchsorted(recall, np.arange(11) / 10 - 1e-12)
        return float(best[at].mean())
    return float(np.sum(np.diff(recall, prepend=0.0) * best))


def mean_average_precisions(classes: Iterable[tuple[NDArray[np.floating], Bools]]) -> tuple[float, float]:
    """Return the mean of `average_precision` over the classes that some picture shows, VOC 2010's way and VOC 2007's.

    Args:
        classes: of each class the scores (N,), finite, and which pictures show it, (N,).
    """
    each = np.array([[average_precision(*both, eleven) for eleven in (False, True)] for both in classes])
    shown = np.isfinite(each).any(1)
    new, old = each[shown].mean(0) if shown.any() else (np.nan, np.nan)
    return float(new), float(old)
