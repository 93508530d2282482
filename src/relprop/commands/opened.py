"""What a question to a network over a data set opens: both, and how the one's classes are the other's outputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from relprop.commands.answer import demand_answer
from relprop.commands.data import class_map, dataset
from relprop.commands.requests import ConceptsRequest
from relprop.commands.tune_request import TuneRequest
from relprop.data.entries import Dataset
from relprop.data.preprocess import Preprocess
from relprop.models.registry import load
from relprop.study.task import class_targets
from relprop.support.devices import on_device


@dataclass(frozen=True)
class Opened:
    """A network and a data set.

    Attributes:
        model: on its device.
        data: pictures with boxes.
        preprocess: the network's.
        outputs: for each class of the data the network's outputs that mean it.
        limit: of the pictures; None where the data is as large as was asked for.
    """

    model: nn.Module
    data: Dataset
    preprocess: Preprocess
    outputs: dict[str, tuple[int, ...]]
    limit: int | None


def opened(request: ConceptsRequest | TuneRequest) -> Opened:
    """Open what is asked about; the network has to answer a picture of nothing."""
    data = dataset(request)
    model = on_device(load(request.model, request.weights), request.device)
    preprocess = model.preprocess
    classes = model.classes
    demand_answer(model, request.model, torch.zeros(1, 3, preprocess.crop, preprocess.crop).to(request.device), classes)
    outputs = class_targets(data.classes, classes, class_map(request.class_map))
    return Opened(model, data, preprocess, outputs, None if request.data == "embedded" else request.limit)
