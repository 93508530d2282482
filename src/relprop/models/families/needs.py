"""What loading a network takes, in a few words, by family: what `relprop models` prints beside each name."""

from __future__ import annotations

from pathlib import Path

from relprop.models.families import library_names, optional_libraries
from relprop.models.families.library_names import TIMM
from relprop.models.families.torch_cache import cached

HUGGING_FACE = "hf:"
"""How names of folders and repositories of Hugging Face begin."""
GGUF = ".gguf"
"""How files end that hold a language model and its tokenizer, their weights in few bits."""
ONNX_FORM = "FILE.onnx"


def embedded(_: str) -> str:
    """Say what an embedded network takes."""
    return "nothing: it is in the package"


def caffe(_: str) -> str:
    """Say what CaffeNet takes."""
    return "a .caffemodel that relprop convert has converted, as --weights FILE"


def torchvision(name: str) -> str:
    """Say what a network of torchvision takes."""
    parts = (library_names.torchvision(part) for part in ("", "segmentation", "detection"))
    published = next(part[name] for part in parts if name in part)
    if published is None:
        return "a download, or --weights FILE"
    if cached(published.url).exists():
        return f"nothing: {cached(published.url)} is there"
    return f"a download of {published.megabytes:.0f} MB, or --weights FILE"


def timm(name: str) -> str:
    """Say what a network of timm takes, or any of them (where `name` is none of them)."""
    if optional_libraries.remedy("timm"):
        return optional_libraries.remedy("timm")
    names = library_names.timm()
    if name not in names:
        return f"a download, or --weights FILE; relprop models {TIMM} lists all {len(names):,}"
    published = optional_libraries.library("timm", name).is_model_pretrained(name.removeprefix(TIMM))
    return "a download, or --weights FILE" if published else "--weights FILE (timm publishes none)"


def hugging_face(name: str) -> str:
    """Say what a folder or a repository takes, or any of them (where `name` is none of them)."""
    place = Path(name.removeprefix(HUGGING_FACE))
    packed = place.suffix == GGUF or (place.is_dir() and any(place.glob(f"*{GGUF}")))
    missing = [optional_libraries.remedy(library) for library in ("transformers", *(("gguf", "accelerate") * packed))]
    if any(missing):
        return next(filter(None, missing))
    if place.exists():
        return "nothing: it is there"
    return "a folder, or a download: a classifier of pictures or texts, or a language model (safetensors, or a .gguf)"


def onnx(name: str) -> str:
    """Say what an ONNX file takes, or any of them (where `name` is their form)."""
    beside = f"a JSON file beside it, {name}.json, that tells its preprocessing" if name == ONNX_FORM else "nothing"
    return optional_libraries.remedy("onnx2torch") or beside


def factory(_: str) -> str:
    """Say what a function of the user's takes."""
    return "a function of yours that returns it, with .preprocess and .classes"
