"""What Caffe trained, put into PyTorch's networks: CaffeNet into ours, VGG-16 into torchvision's.

Both lay weights out alike (outputs, inputs, height, width) and flatten maps in the order channel, height, width, so
that numbers go over as they are; the order of the colours is the picture's matter.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from relprop.models.errors import ModelError
from relprop.models.files.caffe import Layer
from relprop.models.files.caffe_description import WEIGHTED, structure
from relprop.models.files.checkpoints import State


def caffenet_state(blobs: Mapping[str, Layer], source: str) -> State:
    """Name the weights of a CaffeNet as `CaffeNet` does.

    Args:
        blobs: layers with weights by Caffe's names, as `Net.weighted`. A last layer of another name, as fine-tuning
            gives it (``fc8_voc``), is taken for fc8, whose number of outputs is free.
        source: where they are from, for the error.

    Returns:
        A state dict; fully connected layers from old files, 1x1xNxM, as NxM.

    Raises:
        ModelError: layers are missing, unexpected or of another shape: the first of each are named.
    """
    return _state("caffenet", blobs, source)


def vgg16_state(blobs: Mapping[str, Layer], source: str) -> State:
    """Name the weights of VGG_ILSVRC_16_layers as torchvision's vgg16 does; otherwise as `caffenet_state`."""
    return _state("vgg16", blobs, source)


def _state(name: str, blobs: Mapping[str, Layer], source: str) -> State:
    last = WEIGHTED[name][-1]
    given = _renamed(dict(blobs), last)
    network = structure(name, given[last].blobs[-1].numel() if last in given else 1)
    weighted = [(path, m) for path, m in network.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    state: State = {}
    misshapen = []
    for ours, (path, module) in zip(WEIGHTED[name], weighted, strict=True):
        if ours not in given:
            continue
        found = given[ours].blobs
        for key, blob in zip(("weight", "bias"), found, strict=False):
            wanted = getattr(module, key).shape
            if blob.ndim <= 4 and tuple(blob.shape) == (1,) * (blob.ndim - len(wanted)) + tuple(wanted):
                state[f"{path}.{key}"] = blob.reshape(wanted)
            else:
                misshapen.append(f"{ours} {_size(blob)} for {_size(getattr(module, key))}")
        if len(found) != 2:
            misshapen.append(f"{ours} of {len(found)} blobs for weights and bias")
    wrong = {
        "missing": [ours for ours in WEIGHTED[name] if ours not in given],
        "unexpected": [theirs for theirs in given if theirs not in WEIGHTED[name]],
        "of another shape": misshapen,
    }
    if any(wrong.values()):
        reason = "; ".join(f"{what}: {_first(layers)}" for what, layers in wrong.items() if layers)
        raise ModelError(f"{source}: its layers do not fit {name} ({reason}); it may be another network's: see --model")
    return state


def _renamed(given: dict[str, Layer], last: str) -> dict[str, Layer]:
    """Call the file's last layer `last` where no other is: Caffe has fine-tuned layers renamed."""
    if given and last not in given:
        name = next(reversed(given))
        if name not in {known for names in WEIGHTED.values() for known in names}:
            given[last] = given.pop(name)
    return given


def _first(layers: list[str], most: int = 3) -> str:
    more = f", ... ({len(layers)} in all)" if len(layers) > most else ""
    return ", ".join(layers[:most]) + more


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
