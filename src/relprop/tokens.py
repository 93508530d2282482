"""Targets in text: one token at one place of logits (B, L, V), or why that token rather than another."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from relprop.record.inputs import EMBEDDED, IDS, TOKENS, Inputs
from relprop.support.class_names import class_index
from relprop.support.errors import InputError
from relprop.support.pieces import readable
from relprop.support.suggest import did_you_mean
from relprop.tape.tape import Slot

Token = int | str | Tensor | None
"""An id, a word of the model's vocabulary, ids (B,), or None for the predicted one."""


@dataclass(frozen=True, eq=False)
class At:
    """What `at` gives: see there."""

    position: int | Tensor
    token: Token = None
    against: Token = None

    @property
    def label(self) -> str:
        """As results and tables call it."""
        words = "" if self.against is None else f" against {_word(self.against)}"
        return f"{'predicted' if self.token is None else _word(self.token)} at {_word(self.position)}{words}"


def at(position: int | Tensor, token: Token = None, against: Token = None) -> At:
    """The logit of a token at a place of a text, as a target; or how far it is above that of another.

    Relevance starts as logits[b, position, token], or as that less logits[b, position, against].

    Args:
        position: which token's place, for all texts or (B,); negative from the end. It counts a text's own tokens:
            padding, where the attention mask is 0, is none, so that a text in a batch is as it is alone.
        token: an id, (B,) ids, a word of the model's vocabulary (where it has a `.tokenizer`, or `.classes`), or None
            for the token with the largest logit there.
        against: another token, likewise; None for no other. It cannot be the predicted one.

    Returns:
        A target for `attribute`, `explain`, `plan` and `check`.

    Example:
        >>> import relprop as rp
        >>> rp.at(-1, 262, against=318).label
        '262 at -1 against 318'
    """
    return At(position, token, against)


@dataclass(frozen=True)
class Pick:
    """A target of this kind with all that the model's output tells.

    Attributes:
        position: (B,) along the logits' axis of places.
        token: (B,) ids.
        against: (B,) ids, or None.
    """

    position: Tensor
    token: Tensor
    against: Tensor | None

    def of(self, texts: slice) -> Pick:
        """The same target of some texts; of one alone it holds for as many versions of it as there are."""
        against = None if self.against is None else self.against[texts]
        return Pick(self.position[texts], self.token[texts], against)

    def value(self, y: Tensor) -> Tensor:
        """What is explained, (B,), of logits (B, L, V)."""
        rows = torch.arange(len(y), device=y.device)
        value = y[rows, self.position, self.token]
        return value if self.against is None else value - y[rows, self.position, self.against]

    def start(self, R: Tensor, y: Tensor, *, one: bool) -> None:
        """Let relevance begin: R and y are (B, L, V); the logit itself, less the other's, or as a part of one."""
        rows = torch.arange(len(y), device=y.device)
        whole = self.value(y) if one else torch.ones_like(y[:, 0, 0])
        R[rows, self.position, self.token] += y[rows, self.position, self.token] / whole
        if self.against is not None:
            R[rows, self.position, self.against] -= y[rows, self.position, self.against] / whole


@dataclass(frozen=True)
class Few:
    """The places and tokens that several targets name.

    Attributes:
        positions: (B, P).
        tokens: (N,).
    """

    positions: Tensor
    tokens: Tensor

    @classmethod
    def of_all(cls, picks: Sequence[Pick]) -> Few:
        """All that are named."""
        positions = torch.stack([pick.position for pick in picks]).unique(dim=0).T
        ids = [ids for pick in picks for ids in (pick.token, pick.against) if ids is not None]
        return cls(positions, torch.cat(ids).unique())

    def of(self, y: Tensor) -> Tensor:
        """These out of all logits (B, L, V): (B, P, N)."""
        rows = torch.arange(len(y), device=y.device)[:, None]
        return y[rows, self.positions][..., self.tokens]

    def among(self, pick: Pick) -> Pick:
        """The same target where it stands among these."""
        position = (self.positions == pick.position[:, None]).all(0).nonzero()[0].expand(len(pick.position))
        against = None if pick.against is None else torch.searchsorted(self.tokens, pick.against)
        return Pick(position, torch.searchsorted(self.tokens, pick.token), against)


def is_text(inputs: Inputs) -> bool:
    """Whether tokens, or the rows that were looked up for them, go into the model."""
    named = isinstance(inputs.whole, Mapping) and any(name in inputs.whole for name in (*TOKENS, *EMBEDDED))
    return named or any(t.dtype in IDS for t in inputs.tensors)


def picked(target: At, y: Tensor, inputs: Inputs, model: object) -> Pick:
    """Where a target stands in logits.

    Args:
        target: what was asked for.
        y: logits (B, L, V).
        inputs: what went into the model; its attention mask tells a text's own tokens.
        model: its `.tokenizer` or `.classes` say which ids words mean.

    Raises:
        InputError: there is no such place or token.
    """
    if y.ndim != 3 or len(y) != inputs.batch:
        raise InputError(
            f"rp.at names a place and a token of logits ({inputs.batch}, places, tokens), and the model's have shape "
            f"{tuple(y.shape)}; name a class, or a function of the output"
        )
    position = _position(target.position, y, inputs, model)
    rows = y[torch.arange(len(y), device=y.device), position]
    token = rows.argmax(-1) if target.token is None else _ids(target.token, rows, model)
    return Pick(position, token, None if target.against is None else _ids(target.against, rows, model))


def _position(position: int | Tensor, y: Tensor, inputs: Inputs, model: object) -> Tensor:
    """Places along y's axis, (B,)."""
    wanted = _integers(position, len(y), "position").to(y.device)
    places = y.shape[1]
    text = _text(inputs, model)
    given = places if text is None else int(text.shape[1])
    found = []
    for row in range(len(y)):
        n = int(wanted[row])
        own = torch.arange(places) if text is None else text[row].nonzero()[:, 0]
        if not -len(own) <= n < len(own):
            whose = f"text {row}" if len(y) > 1 else "the text"
            raise InputError(f"rp.at: position {n} is out of range: {whose} has {len(own)} tokens")
        at_input = int(own[n])
        if at_input < given - places:
            raise InputError(
                f"rp.at: the model gives logits of the last {places} of {given} places alone, and position {n} is "
                f"before them; let it keep more (logits_to_keep)"
            )
        found.append(at_input - (given - places))
    return torch.tensor(found, device=y.device)


def _text(inputs: Inputs, model: object) -> Tensor | None:
    """Which places of the text that logits are of hold tokens and no padding, (B, L); None where that is not given."""
    if not isinstance(inputs.whole, Mapping):
        ids = [t for t in inputs.tensors if t.dtype in IDS and t.ndim == 2]
        return torch.ones_like(ids[0]) if len(ids) == 1 else None
    decodes = getattr(getattr(model, "config", None), "is_encoder_decoder", False)
    decodes = decodes or any(name.startswith(DECODER) and name in inputs.whole for name in (*TOKENS, *EMBEDDED))
    side = [name for name in (*TOKENS, *EMBEDDED) if name.startswith(DECODER) == decodes and name in inputs.whole]
    mask = _given(inputs, DECODER + "attention_mask" if decodes else "attention_mask")
    if mask is not None and mask.ndim == 2:
        return mask
    tokens = _given(inputs, side[0]) if side else None
    return None if tokens is None else tokens.new_ones(tokens.shape[:2])


DECODER = "decoder_"
"""How the names of what a decoder gets begin, whose logits they are."""


def _given(inputs: Inputs, name: str) -> Tensor | None:
    """A tensor among the arguments, explained or not."""
    found = inputs.whole.get(name)
    found = inputs.tensors[found.k] if isinstance(found, Slot) else found
    return found if isinstance(found, Tensor) else None


def _ids(token: int | str | Tensor, rows: Tensor, model: object) -> Tensor:
    """Ids (B,) of a token."""
    found = _integers(_id_of(token, model) if isinstance(token, str) else token, len(rows), "token").to(rows.device)
    if int(found.min()) < 0 or int(found.max()) >= rows.shape[1]:
        raise InputError(f"rp.at: token {_word(token)} is out of range: the model has tokens 0 to {rows.shape[1] - 1}")
    return found


def _id_of(word: str, model: object) -> int:
    """The id of a word."""
    tokenizer: Any = getattr(model, "tokenizer", None)
    if tokenizer is not None:
        return _single(word, tokenizer)
    classes = getattr(model, "classes", None)
    if not isinstance(classes, (tuple, list)):
        raise InputError(f"rp.at: token is {word!r}, and the model has no .tokenizer that knows words; give the id")
    return class_index(word, classes)


def _single(word: str, tokenizer: Any) -> int:
    """The id of a word that is one token.

    Raises:
        InputError: it is several, or none.
    """
    ids = tokenizer.encode(word, add_special_tokens=False)
    if getattr(tokenizer, "unk_token_id", None) in ids and word != tokenizer.unk_token:
        near = did_you_mean(word, tokenizer.get_vocab())
        raise InputError(f"rp.at: {word!r} is no token of this model{near}")
    pieces = tokenizer.convert_ids_to_tokens(ids)
    if len(ids) == 2 and pieces[0] in ("▁", "Ġ") and word.startswith(" "):  # a space that the tokenizer puts in itself
        ids, pieces = ids[1:], pieces[1:]
    if len(ids) != 1:
        first = f"; name the first, {readable(pieces[:1])[0]!r}, or its id {ids[0]}" if ids else ""
        raise InputError(f"rp.at: {word!r} is {len(ids)} tokens of this model ({' '.join(pieces)}){first}")
    return int(ids[0])


def _integers(given: Any, batch: int, name: str) -> Tensor:
    """Whole numbers, one for each text."""
    if isinstance(given, Tensor) and given.shape == (batch,) and not given.is_floating_point():
        return given.long()
    try:
        return torch.full((batch,), operator.index(given))
    except TypeError:
        raise InputError(f"rp.at: {name} is {given!r}; a whole number is needed, or ({batch},) of them") from None


def _word(given: Any) -> str:
    """A position or token in a label."""
    return str(given.tolist()) if isinstance(given, Tensor) else str(given)
