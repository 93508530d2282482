"""A one-stage detector at its heads: for each anchor the logits of classes and a box, before anything is thrown away.

What detectors do after their heads (thresholds, non-maximum suppression) chooses among boxes and computes none of their
scores, so that relevance starts at the heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList  # type: ignore[import-untyped]
from torchvision.ops import batched_nms, clip_boxes_to_image  # type: ignore[import-untyped]

from relprop.models.errors import ModelError

ONE_STAGE = "retinanet_resnet50_fpn, ssdlite320_mobilenet_v3_large"
"""Detectors that can be named instead of one with two stages."""


@dataclass(frozen=True)
class Found:
    """A box that a detector found.

    Attributes:
        anchor: which of the anchors it comes from: its place along axis 1 of what the heads give.
        index: its class.
        score: between 0 and 1.
        box: x0, y0, x1, y1 in pixels of the network's input.
    """

    anchor: int
    index: int
    score: float
    box: tuple[float, float, float, float]


class Detector(nn.Module):
    """Takes pictures of one size, (B, 3, H, W), prepared, to what the heads of a detector give.

    Args:
        detector: torchvision's RetinaNet, FCOS or SSD, or one of their make; its parts are shared, under their names.

    Raises:
        ModelError: it has two stages, or is no detector of that kind.

    Example:
        To explain the class score of the surest box::

            net = rp.models.load("retinanet_resnet50_fpn")
            best = net.found(x)[0][0]
            R = rp.attribute(net, x, lambda y: y["cls_logits"][:, best.anchor, best.index])
    """

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        if hasattr(detector, "rpn"):
            raise ModelError(
                f"{type(detector).__name__} is a detector of two stages: which regions its second stage reads is "
                f"chosen by sorting boxes, which relevance cannot follow; take one of one stage ({ONE_STAGE}), or "
                f"explain its backbone"
            )
        parts = ("backbone", "head", "anchor_generator", "box_coder")
        if missing := [part for part in parts if not hasattr(detector, part)]:
            raise ModelError(
                f"{type(detector).__name__} has no {missing[0]}: it is no one-stage detector of torchvision's"
            )
        self.backbone: Any = detector.backbone
        self.head: Any = detector.head
        self.anchor_generator: Any = detector.anchor_generator
        self._coder: Any = detector.box_coder
        self._overlap = float(getattr(detector, "nms_thresh", 0.5))
        self._background = type(detector).__name__ == "SSD"  # its class 0, and its classes share a softmax

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return "cls_logits" (B, anchors, classes), "bbox_regression" (B, anchors, 4), what more the head gives."""
        found: dict[str, Tensor] = self.head(self._features(x))
        return found

    @torch.no_grad()
    def boxes(self, x: Tensor) -> Tensor:
        """Return the box of every anchor, (B, anchors, 4): x0, y0, x1, y1 in pixels of x."""
        features = self._features(x)
        codes = self.head(features)["bbox_regression"]
        size = (x.shape[-2], x.shape[-1])
        anchors = self.anchor_generator(ImageList(x, [size] * len(x)), features)
        decode = getattr(self._coder, "decode_single", self._coder.decode)
        return torch.stack([clip_boxes_to_image(decode(*each), size) for each in zip(codes, anchors, strict=True)])

    @torch.no_grad()
    def scores(self, x: Tensor) -> Tensor:
        """Return the score of every anchor and class, (B, anchors, classes), as the detector itself makes it."""
        found = self(x)
        if self._background:
            shares: Tensor = found["cls_logits"].softmax(-1)
            shares[..., 0] = 0.0  # nothing is found where the background is
            return shares
        scores: Tensor = found["cls_logits"].sigmoid()
        return torch.sqrt(scores * found["bbox_ctrness"].sigmoid()) if "bbox_ctrness" in found else scores

    def found(self, x: Tensor, above: float = 0.5) -> list[list[Found]]:
        """Return the boxes found on each picture, surest first.

        Args:
            x: pictures (B, 3, H, W).
            above: the score that a box must exceed. Of boxes of one class that overlap the surest is kept, by the
                detector's own threshold.
        """
        return [self._kept(*each, above) for each in zip(self.boxes(x), self.scores(x), strict=True)]

    def _kept(self, boxes: Tensor, scores: Tensor, above: float) -> list[Found]:
        """Of one picture's (anchors, 4) boxes and (anchors, classes) scores those that stay."""
        anchors, indices = torch.where(scores > above)
        sure = scores[anchors, indices]
        keep = batched_nms(boxes[anchors], sure, indices, self._overlap)
        columns = (anchors[keep], indices[keep], sure[keep], boxes[anchors[keep]])
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return [Found(anchor, index, score, (box[0], box[1], box[2], box[3])) for anchor, index, score, box in rows]

    def _features(self, x: Tensor) -> list[Tensor]:
        features = self.backbone(x)
        return [features] if isinstance(features, Tensor) else list(features.values())
