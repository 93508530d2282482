"""Where a logit went: from its whole height down over biases, stabilisers and losses to what lies on pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from relprop.plots.drawn import Drawn
from relprop.plots.named import on_a_line, plain
from relprop.plots.palette import FAINT, GREY, INK, SKY, STYLE, VERMILION
from relprop.plots.style import style
from relprop.support.account import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 8
"""So many ops are named that took the most."""
SMALL = 2e-3
"""Of the largest step: an op that took less is counted among the others, and eps and losses are left out."""


class Kept(Protocol):
    """The ledger of a method."""

    @property
    def start(self) -> Any:
        """(T, B) what the walk started with."""

    @property
    def end(self) -> Any:
        """(T, B) what came to the input."""

    def __iter__(self) -> Any:
        """Rows with path, op, bias, eps and lost, (T, B) each."""


@dataclass(frozen=True)
class Step:
    """A bar: what stands there as a whole, or what is taken from what stood above."""

    label: str
    amount: float
    whole: bool = False


def ledger(
    e: Any,
    target: Any = None,
    method: str | None = None,
    picture: int = 0,
    *,
    names: str = "paper",
    few: int = FEW,
    on: str = "on the input",
) -> Figure:
    """Draw where a logit went, as a waterfall: the logit, what biases took op by op, epsilon, what is lost, the map.

    Args:
        e: what `relprop.explain` returned; or a ledger of it.
        target: as for `show`; of a ledger alone the place along its targets.
        method: whose; None: the first that keeps a ledger.
        picture: which of the batch.
        names: of methods, as in the "paper" or in "code".
        few: so many ops are named; the others are one bar.
        on: what the last bar is called.

    Returns:
        The figure, which a notebook shows.

    Raises:
        ValueError: the method keeps no ledger: it conserves nothing, as gradients do.

    Example:
        >>> import torch, relprop as rp
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3)).eval()
        >>> e = rp.explain(model, torch.ones(1, 4), [0, 2], ["lrp-epsilon"])
        >>> rp.plots.render(rp.plots.ledger(e, 2))[1:4]
        b'PNG'
    """
    first = "start"
    if hasattr(e, "ledger"):
        kept, place, title = _of_explanation(e, target, method, picture, names)
        if math.isclose(float(kept.start[place, picture]), float(e.values[place, picture]), rel_tol=1e-5):
            first = "value" if int(e.targets[place, picture]) < 0 else "logit"
    else:
        kept, place, title = e, int(target or 0), "ledger"
    steps = [Step(first, float(kept.start[place, picture]), whole=True), *_steps(kept, place, picture, few, on)]
    with style(STYLE):
        figure = Drawn(figsize=(6.4, 0.9 + 0.27 * len(steps)), layout="constrained")
        axis = figure.subplots()
        _bars(axis, steps)
        axis.set_title(title, loc="left")
    return figure


def _of_explanation(e: Any, target: Any, method: str | None, picture: int, names: str) -> tuple[Kept, int, str]:
    """The ledger, its target's place, and what it is of."""
    if method is None and e.ledger:
        method = next(iter(e.ledger))
    name = e.method(method)
    if name not in e.ledger:
        raise ValueError(f"{name} conserves no relevance, so it keeps no ledger; draw that of an LRP method")
    place = e.place(target)
    title = f"{plain(e.title(place, picture))}, {on_a_line(name, names)}"
    return e.ledger[name], place, title


def _steps(kept: Kept, place: int, picture: int, few: int, on: str) -> list[Step]:
    """The bars below the first, from top to bottom; they add up."""

    def at(numbers: Any) -> float:
        return float(numbers[place, picture])

    start, end = at(kept.start), at(kept.end)
    biases: dict[str, float] = {}
    eps = lost = softmax = 0.0
    for row in kept:
        eps, lost = eps + at(row.eps), lost + at(row.lost)
        if row.op == "softmax":
            softmax += at(row.bias)
        else:
            label = f"{row.op} {row.path}".strip()
            biases[label] = biases.get(label, 0.0) + at(row.bias)
    size = max(map(abs, (start, end, eps, lost, softmax, *biases.values()))) or 1.0
    named = _largest(biases, few, SMALL * size)
    others = sum(biases.values()) - sum(biases[label] for label in named)
    number = sum(1 for label, amount in biases.items() if amount and label not in named)
    steps = [Step(f"bias of {label}", biases[label]) for label in named]
    rest = "other biases" if named else "biases"
    steps.append(Step(f"{rest} ({number} {'op' if number == 1 else 'ops'})", others))
    steps += [Step("softmax", softmax), Step("epsilon", eps), Step("lost", lost)]
    steps.append(Step("not accounted for", start - end - sum(step.amount for step in steps)))
    steps = [step for step in steps if abs(step.amount) > SMALL * size]
    share = f" ({percent(end / start)})" if start else ""
    return [*steps, Step(f"{on}{share}", end, whole=True)]


def _largest(amounts: dict[str, float], few: int, least: float) -> list[str]:
    """The labels of the largest amounts, in the order in which they are given."""
    ranked = sorted(amounts, key=lambda label: -abs(amounts[label]))[:few]
    return [label for label, amount in amounts.items() if label in ranked and abs(amount) > least]


def _bars(axis: Axes, steps: list[Step]) -> None:
    """Draw the bars, each hanging where the one above ended."""
    level = 0.0
    ends = [0.0]
    for row, step in enumerate(steps):
        left, right = (0.0, step.amount) if step.whole else (level, level - step.amount)
        colour = (VERMILION if row else INK) if step.whole else (GREY if step.amount > 0 else SKY)
        axis.barh(row, right - left, left=left, height=0.62, color=colour)
        if row + 1 < len(steps):
            axis.plot((right, right), (row - 0.31, row + 1.31), color=FAINT, linewidth=0.6)
        axis.annotate(
            _signed(step), (max(left, right), row), (4, 0), textcoords="offset points", va="center", fontsize=8
        )
        level = right
        ends += [left, right]
    axis.set_yticks(range(len(steps)), [plain(step.label) for step in steps])
    axis.set_ylim(len(steps) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    axis.axvline(0, color=INK, linewidth=0.6)
    axis.set_xlim(*_wide(ends))
    axis.set_xlabel("relevance; grey is taken away, blue is added")


def _wide(ends: Iterable[float]) -> tuple[float, float]:
    """An extent with room for a number at its right."""
    low, high = min(ends), max(ends)
    wide = (high - low) or 1.0
    return low - (0.03 * wide if low < 0 else 0), high + 0.16 * wide


def _signed(step: Step) -> str:
    number = f"{step.amount:.4g}" if step.whole else f"{-step.amount:+.3g}"
    return number.replace("-", "\N{MINUS SIGN}", 1) if number.startswith("-") else number
