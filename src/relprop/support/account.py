"""Where what a map started as went, in numbers and in words: a picture of relevance says nothing of its amount."""

from __future__ import annotations

import math
from dataclasses import dataclass

HALF = 0.5
"""A map that holds less than this share of what it explains shows the smaller part of the truth."""
NOTICEABLE = 5e-3
"""A share below it is not told in words."""
SAME = 1e-2
"""Apart from what is explained by less than this share, a start is no other than it."""
NEGATIVE = "The network says no: the logit is below zero."
BELOW = "The value explained is below zero."
TURNED = "Blue then speaks for the class under alpha-beta everywhere (lrp-alpha1, lrp-alpha2)."


@dataclass(frozen=True)
class Account:
    """What one map holds of what it explains.

    Attributes:
        total: the sum of the map.
        value: what is explained: a logit, or the value of a function.
        start: what relevance started as; None: the method conserves nothing, as gradients do.
        bias: what biases took, softmax with them.
        eps: what stabilisers took.
        lost: what went to constants, padding and conditions.
    """

    total: float
    value: float
    start: float | None = None
    bias: float = 0.0
    eps: float = 0.0
    lost: float = 0.0

    @property
    def kind(self) -> str:
        """What the numbers are: "relevance" of a method that accounts for it, otherwise "attribution"."""
        return "attribution" if self.start is None else "relevance"

    @property
    def share(self) -> float | None:
        """What part of the start lies on the map; None where there is no start, or it is zero.

        Example:
            >>> Account(total=16.13, value=16.26, start=16.26, bias=0.13).share.__round__(2)
            0.99
        """
        return self.total / self.start if self.start else None

    @property
    def low(self) -> bool:
        """Whether less than half of the start lies on the map."""
        return self.share is not None and self.share < HALF

    def words(self, on: str = "pixels") -> str:
        """How much of what is explained lies on the map.

        Args:
            on: what the map is of.

        Example:
            >>> Account(total=16.13, value=16.26, start=16.26, bias=0.13).words()
            '16.13 of 16.26 on pixels'
            >>> Account(total=0.5, value=16.26).words()
            'its sum is 0.5'
            >>> Account(total=0.98, value=16.26, start=1.0, lost=0.02).words()
            '0.980 of its start, 1.000, on pixels'
        """
        if self.start is None:
            return f"its sum is {_plain(self.total)}"
        if math.isclose(self.start, self.value, rel_tol=SAME, abs_tol=1e-6):
            return f"{in_common(self.total, self.start)} on {on}"
        return f"{in_common(self.total, self.start, 'of its start,')}, on {on}"

    @property
    def warning(self) -> str:
        """What to beware of where less than half lies on the map, "" elsewhere.

        Example:
            >>> Account(total=0.4, value=8.0, start=8.0, bias=7.5, eps=0.1).warning
            'only 5 %: 94 % in biases, 1 % in epsilon'
        """
        if not self.low or self.share is None or not self.start:
            return ""
        shares = {
            "in biases": self.bias / self.start,
            "in epsilon": self.eps / self.start,
            "lost": self.lost / self.start,
        }
        told = [f"{percent(share)} {where}" for where, share in shares.items() if abs(share) > NOTICEABLE]
        return f"only {percent(self.share)}: {', '.join(told)}" if told else f"only {percent(self.share)}"


def note(value: float, methods: tuple[str, ...] = (), *, logit: bool = True) -> str:
    """What is to be said where what is explained is below zero, "" elsewhere.

    Args:
        value: the logit.
        methods: whose maps are shown.
        logit: whether it is one, and not the value of a function, whose sign may mean something else.

    Example:
        >>> note(-1.5, ("cmp-alpha1",))
        'The network says no: the logit is below zero.'
        >>> note(1.5)
        ''
    """
    if not value < 0:
        return ""
    said = NEGATIVE if logit else BELOW
    return f"{said} {TURNED}" if logit and any(name.startswith("lrp-alpha") for name in methods) else said


def noted(title: str, value: float, methods: tuple[str, ...] = (), *, logit: bool = True) -> str:
    """A title with that note on a line below it, where there is one; the arguments as for `note`.

    Example:
        >>> noted("otter, logit 2", 2.0)
        'otter, logit 2'
    """
    said = note(value, methods, logit=logit)
    return f"{title}\n{said}" if said else title


def percent(share: float) -> str:
    """A share as a whole number of hundredths.

    Example:
        >>> percent(0.992), percent(-0.12)
        ('99 %', '\N{MINUS SIGN}12 %')
    """
    return f"{100 * share:.0f} %".replace("-", "\N{MINUS SIGN}")


def in_common(part: float, whole: float, of: str = "of") -> str:
    """Two numbers with as many decimals as give the larger one four digits.

    Example:
        >>> in_common(16.1301, 16.2612), in_common(-3e-7, 2e-6)
        ('16.13 of 16.26', '\N{MINUS SIGN}3e-07 of 2e-06')
    """
    largest = float(f"{max(abs(part), abs(whole)):.3e}")  # of 0.99999 as of 1
    decimals = 3 - math.floor(math.log10(largest)) if 0 < largest < math.inf else 2
    if decimals > 5:
        return f"{_plain(part)} {of} {_plain(whole)}"
    form = f".{max(decimals, 0)}f"
    return f"{part:{form}} {of} {whole:{form}}".replace("-", "\N{MINUS SIGN}")


def _plain(number: float) -> str:
    text = f"{number:.4g}"
    return "\N{MINUS SIGN}" + text[1:] if text.startswith("-") else text
