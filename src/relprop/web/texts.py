"""Texts that were handed over, and what models of texts make of them; all of it runs in the thread that computes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from relprop.plots.viewer.documents import told
from relprop.propagate import explain
from relprop.record.logits import logits_of
from relprop.support.class_names import class_index
from relprop.support.errors import RelpropError
from relprop.tokens import At
from relprop.web.asked import Asked
from relprop.web.document import demand_finite, notes, of_method, probabilities
from relprop.web.held import Held
from relprop.web.limits import Limits
from relprop.web.networks import TEXT, Network, Networks
from relprop.web.refused import Refused

SHOWN = 200
"""So many of a language model's tokens are told, the most likely first."""


@dataclass(frozen=True, eq=False)
class Read:
    """A text as a model takes it.

    Attributes:
        x: what the model is called with, one text.
        words: its tokens.
        position: of a language model: whose place gives the logits.
        logits: of all tokens at that place, or of all classes.
    """

    x: dict[str, Tensor]
    words: list[str]
    position: int | None
    logits: list[float]


class Texts:
    """All that is known of texts."""

    def __init__(self, networks: Networks, limits: Limits) -> None:
        self._networks = networks
        self._limits = limits
        self._texts: Held[str, str] = Held(limits.held, len)

    def add(self, text: str, network: str) -> dict[str, Any]:
        """Take a text, and let a model read it.

        Args:
            text: as it was typed.
            network: the name of a model of texts.

        Returns:
            What is answered: its id, its tokens, and what the model says next, or to which class it belongs.

        Raises:
            Refused: it is too long, or there is no such model of texts.
            RelpropError: the model cannot be loaded, or fails.
        """
        ready = self._networks.ready(network, TEXT)
        read = self._read(text, ready)
        id_ = hashlib.sha256(text.encode()).hexdigest()
        self._texts.put(id_, text)
        shares = probabilities(read.logits, ready)
        order = sorted(range(len(read.logits)), key=lambda index: -read.logits[index])[:SHOWN]
        listed = [_entry(ready, index, read, shares) for index in order]
        return {
            "text": id_,
            "network": ready.name,
            "tokens": read.words,
            "position": read.position,
            ("classes" if ready.classes else "next"): listed,
        }

    def document(self, asked: Asked) -> dict[str, Any]:
        """Explain all targets by all methods, with one forward pass and one walk.

        Raises:
            Refused: the text is not there (any more), or there is no such model.
            RelpropError: there is no such token or class, or the engine's own reason.
        """
        network = self._networks.ready(asked.network, TEXT)
        text = self._texts.get(asked.id)
        if text is None:
            raise Refused(404, "this text is not here any more; type it again")
        read = self._read(text, network)
        targets = [_target(target, read, network) for target in asked.targets]
        e = explain(network.model, read.x, targets, list(asked.methods), check=not network.checked)
        network.checked = True
        demand_finite(e)
        shares = probabilities(read.logits, network)
        indices = list(dict.fromkeys(int(index) for index in e.targets[:, 0]))
        maps = []
        for index in indices:
            for method in e.relevance:
                R = e.map(index, method).float().cpu()
                account = e.account(index, method)
                maps.append(
                    {
                        "target": index,
                        "method": method,
                        "values": R.tolist(),
                        "account": told(account),
                        "notes": notes(account, method),
                    }
                )
        return {
            "mode": "serve",
            "network": network.name,
            "text": asked.id,
            "tokens": read.words,
            "position": read.position,
            "classes": [_entry(network, index, read, shares) for index in indices],
            "methods": [of_method(method, e.account(indices[0], method)) for method in e.relevance],
            "maps": maps,
            "code": _python(network, text, read.position, indices, asked.methods),
        }

    def _read(self, text: str, network: Network) -> Read:
        """Let a model read a text.

        Raises:
            Refused: it has too many tokens, or of a model that fills in masks not one mask.
            RelpropError: the model cannot take it.
        """
        model = network.model
        encoded = dict(model.encode(text))
        ids = encoded["input_ids"][0]
        if len(ids) > self._limits.tokens:
            raise Refused(413, f"a text of {len(ids)} tokens, and {self._limits.tokens} are read at most; shorten it")
        device = next(model.parameters()).device
        x = {name: t.to(device) for name, t in encoded.items()}
        with torch.no_grad():
            answer = logits_of(model(**x))
        position = _spoken(ids, model) if answer.ndim == 3 else None
        row = (answer[0] if position is None else answer[0, position]).double().cpu()
        if not torch.isfinite(row).all():
            raise RelpropError(f"{network.name}: its logits of this text are not finite; another text may do")
        return Read(x, list(model.tokens(ids)), position, [float(number) for number in row])


def _spoken(ids: Tensor, model: Any) -> int:
    """Whose place gives the logits: the last token's, or the mask's of a model that fills it in."""
    mask = getattr(model.tokenizer, "mask_token_id", None)
    if mask is None:
        return len(ids) - 1
    places: list[int] = (ids == mask).nonzero()[:, 0].tolist()
    if len(places) != 1:
        word = model.tokenizer.mask_token
        raise Refused(422, f"the text has {len(places)} times {word}, whose place is filled in; write it once")
    return places[0]


def _target(target: int | str, read: Read, network: Network) -> Any:
    if read.position is None:
        return class_index(target, network.classes)
    return At(read.position, target)


def _entry(network: Network, index: int, read: Read, shares: list[float] | None) -> dict[str, Any]:
    """Describe a class, or a token that could come next."""
    name = network.classes[index] if network.classes else network.model.tokens([index])[0]
    return {
        "index": index,
        "name": name,
        "logit": read.logits[index],
        "probability": None if shares is None else shares[index],
    }


def _python(network: Network, text: str, position: int | None, indices: list[int], methods: tuple[str, ...]) -> str:
    """Python code that gives the same."""
    if position is None:
        targets = repr(indices)
    else:
        targets = f"[{', '.join(f'rp.at({position}, {index})' for index in indices)}]"
    return "\n".join(
        (
            "import relprop as rp",
            "",
            f"model = {network.code}",
            f"x = model.encode({text!r})",
            f"e = rp.explain(model, x, targets={targets}, methods={list(methods)!r})",
            f"R = e.map({indices[0]}, {methods[0]!r})  # a number for each of model.tokens(x)[0]",
            "",
        )
    )
