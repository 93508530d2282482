"""What is tried: every case a group, a name, and what makes model, input and target."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Made = tuple[Any, Any, Any]
"""Model, input, target."""


@dataclass(frozen=True)
class Case:
    """One network, or one op.

    Attributes:
        group: of the table.
        name: of the case.
        make: gives model, input and target.
    """

    group: str
    name: str
    make: Callable[[], Made]


def picture(side: int, channels: int = 3, batch: int = 2) -> Tensor:
    """Random pictures."""
    return torch.randn(batch, channels, side, side)


# -- torchvision --------------------------------------------------------------------------------------


def of_torchvision() -> Iterator[Case]:
    """Classification, segmentation, detection (heads alone), video and optical flow."""
    from torchvision import models

    for name in models.list_models(models):
        yield Case("torchvision, classification", name, lambda n=name: classifier(n))
    for name in models.list_models(models.segmentation):
        yield Case("torchvision, segmentation", name, lambda n=name: segmenter(n))
    for name in models.list_models(models.video):
        yield Case("torchvision, video", name, lambda n=name: video(n))
    for name in models.list_models(models.optical_flow):
        yield Case("torchvision, optical flow", name, lambda n=name: flow(n))
    for name in models.list_models(models.detection):
        yield Case("torchvision, detection", name, lambda n=name: detector(n))


SIDES = {"inception_v3": 96, "alexnet": 64, "vit_h_14": 224}


def classifier(name: str) -> Made:
    """Any of torchvision's classifiers on small pictures."""
    from torchvision import models

    words = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    fixed = name.startswith(("vit", "maxvit"))
    side = 224 if fixed else SIDES.get(name, 64)
    return models.get_model(name, weights=None, num_classes=5, **words), picture(side, batch=1 if fixed else 2), 1


def segmenter(name: str) -> Made:
    """The mean of a class over a region."""
    from torchvision import models

    model = models.get_model(name, weights=None, weights_backbone=None, num_classes=5)
    return model, picture(64), lambda y: y["out"][:, 2, 8:24, 8:24].mean((1, 2))


def video(name: str) -> Made:
    """Clips."""
    from torchvision import models

    attends = name.startswith(("mvit", "swin"))
    if attends:
        frames, side = (16, 224) if name.startswith("mvit") else (4, 64)
    else:
        frames, side = (14, 224) if name == "s3d" else (4, 32)
    batch = 1 if attends or name == "s3d" else 2
    return models.get_model(name, weights=None, num_classes=5), torch.randn(batch, 3, frames, side, side), 1


def flow(name: str) -> Made:
    """The flow's mean over a region, of two pictures."""
    from torchvision import models

    model = models.get_model(name, weights=None)
    return model, (picture(128, batch=1), picture(128, batch=1)), lambda y: y[-1][:, 0, 4:8, 4:8].mean((1, 2))


class Heads(nn.Module):
    """A detector up to its heads: what comes after (anchors chosen, boxes suppressed) is no function of numbers."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.backbone = detector.backbone
        self.head = detector.rpn.head if hasattr(detector, "rpn") else detector.head

    def forward(self, x: Tensor) -> Any:
        """What the heads give."""
        features = self.backbone(x)
        return self.head(list(features.values()) if isinstance(features, dict) else [features])


def detector(name: str) -> Made:
    """The score of a box."""
    from torchvision import models

    model = Heads(models.get_model(name, weights=None, weights_backbone=None))
    if name.startswith(("retinanet", "ssd", "fcos")):
        return model, picture(96), lambda y: y["cls_logits"][:, 5, 1]
    return model, picture(96), lambda y: y[0][0][:, 0, 0, 0]


# -- timm ---------------------------------------------------------------------------------------------


def of_timm(count: int = 250) -> Iterator[Case]:
    """One or more per family: names in turn over the families, small ones first."""
    import timm

    families: dict[str, list[str]] = {}
    for name in timm.list_models():
        families.setdefault(name.split("_")[0], []).append(name)
    order = ("atto", "femto", "nano", "pico", "tiny", "xxs", "xs", "small", "18", "26", "_s", "mini")
    for names in families.values():
        names.sort(key=lambda n: (not any(word in n for word in order), len(n), n))
    chosen: list[str] = []
    for turn in range(20):
        chosen += [names[turn] for names in families.values() if turn < len(names)]
    for name in chosen[:count]:
        yield Case("timm", name, lambda n=name: timms(n))


def timms(name: str) -> Made:
    """A network of timm's on the smallest pictures that it takes."""
    import timm

    for side in (64, 96, 128):
        try:
            model = timm.create_model(name, num_classes=5, img_size=side)
        except (TypeError, AssertionError, ValueError, RuntimeError, AttributeError):
            continue
        return model, picture(side), 1
    model = timm.create_model(name, num_classes=5)
    size = model.pretrained_cfg.get("input_size", (3, 224, 224))
    side = size[1] if model.pretrained_cfg.get("fixed_input_size") else 64
    return model, torch.randn(2 if side <= 128 else 1, size[0], side, side), 1


# -- Hugging Face ---------------------------------------------------------------------------------------

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 64,
    "num_labels": 5,
    "encoder_layers": 2,
    "vocab_size": 100,
}


def of_hugging_face(count: int = 55) -> Iterator[Case]:
    """Every kind of image classifier, by its configuration made small."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as NAMES

    for kind in list(NAMES)[:count]:
        yield Case("Hugging Face, images", kind, lambda k=kind: hugging_face(k))


def hugging_face(kind: str) -> Made:
    """One of them."""
    from transformers import AutoConfig, AutoModelForImageClassification

    given = AutoConfig.for_model(kind)
    for changed in (SMALL, {"image_size": 64, "num_labels": 5}, {"num_labels": 5}):
        words = {key: value for key, value in changed.items() if hasattr(given, key)}
        try:
            model = AutoModelForImageClassification.from_config(AutoConfig.for_model(kind, **words))
            side = getattr(model.config, "image_size", 64)
            side = side if isinstance(side, int) else side[0] if side else 64
            x = {"pixel_values": picture(min(side, 224), getattr(model.config, "num_channels", 3) or 3)}
            with torch.no_grad():
                model.eval()(**x)
        except Exception as error:  # noqa: BLE001 - another size may do
            last = error
            continue
        return model, x, 1
    raise last
