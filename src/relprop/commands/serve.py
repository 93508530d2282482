"""``relprop serve``: the page on this machine's own address, with the networks that were named."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from relprop.commands.answer import demand_answer
from relprop.commands.console import waiting
from relprop.commands.options import MODEL
from relprop.commands.preparation import in_words
from relprop.commands.serve_request import ServeRequest
from relprop.commands.serve_study import opened
from relprop.commands.study import without_place
from relprop.models.families import hugging_face
from relprop.models.families.needs import HUGGING_FACE
from relprop.models.registry import family_of, load
from relprop.support.devices import device_named, on_device
from relprop.support.errors import InputError, RelpropError
from relprop.support.shrinking import to_stderr
from relprop.support.suggest import did_you_mean

if TYPE_CHECKING:
    from relprop.web.networks import Network
    from relprop.web.study import StudyFolder

EMBEDDED = ("digits-deep", "digits-shallow")
"""Networks that are in the package."""
NEEDED = ("starlette", "uvicorn")
"""Libraries of the extra."""


def run(request: ServeRequest) -> None:
    """Serve until Ctrl-C.

    Raises:
        RelpropError: with one line that says what to mend.
    """
    missing = [library for library in NEEDED if find_spec(library) is None]
    if missing:
        raise RelpropError(f'relprop serve needs {" and ".join(missing)}; pip install "relprop[web]"')
    from relprop.web.app import Served  # noqa: PLC0415 - only now is it known that it can be
    from relprop.web.limits import Limits  # noqa: PLC0415
    from relprop.web.networks import Networks  # noqa: PLC0415
    from relprop.web.page import page  # noqa: PLC0415
    from relprop.web.serving import bound, serve  # noqa: PLC0415

    if request.threads:
        torch.set_num_threads(request.threads)
    device_named(request.device)
    study = opened(request)
    networks = Networks(named(request, study), to_stderr)
    with bound(request.port) as listening:
        served = Served(networks, Limits(seconds=request.timeout), page(), study)
        for network in networks.all:
            if network is networks.all[0] or network.kind is None:  # what is shown first has to be there
                with waiting(f"loading {network.name}"):
                    networks.load(network)
        serve(served, listening, browser=request.browser)


def named(request: ServeRequest, study: StudyFolder | None = None) -> list[Network]:
    """The networks that are offered, none of them loaded.

    Raises:
        InputError: weights are of a network that is not named, or it is not said of which.
        ModelError: there is no such network.
    """
    from relprop.web.networks import Network  # noqa: PLC0415 - as above

    models = tuple(dict.fromkeys(request.models)) or (_usual(study),)
    weights = _weights(request.weights, models)
    shorter = [without_place(model) for model in models]
    return [
        Network(
            name=short if shorter.count(short) == 1 else model,
            load=partial(_loaded, model, weights.get(model), request.device),
            prove=demand_answer,
            in_words=in_words,
            one_of_all=one_of_all,
            code=_code(model, weights.get(model), request.device),
            kind=_kind(model),
        )
        for model, short in zip(models, shorter, strict=True)
    ]


def _usual(study: StudyFolder | None) -> str:
    """The network that is offered where none is named: the study's own, where the package has it."""
    measured = study.config.get("model") if study is not None else None
    name = str(measured.get("name") if isinstance(measured, dict) else MODEL)
    if name in EMBEDDED:
        return name
    to_stderr(f"the study measured {name}, and its pictures are shown to {MODEL}; --model names another network")
    return MODEL


def _weights(given: Sequence[str], models: Sequence[str]) -> dict[str, str]:
    """Files of weights by network.

    Raises:
        InputError: it is not clear whose they are.
    """
    found: dict[str, str] = {}
    for text in given:
        name, equals, file = text.partition("=")
        if not (equals and name in models):
            if len(models) > 1:
                near = did_you_mean(name, models) if equals else ""
                raise InputError(f"--weights {text}: of which network? Give {models[0]}={file or text}{near}")
            name, file = models[0], text
        if name in found:
            raise InputError(f"--weights are given twice for {name}; give them once")
        found[name] = file
    return found


def _kind(model: str) -> str | None:
    """What a network takes, where its name tells.

    Raises:
        ModelError: there is no such network.
    """
    family_of(model)
    if model.startswith(HUGGING_FACE):
        return {"pictures": "pictures", "texts": "text"}.get(hugging_face.reads(model) or "")
    return "pictures"


def _loaded(model: str, weights: str | None, device: str) -> nn.Module:
    return on_device(load(model, weights), device)


def one_of_all(model: nn.Module) -> bool:
    """Whether a network's classes exclude each other, as far as can be told: VOC's and our digits do not."""
    from relprop.data.voc import CLASSES  # noqa: PLC0415 - needed here alone
    from relprop.models.networks.digits import Network as Digits  # noqa: PLC0415

    problem = getattr(getattr(model, "config", None), "problem_type", None)
    if problem == "multi_label_classification" or isinstance(model, Digits):
        return False
    return tuple(getattr(model, "classes", ()) or ()) != tuple(CLASSES)


def _code(model: str, weights: str | None, device: str) -> str:
    """Python that loads a network."""
    place = model
    for form in (HUGGING_FACE, ""):
        path = Path(model.removeprefix(form))
        if model.startswith(form) and path.exists() and (form or path.suffix):
            place = form + os.path.abspath(path)  # noqa: PTH100 - Path.absolute keeps "..", Path.resolve follows links
            break
    words = repr(place) if weights is None else f"{place!r}, {weights!r}"
    return f"rp.models.load({words})" + ("" if device == "cpu" else f".to({device!r})")
