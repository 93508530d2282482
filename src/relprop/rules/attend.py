"""The rule of attention: what softmax, products of two values and attention in one call hand down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from relprop.rules.layer import Kind, Rule
from relprop.support.errors import RuleError

WAYS = ("all", "values")


@dataclass(frozen=True, eq=False)
class Attend(Rule):
    """Through all of attention, or through its values alone.

    For o = A v with A = softmax(x), and s = R / (o + eps sign(o)):

    - "all" (AttnLRP, Achtibat et al. 2024): two factors share half and half (proposition 3.3), R_v = 1/2 v (A^T s) and
      R_A = 1/2 A (s v^T), and the softmax hands on R_x = x (R_A - A sum R_A) (proposition 3.1), Taylor's expansion at
      x; its remainder is bias, in a row of the ledger that says softmax.
    - "values" (CP-LRP, Ali et al. 2022): A is a gate that takes none, R_v = v (A^T s).

    It is made for what `rp.on.attention` means: softmax, products of two matrices of values, attention in one call.
    Asked for by name (`rp.on.product`) it also takes products one by one, whose gates then take half under "all".

    Attributes:
        eps: stabiliser of o; 0 by default, as 1e-6 moves the tokens of real models by 4e-4. Papers write the
            denominator of two factors as 2 o + eps: this eps is half of theirs.
        through: "all" or "values".

    Raises:
        RuleError: eps is negative, or `through` is another word.

    Example:
        >>> import relprop as rp
        >>> rp.Composite([(rp.on.attention, rp.rules.Attend(through="values")), (rp.on.any, rp.rules.Epsilon(0.0))])
        Composite([
            (on.attention, Attend(through='values')),
            (on.any, Epsilon(eps=0.0)),
        ])
    """

    eps: float = 0.0
    through: str = "all"
    fits: ClassVar[frozenset[str]] = frozenset({Kind.ATTENTION, Kind.SOFTMAX, Kind.BILINEAR})
    can: ClassVar[frozenset[str]] = fits | {Kind.PRODUCT}

    def __post_init__(self) -> None:
        if not self.eps >= 0:
            raise RuleError(f"Attend(eps={self.eps}): eps must be at least 0")
        if self.through not in WAYS:
            raise RuleError(f"Attend(through={self.through!r}): through is 'all' or 'values'")

    @property
    def opens(self) -> bool:
        """Also through gates where it is the rule: attention's weights, and what made them."""
        return self.through == "all"
