"""``relprop explain --text``: texts in, the relevance of their tokens out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import relprop as rp
from relprop.catalogue.table import BEST_FOR_TEXTS
from relprop.commands.answer import logits_of_texts, reader_of_texts
from relprop.commands.console import waiting
from relprop.commands.explain import TOP, figure_path_of
from relprop.commands.picture_requests import ExplainRequest
from relprop.commands.text_files import files_of
from relprop.commands.text_report import ExplainedText, Row, as_json, show
from relprop.models.registry import load
from relprop.models.text import layer_paths
from relprop.propagate import GROWN
from relprop.support.class_names import class_index
from relprop.support.devices import on_device
from relprop.support.errors import InputError, RelpropError
from relprop.support.files import demand_other, write_whole
from relprop.tokens import At


@dataclass(frozen=True)
class Asked:
    """A target of the command line.

    Attributes:
        target: for `relprop.explain`.
        against: the token that it is held against, as it was written.
    """

    target: Any
    against: str | None = None


def run(request: ExplainRequest) -> None:
    """Explain, write the files, and print what was found, even where a file could not be written.

    Raises:
        RelpropError: with one line that says what to mend.
    """
    texts = _texts(request)
    figure_path = figure_path_of(request)
    demand_other(figure_path, [Path(source) for source in (request.text_file, request.weights) if source])
    explained = _explained(request, texts)
    with waiting("drawing"):
        files = files_of(explained, figure_path, raw=request.raw)
    written: list[str] = []
    try:
        for path, content in files.items():
            write_whole(path, content)
            written.append(str(path))
    finally:
        if request.json:
            print(as_json(request.model, request.profile, explained, written))  # noqa: T201 - the result
        else:
            show(request.model, explained, written)


def _texts(request: ExplainRequest) -> list[str]:
    """The texts that were named.

    Raises:
        InputError: there is none, or a picture was named too.
    """
    for name, given in (("a picture", request.picture), ("--pixel", request.pixel), ("--region", request.region)):
        if given is not None:
            raise InputError(f"--text and {name} were both named; explain them one by one")
    texts = list(request.texts)
    if request.text_file is not None:
        try:
            lines = request.text_file.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            raise InputError(f"{request.text_file}: not a text in UTF-8; save it so") from None
        texts += [line for line in lines if line.strip()]
        if not texts:
            raise InputError(f"{request.text_file}: no text in it; write one in a line")
    return texts


def _explained(request: ExplainRequest, texts: list[str]) -> list[ExplainedText]:
    """Load the model and explain all texts as one batch."""
    if request.threads:
        torch.set_num_threads(request.threads)
    model: Any = on_device(reader_of_texts(load(request.model, request.weights), request.model), request.device)
    x = {name: t.to(request.device) for name, t in model.encode(texts).items()}
    logits = logits_of_texts(model, request.model, x)
    speaks = logits.ndim == 3
    position = _position(request, model, x, speaks=speaks)
    asked = _asked(request, model, position, speaks=speaks)
    methods = list(dict.fromkeys(request.methods or (BEST_FOR_TEXTS,)))
    inside = layer_paths(model) if request.layers else None
    with waiting("explaining"):
        e = rp.explain(
            model, x, [one.target for one in asked], methods, profile=request.profile, inside=inside, check=True
        )
    own = x["attention_mask"].bool().cpu()
    found = []
    for b, text in enumerate(texts):
        words = model.tokens(x["input_ids"][b][own[b]])
        places = own[b].nonzero()[:, 0]
        spoken = int(position[b]) % len(places)
        row = logits[b, places[spoken]] if speaks else logits[b]
        rows = [
            Row(
                named(model, int(e.targets[t, b])),
                one.against,
                float(e.values[t, b]),
                method,
                e.relevance[method][t, b].float().cpu()[own[b]].numpy(),
                e.ledger.get(method),
                (t, b),
                _by_layer(e, method, inside, t, b, own[b]),
            )
            for t, one in enumerate(asked)
            for method in methods
        ]
        top = [(named(model, int(index)), float(row[index])) for index in row.topk(min(TOP, len(row))).indices]
        found.append(ExplainedText(text, words, spoken if speaks else None, top, rows))
    _demand_finite(found, request.model)
    return found


def _position(request: ExplainRequest, model: Any, x: dict[str, Tensor], *, speaks: bool) -> Tensor:
    """Which of its own tokens' places is explained, for each text.

    Raises:
        InputError: the model has no places; or it fills in masks, and a text has not one of them.
    """
    given, ids = request.position, x["input_ids"]
    if not speaks:
        for name, value in (("--position", given), ("--against", request.against)):
            if value is not None:
                raise InputError(f"{name} is for language models, and {request.model} is a classifier of texts")
    if given is not None or not speaks or getattr(model.tokenizer, "mask_token_id", None) is None:
        return torch.full((len(ids),), -1 if given is None else given)
    places = []
    for row, own in zip(ids.cpu(), x["attention_mask"].bool().cpu(), strict=True):
        masks = (row[own] == model.tokenizer.mask_token_id).nonzero()[:, 0].tolist()
        if len(masks) != 1:
            mask = model.tokenizer.mask_token
            raise InputError(f"a text has {len(masks)} times {mask}, whose place is explained; say which, --position N")
        places += masks
    return torch.tensor(places)


def _asked(request: ExplainRequest, model: Any, position: Tensor, *, speaks: bool) -> list[Asked]:
    """The targets of the command line, or the predicted one."""
    words: tuple[str | None, ...] = tuple(dict.fromkeys(request.targets)) or (None,)
    if not speaks:
        return [Asked(word if word is None else class_index(word, model.classes)) for word in words]
    against = None if request.against is None else _token(request.against)
    return [
        Asked(At(position, word if word is None else _token(word), against), _as_written(against, model))
        for word in words
    ]


def _token(word: str) -> int | str:
    """A token as it was named: by its text, or by its id with a # before it."""
    number = re.fullmatch(r"#(\d+)", word)
    return int(number[1]) if number else word


def _as_written(token: int | str | None, model: Any) -> str | None:
    return str(model.tokens([token])[0]) if isinstance(token, int) else token


def named(model: Any, index: int) -> tuple[str, int]:
    """Return a word for an output: a class, or a token; and its index."""
    return (model.classes[index] if model.classes else model.tokens([index])[0]), index


def _by_layer(
    e: Any, method: str, paths: list[str] | None, t: int, b: int, own: Tensor
) -> dict[str, np.ndarray[Any, Any]]:
    """Relevance of a text's own tokens at the output of every layer."""
    if paths is None or method not in e.inside:
        return {}
    found = {}
    for path in paths:
        for name, R in e.inside[method].items():
            if name in (path, f"{path}[0]"):
                found[path] = R[t, b].sum(-1).float().cpu()[own].numpy()
    return found


def _demand_finite(found: list[ExplainedText], name: str) -> None:
    for text in found:
        for row in text.rows:
            if not np.isfinite(row.relevance).all():
                raise RelpropError(f"{row.method}: its relevance in {name} is not finite; {GROWN}")
