"""What a rule is, what it sees of a layer, and what it makes of the relevance that comes from above.

Notation (Kohlbrenner et al., 2020): a layer has inputs x_i, weights w_ij, biases b_j; z_ij = x_i w_ij;
z_j = sum_i z_ij + b_j; z^+ = max(z, 0) and z^- = min(z, 0) are taken term by term. R_j is the relevance
that comes from above, R_i what the rule hands down. In the code `s` is always relevance divided by a
denominator, and `layer.backward(s, w)` is sum_j w_ij s_j.

A rule sees a layer only through `Layer`, so every rule serves every kind of linear op.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

if TYPE_CHECKING:
    from torch import Tensor


class Kind(StrEnum):
    """Every kind of op that the engine knows; selectors and rules ask for them."""

    CONV = "conv"
    LINEAR = "linear"
    AVG_POOL = "avg_pool"
    MAX_POOL = "max_pool"
    ADD = "add"
    NORM = "norm"
    LAYER_NORM = "layer_norm"
    ACTIVATION = "activation"
    PRODUCT = "product"
    BILINEAR = "bilinear"
    SOFTMAX = "softmax"
    ATTENTION = "attention"
    MOVE = "move"
    FUNCTION = "function"
    """Of several numbers, and no sum of them: a length, a variance, a product along an axis, a logarithm of a sum."""
    EMBEDDING = "embedding"
    STOP = "stop"
    GETTER = "getter"
    """Gives a form, a comparison, an index: nothing that carries relevance."""
    CONSTANT = "constant"
    """Makes a new tensor of a value's form."""
    ESCAPE = "escape"
    """Takes numbers out of torch, from where they could come back as anything."""
    OPAQUE = "opaque"
    """Not in the table: relevance that reaches it is an error."""


WEIGHTED: frozenset[str] = frozenset({Kind.CONV, Kind.LINEAR})
LINEAR: frozenset[str] = WEIGHTED | {Kind.AVG_POOL, Kind.NORM, Kind.LAYER_NORM}
SUMS: frozenset[str] = frozenset({Kind.ADD, Kind.BILINEAR, Kind.ATTENTION, Kind.FUNCTION})


class Layer(Protocol):
    """A linear op with the numbers of one forward pass, as the rules see it (see `ops.layer`)."""

    x: Tensor
    """Input."""
    w: Tensor
    """Weight."""
    b: Tensor | None
    """Bias, broadcastable to z."""

    @property
    def z(self) -> Tensor:
        """Output, bias included; where an in-place ReLU overwrote it, and R is 0 where that gave 0, what it left."""
        ...

    @property
    def x_real(self) -> Tensor:
        """Input, with 0 for constants among it such as padding."""
        ...

    def forward(self, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        """sum_i x_i w_ij + b_j."""
        ...

    def backward(self, s: Tensor, w: Tensor) -> Tensor:
        """sum_j w_ij s_j for s of shape (T, *z.shape); (T, *x.shape)."""
        ...

    def ratio(
        self, R: Tensor, terms: Sequence[tuple[Tensor | None, Tensor]], b: Tensor | None = None, eps: float = 0.0
    ) -> Share:
        """R_i = sum_j z_ij / (z_j + eps sign(z_j)) R_j with z_ij the sum of x_i w_ij over the terms, z_j that and b_j.

        Args:
            R: relevance from above, (T, *z.shape); the rule does not need it again.
            terms: pairs of an input, None for ones, and a weight.
            b: bias.
            eps: at least 0.
        """
        ...

    def quotient(
        self, R: Tensor, z: Tensor, eps: float = 0.0, scale: float = 1.0, *, last: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Scale R / (z + eps sign(z)), and the sum per map and picture of what eps and empty denominators took.

        Args:
            R: relevance from above, (T, *z.shape); overwritten if nobody else needs it and this is its last use.
            z: the denominator before stabilisation: `z`, or a tensor that the rule does not need again.
            eps: at least 0.
            scale: a factor.
            last: whether the rule does not need R again.
        """
        ...

    def signed(self, signs: Sequence[int], bias: bool | str = False) -> list[Tensor]:
        """sum_i z_ij^+ (sign +1) or sum_i z_ij^- (sign -1) for each sign, with the `signed_bias`.

        Where R is proved to be 0, what is given may be anything finite.
        """
        ...

    def signed_bias(self, sign: int, bias: bool | str) -> Tensor | None:
        """b^+ or b^- (bias is True), b ("whole"), or none (False)."""
        ...

    def signed_backward(self, s: Sequence[Tensor], signs: Sequence[int]) -> Tensor:
        """sum_j z_ij^+ s_j (sign +1) or sum_j z_ij^- s_j (sign -1), summed over the signs; (T, *x.shape)."""
        ...

    def own_sign(self) -> Tensor:
        """sum_i z_ij^s + b_j^s, with s the sign of z_j; where R is proved to be 0, anything finite."""
        ...

    def own_sign_bias(self) -> Tensor | None:
        """b_j^s, with s the sign of z_j."""
        ...

    def own_sign_backward(self, s: Tensor) -> Tensor:
        """sum_j z_ij^s s_j, with the superscript s the sign of z_j; (T, *x.shape)."""
        ...

    def count(self) -> Tensor:
        """The number of real inputs (padding is none) of each output, broadcastable to z."""
        ...

    def kernel_area(self) -> int:
        """The number of inputs of an output that no padding touches."""
        ...

    def spread(self, R: Tensor, d: Tensor) -> Tensor:
        """sum_j R_j / d_j over the outputs j that i is connected with, for d like `count`; (T, *x.shape)."""
        ...

    def total(self, R: Tensor) -> Tensor:
        """The sum of R (T, *z.shape) per map and picture; (T, B)."""
        ...

    def dot(self, s: Tensor, v: Tensor | None) -> Tensor | float:
        """The sum of s v per map and picture, for v that can be broadcast to z; (T, B), or 0 without v."""
        ...

    def bounds(self, bound: float | tuple[float, ...]) -> Tensor:
        """A bound, or one per channel, as a tensor of the shape of x; 0 for constants among it."""
        ...

    def apart(self) -> tuple[Layer, Layer] | None:
        """The layer without its bias, and z_j + b_j as a layer of one input an output; None: there is no bias."""
        ...


class Call(Protocol):
    """One call of an op, as a rule sees it that has a way of its own through ops that are not weighted."""

    @property
    def kind(self) -> Kind:
        """The kind of op."""
        ...

    @property
    def name(self) -> str:
        """The op's name, as plans show it."""
        ...

    @property
    def inputs(self) -> int:
        """How many of its arguments were recorded."""
        ...

    def gradient(self, R: list[Tensor]) -> tuple[Tensor, ...]:
        """The vector-Jacobian product: R (T, *shape) of each output to (T, *shape) of each input."""
        ...


class Zero(Enum):
    """Where the relevance that was handed down is proved to be 0; it saves passes in the layer below."""

    UNPROVED = "nowhere, for all that is known"
    WITH_INPUT = "wherever the input is 0"
    AS_ABOVE = "wherever the input is not positive, if it was so for the output above"


@dataclass
class Share:
    """What a rule makes of the relevance from above: they add up to it."""

    relevance: tuple[Tensor | None, ...]
    """What each input of the op gets, (T, *shape); None for nothing."""
    bias: Tensor | float = 0.0
    """What the bias took, (T, B)."""
    eps: Tensor | float = 0.0
    """What the stabiliser took, and what an empty denominator could not hand out, (T, B)."""
    lost: Tensor | float = 0.0
    """What went to constants, padding, or nowhere, (T, B)."""
    zero: Zero = Zero.UNPROVED
    """Where each input's relevance is proved to be 0."""
    within: Tensor | None = None
    """What the remainder of a softmax inside the op took, (T, B): bias, in a row of the ledger that says softmax."""


@dataclass(frozen=True, eq=False)
class Rule:
    """A rule is numbers and one formula. Rules of one class with equal numbers are one rule.

    Attributes:
        fits: the kinds of op that take the rule whenever a selector hands it to them; other kinds keep
            their default.
        can: the kinds that take it if the selector names their kind (`rp.on.pool`, `rp.on.norm`).
        everywhere: whether it also goes where relevance does not: through gates.
        conserves: whether what it hands down adds up to what came, so that there is a ledger.
    """

    fits: ClassVar[frozenset[str]] = WEIGHTED
    can: ClassVar[frozenset[str]] = LINEAR
    everywhere: ClassVar[bool] = False
    conserves: ClassVar[bool] = True

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Remember which numbers the user gave: they win over a profile, also where they equal a default."""
        rule = super().__new__(cls)
        names = (f.name for f in fields(cls) if f.init)
        object.__setattr__(rule, "_given", frozenset((*kwargs, *(name for name, _ in zip(names, args, strict=False)))))
        return rule

    @property
    def given(self) -> frozenset[str]:
        """The names of the numbers that were given, whatever they are."""
        names: frozenset[str] = getattr(self, "_given", frozenset())
        return names

    @property
    def sides(self) -> int:
        """How many denominators of terms of one sign the formula has."""
        return 0

    @property
    def opens(self) -> bool:
        """Whether the gates of ops that have this rule take relevance as well; a class may also say opens = True."""
        return False

    def share(self, layer: Layer, R: Tensor) -> Share:
        """Hand R, (T, *z.shape), down through the layer."""
        raise NotImplementedError

    def hand_down(self, call: Call, R: list[Tensor]) -> Share | None:
        """Hand R, (T, *shape) for each output, down through an op that is not weighted; None: the op's own way."""
        del call, R
        return None

    def __eq__(self, other: object) -> bool:
        """Also for a class of the user's own that is no dataclass, whose numbers stand in its attributes."""
        if type(self) is not type(other):
            return False
        mine, theirs = _numbers(self), _numbers(other)
        return mine.keys() == theirs.keys() and all(_same(number, theirs[name]) for name, number in mine.items())

    def __hash__(self) -> int:
        return hash((type(self), *sorted(_numbers(self))))

    def __str__(self) -> str:
        """The rule with the numbers that differ from their defaults."""
        shown = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if f.repr and self._says(f.name)]
        return f"{type(self).__name__}({', '.join(shown)})"

    def _says(self, name: str) -> bool:
        return bool(getattr(self, name) != type(self).__dataclass_fields__[name].default)


def _numbers(rule: object) -> dict[str, Any]:
    """What tells rules of one class apart."""
    return {name: number for name, number in vars(rule).items() if name != "_given"}


def _same(a: object, b: object) -> bool:
    """Whether two attributes of rules are one; tensors and arrays are where they are the same object."""
    if a is b:
        return True
    try:
        return bool(a == b)
    except (RuntimeError, TypeError, ValueError):  # of several numbers
        return False


@dataclass(frozen=True, eq=False)
class Fixed(Rule):
    """What an op does by its nature, whatever the composite says; its name is for the plan to show."""

    name: str = ""
    can: ClassVar[frozenset[str]] = frozenset()
    fits: ClassVar[frozenset[str]] = frozenset()

    def __str__(self) -> str:
        """Its name."""
        return self.name
