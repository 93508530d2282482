"""What was found in texts, said: coloured lines in a terminal, numbers where there are no colours, JSON."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from relprop.plots.marked import plain
from relprop.plots.named import in_words
from relprop.plots.token_line import tokens_line
from relprop.support.account import SAME
from relprop.support.pieces import visible
from relprop.support.tables import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from relprop.walk.ledger import Ledger

COLUMNS = ("bias", "eps", "lost")
"""Where relevance goes that does not reach the tokens."""
Named = tuple[str, int]
"""A class or a token, and its index."""
SMALL = 1e-3
"""Of the logit: a share below it is not told in words."""


@dataclass(frozen=True, eq=False)
class Row:
    """A target of a text by a method.

    Attributes:
        target: the class or token.
        against: the token that it is held against, if any.
        value: what was explained: a logit, or the difference of two.
        method: by which.
        relevance: (L,) of the text's own tokens.
        ledger: where the rest went; None: the method conserves nothing.
        place: of this target and text in the ledger.
        layers: (L,) by module path, where it was asked for.
    """

    target: Named
    against: str | None
    value: float
    method: str
    relevance: NDArray[np.float32]
    ledger: Ledger | None
    place: tuple[int, int]
    layers: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """The sum over the tokens."""
        return float(self.relevance.sum(dtype=np.float64))

    @property
    def softmax(self) -> float:
        """What softmax's remainders took."""
        return 0.0 if self.ledger is None else sum(
            float(row.bias[self.place]) for row in self.ledger if row.op == "softmax"
        )  # fmt: skip

    @property
    def accounts(self) -> dict[str, float | None]:
        """What the sum lacks of what was explained."""
        t, b = self.place
        return accounts_of(self.ledger, t, b)

    @property
    def account(self) -> str:
        """The same in words."""
        found = self.accounts
        if self.ledger is None or found["bias"] is None:
            return f"its sum is {plain(self.total)} (the logit is {plain(self.value)})"
        start = float(self.ledger.start[self.place])
        of = "of" if math.isclose(start, self.value, rel_tol=SAME, abs_tol=1e-6) else "of its start,"
        told = [f"{of} {plain(start)}, {plain(self.total)} on its tokens"]
        shares = {
            "in softmax": self.softmax,
            "in biases": found["bias"] - self.softmax,
            "in epsilon": found["eps"],
            "lost": found["lost"],
        }
        told += [f"{plain(n)} {where}" for where, n in shares.items() if n and abs(n) > SMALL * abs(start)]
        return ", ".join(told)


@dataclass(frozen=True, eq=False)
class ExplainedText:
    """A text with all that was found in it.

    Attributes:
        text: as it was given.
        tokens: its L own tokens, as words.
        position: of a language model: whose place gives the logits, from 0.
        top: the highest logits.
        rows: target by target, and for each of them method by method.
    """

    text: str
    tokens: list[str]
    position: int | None
    top: list[tuple[Named, float]]
    rows: list[Row]

    def shown(self, word: str) -> str:
        """A class as it is called, a token with its spaces between quotes."""
        return word if self.position is None else f'"{visible(word)}"'

    def title(self, row: Row, *, of_paper: bool = False) -> str:
        """What a row explains, its method named as in code or, in figures, as in the paper."""
        against = "" if row.against is None else f' against "{visible(row.against)}"'
        behind = "" if self.position in (None, len(self.tokens) - 1) else f" at {self.position}"
        return f"{self.shown(row.target[0])}{against}{behind}, {in_words(row.method) if of_paper else row.method}"


def show(model: str, texts: list[ExplainedText], files: list[str]) -> None:
    """Print what was found, with colours where stdout shows them."""
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    coloured = console.color_system is not None and not console.no_color

    def say(line: str = "") -> None:
        console.print(line, markup=False, emoji=False)

    say(f"{model}, {counted(len(texts), 'text')}")
    for text in texts:
        say(f"\n{visible(text.text)}\n\n     logit  {'class' if text.position is None else 'token'}")
        for (word, index), logit in text.top:
            say(f"{logit:10.4f}  {text.shown(word)} ({index})")
        for row in text.rows:
            say(f"\n{text.title(row)}: {row.account}".replace("\N{MINUS SIGN}", "-"))
            console.print(tokens_line(row.relevance, text.tokens, numbers=not coloured), soft_wrap=not coloured)
    if files:
        say()
    for path in files:
        say(f"wrote {path}")


def as_json(model: str, profile: str, texts: list[ExplainedText], files: list[str]) -> str:
    """Return all of it as JSON."""
    return json.dumps(
        {
            "model": model,
            "profile": profile,
            "texts": [
                {
                    "text": text.text,
                    "tokens": text.tokens,
                    "top": [_named(named, text) | {"logit": logit} for named, logit in text.top],
                    "explanations": [_row(row, text) for row in text.rows],
                }
                for text in texts
            ],
            "files": files,
        },
        indent=2,
    )


def _row(row: Row, text: ExplainedText) -> dict[str, Any]:
    spoken: dict[str, Any] = {} if text.position is None else {"position": text.position, "against": row.against}
    layers = {"layers": {path: R.tolist() for path, R in row.layers.items()}} if row.layers else {}
    return {
        **_named(row.target, text),
        **spoken,
        "logit": row.value,
        "method": row.method,
        "relevance": row.relevance.tolist(),
        "relevance_sum": row.total,
        **row.accounts,
        **({"softmax": row.softmax} if row.ledger is not None else {}),
        **layers,
    }


def _named(named: Named, text: ExplainedText) -> dict[str, Any]:
    return {"index": named[1], "class" if text.position is None else "token": named[0]}


def accounts_of(ledger: Ledger | None, t: int, b: int) -> dict[str, float | None]:
    """What the sum of relevance lacks of the logit; nothing for methods that conserve nothing, as gradients do."""
    if ledger is None:
        return dict.fromkeys(("conservation_error", *COLUMNS))
    return {"conservation_error": ledger.error, **{c: float(ledger.sum(c)[t, b]) for c in COLUMNS}}
