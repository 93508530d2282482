"""The networks of timm, by name, with the preprocessing that timm gives each.

Names come from the text of timm's sources, where each network is a function under ``@register_model``: timm itself
takes seconds to import, and is only imported to build a network.
"""

from __future__ import annotations

import math
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from relprop.data.preprocess import Preprocess
from relprop.models.families import download, extras, hub
from relprop.models.families.agreement import differ
from relprop.models.families.unknown import Unknown
from relprop.models.files import checkpoints, weight_files
from relprop.models.files.checkpoints import ModelError
from relprop.models.files.weight_files import numbered
from relprop.support.suggest import did_you_mean

if TYPE_CHECKING:
    from relprop.models.files.checkpoints import State

PREFIX = "timm:"
INTERPOLATIONS = ("bilinear", "bicubic", "nearest")
IMAGENET = 1000
"""So many classes are taken for ImageNet's, as timm takes them."""

_DEFINITION = re.compile(r"^@register_model\s*\ndef (\w+)\(", re.MULTILINE)


@cache
def names() -> tuple[str, ...]:
    """Return the networks' names, ``timm:`` before each; none where timm is not installed."""
    spec = find_spec("timm")
    if spec is None or spec.origin is None:
        return ()
    sources = (Path(spec.origin).parent / "models").rglob("*.py")
    found = {name for source in sources for name in _DEFINITION.findall(source.read_text(encoding="utf-8"))}
    return tuple(PREFIX + name for name in sorted(found))


def needs(name: str) -> str:
    """Say what loading a network takes, or any of them (where `name` is none of them)."""
    if extras.remedy("timm"):
        return extras.remedy("timm")
    if name not in names():
        return f"a download, or --weights FILE; relprop models {PREFIX} lists all {len(names()):,}"
    timm = extras.library("timm", name)
    published = timm.is_model_pretrained(name.removeprefix(PREFIX))
    return "a download, or --weights FILE" if published else "--weights FILE (timm publishes none)"


def load(name: str, weights: str | Path | None) -> tuple[torch.nn.Module, Preprocess | Unknown, tuple[str, ...]]:
    """Build a network.

    Args:
        name: ``timm:resnet18``, or with one of its published weights ``timm:resnet18.a1_in1k``.
        weights: None: those that timm publishes under that name; ``"random"``; or a file, whose number of classes
            the network takes.

    Returns:
        The network; its preprocessing, as timm would evaluate it, or an `Unknown` where that is none of ours; its
        classes: ImageNet's, where their number is that of one of its subsets; of 1000 torchvision's names.

    Raises:
        ModelError: timm is not installed; no such name; weights as `checkpoints.read`, `checkpoints.fit` and
            `download.fetch` do.
    """
    extras.library("timm", name)
    settings = _settings(name.removeprefix(PREFIX))
    if weights is None:
        model = _published(name, settings)
    elif weights == "random":
        model = _build(name, num_classes=settings.num_classes or IMAGENET)
    else:
        found = weight_files.to_load(weights, name, ["random"])
        count = _classes_in(found.state, settings)
        model = _build(name, **({"num_classes": count} if count else {}))
        checkpoints.fit(model, found.state, found.source, name)
        known = _classes(model.num_classes)
        return model, found.preprocess or preprocess(model, name), found.names(len(known), known)
    return model, preprocess(model, name), _classes(model.num_classes)


def _settings(bare: str) -> Any:
    """What timm notes on a name and its tag.

    Raises:
        ModelError: there is no such name or no such tag.
    """
    base, _, tag = bare.partition(".")
    if PREFIX + base not in names():
        near = did_you_mean(PREFIX + base, names()) or f"; relprop models {PREFIX} lists them"
        raise ModelError(f"no model {PREFIX + base!r}{near}")
    timm = extras.library("timm")
    try:
        return timm.get_pretrained_cfg(bare, allow_unregistered=False)
    except RuntimeError:
        tagged = [PREFIX + other for other in timm.list_pretrained(f"{base}.*")]
        near = did_you_mean(PREFIX + bare, tagged) or f"; {PREFIX + base} takes timm's choice"
        raise ModelError(f"no weights {tag!r} of {PREFIX + base}{near}") from None


def _build(name: str, **arguments: Any) -> Any:
    """Build with random weights, the same each time, leaving the caller's random numbers alone."""
    timm = extras.library("timm", name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return timm.create_model(name.removeprefix(PREFIX), **arguments)


def _published(name: str, settings: Any) -> Any:
    """The network with timm's own weights, which timm itself fits in: it knows the older layouts.

    Raises:
        ModelError: there are none, none with classes, or no network to fetch them from.
    """
    if not settings.hf_hub_id and not settings.url:
        raise ModelError(f"{name}: timm publishes no weights of it; pass some with --weights FILE")
    if not settings.num_classes:
        raise ModelError(f"{name}: timm's weights give features and no classes; pass others with --weights FILE")
    if settings.hf_hub_id:
        path = hub.file(settings.hf_hub_id, settings.hf_hub_filename or "model.safetensors", name)
    else:
        path = download.fetch(settings.url, name)
    overlay = {"file": str(path), "custom_load": False}
    try:
        return _build(name, pretrained=True, pretrained_cfg_overlay=overlay)
    except Exception as error:  # whatever a damaged or a strange file leads to
        checkpoints.read(path)  # says it better, where the file is at fault
        reason = f"{name}: timm cannot load {path} ({extras.first_line(error)})"
        raise ModelError(f"{reason}; pass a state dict with --weights FILE") from error


def _classes_in(state: State, settings: Any) -> int | None:
    """How many classes a file has: the length of what it holds for the network's classifier."""
    classifier = settings.classifier
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier or ())
    return next((len(state[f"{head}.weight"]) for head in heads if f"{head}.weight" in state), None)


def _classes(count: int) -> tuple[str, ...]:
    """The names of so many classes: ImageNet's, where it is the number of one of its subsets."""
    data = extras.library("timm.data")
    if count == IMAGENET:
        from relprop.models.families import zoo  # noqa: PLC0415 - torchvision takes its time, as timm does

        return zoo.categories()
    subset = data.infer_imagenet_subset({"num_classes": count})
    if subset is None:
        return numbered(count)
    info = data.ImageNetInfo(subset)
    return tuple(info.index_to_description(index).partition(",")[0] for index in range(count))


def preprocess(model: torch.nn.Module, name: str) -> Preprocess | Unknown:
    """Return timm's preprocessing for evaluation as ours; an `Unknown` that says why where it is none of ours."""
    data = extras.library("timm.data", name)
    config = data.resolve_model_data_config(model)
    channels, height, width = config["input_size"]
    side = height if height == width else None
    try:
        mapped = _mapped(config)
    except ValueError as error:
        return Unknown(f"{name}: timm's preprocessing is none of ours ({error}); {HOW}", side)
    difference = differ(mapped, data.create_transform(**config)) if channels == 3 else float("inf")
    if difference > 1e-3:
        return Unknown(
            f"{name}: timm's preprocessing is none of ours (differs by {difference:.3g} of 255); {HOW}", side
        )
    return mapped


HOW = "set model.preprocess to a relprop.models.Preprocess, or explain tensors of your own with relprop.attribute"


def _mapped(config: dict[str, Any]) -> Preprocess:
    """Take timm's options for ours.

    Raises:
        ValueError: they ask for what ours cannot do.
    """
    channels, height, width = config["input_size"]
    if channels != 3 or height != width:
        raise ValueError(f"it takes {channels} x {height} x {width}, and ours gives three channels and a square")
    if config["interpolation"] not in INTERPOLATIONS:
        raise ValueError(f"interpolation {config['interpolation']!r}")
    if config["crop_mode"] not in ("center", "squash"):
        raise ValueError(f"crop mode {config['crop_mode']!r}")
    resize = math.floor(height / config["crop_pct"])
    sides = resize if config["crop_mode"] == "center" else (resize, resize)
    return Preprocess(height, sides, tuple(config["mean"]), tuple(config["std"]), config["interpolation"])
