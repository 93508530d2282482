"""From texts to what a model takes, and from token ids back to words that can be read."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from relprop.support.errors import InputError
from relprop.support.pieces import readable

UNBOUNDED = 1 << 20
"""Tokenizers that know no greatest length say a number beyond this."""


class Text:
    """What goes into a model of `transformers`, made of texts by a tokenizer, for `relprop.attribute` and `explain`.

    `relprop.models.load("hf:FOLDER")` gives its models ``encode`` and ``tokens`` of such an object, and ``tokenizer``.

    Args:
        model: a model of `transformers`; its forward pass says which inputs it takes.
        tokenizer: of `transformers`; it is asked, and not changed.

    Example:
        A model and a tokenizer of one's own::

            text = rp.models.Text(model, tokenizer)
            model.tokenizer = tokenizer  # so that rp.at knows words
            x = text.encode(["The capital of France is"])
            R = rp.attribute(model, x, rp.at(-1, " Paris"), "attnlrp")
            rp.plots.tokens(R, text.tokens(x["input_ids"]))
    """

    def __init__(self, model: nn.Module, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._takes = frozenset(inspect.signature(model.forward).parameters)
        speaks = getattr(model, "can_generate", None)
        self._left = tokenizer.padding_side == "left" and speaks is not None and bool(speaks())
        config = getattr(model, "config", None)
        self._padding = _first(getattr(config, "pad_token_id", None), tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
        lengths = (getattr(config, "max_position_embeddings", None), tokenizer.model_max_length)
        known = [int(length) for length in lengths if length and length < UNBOUNDED]
        self.longest = min(known, default=None)

    def encode(self, texts: str | Sequence[str]) -> dict[str, Tensor]:
        """Make of texts what the model is called with.

        Shorter texts are padded behind; before them where the tokenizer pads there and the model continues texts
        (others look for their first token at the first place), and then positions go along, counted from a text's own
        first token. Padding is marked by 0 in the attention mask, gets no relevance, and is counted by no `rp.at`.

        Args:
            texts: one, or B of them.

        Returns:
            ``input_ids`` and ``attention_mask`` (B, L), int64, and what else the model takes of ``token_type_ids`` and
            ``position_ids``.

        Raises:
            InputError: a text has no token, or more than the model takes.
        """
        listed = [texts] if isinstance(texts, str) else list(texts)
        if not listed or not all(isinstance(text, str) for text in listed):
            raise InputError("encode takes texts: at least one, each a str")
        encoded = self.tokenizer(listed)
        rows = [list(ids) for ids in encoded["input_ids"]]
        for row, text in zip(rows, listed, strict=True):
            self._demand_length(len(row), text)
        length = max(map(len, rows))
        mask = torch.stack([self._padded([1] * len(row), length, 0) for row in rows])
        found = {
            "input_ids": torch.stack([self._padded(row, length, self._padding) for row in rows]),
            "attention_mask": mask,
        }
        if "token_type_ids" in self._takes and "token_type_ids" in encoded:
            found["token_type_ids"] = torch.stack([self._padded(row, length, 0) for row in encoded["token_type_ids"]])
        if self._left and "position_ids" in self._takes and not bool(mask.all()):
            found["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
        return found

    def tokens(self, ids: Any) -> list[Any]:
        """Return token ids as words that can be read: spaces are spaces, whatever the tokenizer writes.

        Args:
            ids: (L,), or (B, L) for a list of each text; or what `encode` returned, for a list of each text's own
                tokens, padding left out.

        Returns:
            A str for each.
        """
        if isinstance(ids, Mapping):
            own = zip(ids["input_ids"], ids["attention_mask"], strict=True)
            return [self._words(row[mask.bool()].tolist()) for row, mask in own]
        listed = ids.tolist() if isinstance(ids, Tensor) else list(ids)
        if listed and isinstance(listed[0], (list, tuple, Tensor)):
            return [self._words(list(map(int, row))) for row in listed]
        return self._words(list(map(int, listed)))

    def _padded(self, numbers: Sequence[int], length: int, padding: int) -> Tensor:
        """Numbers and padding before or behind them, (length,)."""
        more = [padding] * (length - len(numbers))
        return torch.tensor([*more, *numbers] if self._left else [*numbers, *more])

    def _words(self, ids: list[int]) -> list[str]:
        tokenizer = self.tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        byte_level = "ByteLevel" in repr(backend.decoder) if backend is not None else None
        return readable(tokenizer.convert_ids_to_tokens(ids), byte_level, frozenset(tokenizer.all_special_tokens))

    def _demand_length(self, length: int, text: str) -> None:
        """Refuse a text that the model cannot take."""
        shown = repr(text if len(text) <= 40 else f"{text[:37]}...")
        if length == 0:
            raise InputError(f"the text {shown} has no token of this model; give it words")
        if self.longest is not None and length > self.longest:
            raise InputError(
                f"the text {shown} has {length} tokens, and the model takes {self.longest} at most; shorten it"
            )


def _first(*ids: Any) -> int:
    """The first id that is one; some configurations say -1 for none, or a list."""
    return next(number for number in ids if isinstance(number, int) and number >= 0)


def sample_ids(model: Any) -> dict[str, Tensor]:
    """Return some tokens, enough to look at a model's structure: what it is called with, (1, 6)."""
    middle = int(model.config.vocab_size) // 2
    ids = torch.arange(middle, middle + 6)[None] % int(model.config.vocab_size)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def layer_paths(model: nn.Module) -> list[str]:
    """Return the module paths of a model's layers, from the first on: of its longest list of modules, the outermost.

    Raises:
        InputError: it has no such list.
    """
    lists = [(path, len(module)) for path, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise InputError("the model has no list of layers; name modules yourself: relprop.explain(..., inside=...)")
    longest = max(length for _, length in lists)
    path = next(path for path, length in lists if length == longest)
    return [f"{path}.{k}" for k in range(longest)]
