"""The timm family: its networks, by the names in `library_names`, with the preprocessing that timm gives each."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from relprop.data.preprocess import Preprocess
from relprop.models.errors import ModelError
from relprop.models.families import download, hub, library_names, optional_libraries
from relprop.models.families.library_names import TIMM
from relprop.models.families.not_stated import NotStated
from relprop.models.families.same_preprocessing import differ
from relprop.models.families.torch_cache import cached
from relprop.models.files import checkpoints, weight_files
from relprop.models.files.weight_files import numbered
from relprop.support.one_line import first_line
from relprop.support.suggest import did_you_mean

if TYPE_CHECKING:
    from relprop.models.families.family import Loaded
    from relprop.models.files.checkpoints import State

INTERPOLATIONS = ("bilinear", "bicubic", "nearest")
IMAGENET = 1000
"""So many classes are taken for ImageNet's, as timm takes them."""


def load(name: str, weights: str | Path | None) -> Loaded:
    """Build a network.

    Args:
        name: ``timm:resnet18``, or with one of its published weights ``timm:resnet18.a1_in1k``.
        weights: None: those that timm publishes under that name, if they were downloaded before; ``"download"``: the
            same, fetched where they are not; ``"random"``; or a file, whose number of classes the network takes.

    Returns:
        The network; its preprocessing, as timm would evaluate it, or a `NotStated` where that is none of ours; its
        classes: ImageNet's, where their number is that of one of its subsets; of 1000 torchvision's names.

    Raises:
        ModelError: timm is not installed; no such name; weights as `checkpoints.read`, `checkpoints.fit` and
            `download.fetch` do, or not here as `download.not_here` says.
    """
    optional_libraries.library("timm", name)
    settings = _settings(name.removeprefix(TIMM))
    if weights is None or weights == download.DOWNLOAD:
        model = _published(name, settings, asked=weights is not None)
    elif weights == "random":
        model = _build(name, num_classes=settings.num_classes or IMAGENET)
    else:
        found = weight_files.weights_for(name, weights, [download.DOWNLOAD, "random"])
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
    if TIMM + base not in library_names.timm():
        near = did_you_mean(TIMM + base, library_names.timm()) or f"; relprop models {TIMM} lists them"
        raise ModelError(f"no model {TIMM + base!r}{near}")
    timm = optional_libraries.library("timm")
    try:
        return timm.get_pretrained_cfg(bare, allow_unregistered=False)
    except RuntimeError:
        tagged = [TIMM + other for other in timm.list_pretrained(f"{base}.*")]
        near = did_you_mean(TIMM + bare, tagged) or f"; {TIMM + base} takes timm's choice"
        raise ModelError(f"no weights {tag!r} of {TIMM + base}{near}") from None


def _build(name: str, **arguments: Any) -> Any:
    """Build with random weights, the same each time, leaving the caller's random numbers alone."""
    timm = optional_libraries.library("timm", name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return timm.create_model(name.removeprefix(TIMM), **arguments)


def _published(name: str, settings: Any, *, asked: bool) -> Any:
    """The network with timm's own weights, which timm itself fits in: it knows the older layouts.

    Raises:
        ModelError: there are none, none with classes, none here and no download was asked for, or no network to fetch
            them from.
    """
    if not settings.hf_hub_id and not settings.url:
        raise ModelError(f"{name}: timm publishes no weights of it; pass some with --weights FILE")
    if not settings.num_classes:
        raise ModelError(f"{name}: timm's weights give features and no classes; pass others with --weights FILE")
    if settings.hf_hub_id:
        path = hub.file(settings.hf_hub_id, settings.hf_hub_filename or "model.safetensors", name, asked=asked)
    elif not asked and not cached(settings.url).exists():
        download.not_here(name)
    else:
        path = download.fetch(settings.url, name)
    overlay = {"file": str(path), "custom_load": False}
    try:
        return _build(name, pretrained=True, pretrained_cfg_overlay=overlay)
    except Exception as error:  # whatever a damaged or a strange file leads to
        checkpoints.read(path)  # says it better, where the file is at fault
        reason = f"{name}: timm cannot load {path} ({first_line(error)})"
        raise ModelError(f"{reason}; pass a state dict with --weights FILE") from error


def _classes_in(state: State, settings: Any) -> int | None:
    """How many classes a file has: the length of what it holds for the network's classifier."""
    classifier = settings.classifier
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier or ())
    return next((len(state[f"{head}.weight"]) for head in heads if f"{head}.weight" in state), None)


def _classes(count: int) -> tuple[str, ...]:
    """The names of so many classes: ImageNet's, where it is the number of one of its subsets."""
    data = optional_libraries.library("timm.data")
    if count == IMAGENET:
        from relprop.models.families import torchvision_zoo  # noqa: PLC0415 - torchvision takes long to import

        return torchvision_zoo.categories()
    subset = data.infer_imagenet_subset({"num_classes": count})
    if subset is None:
        return numbered(count)
    info = data.ImageNetInfo(subset)
    return tuple(info.index_to_description(index).partition(",")[0] for index in range(count))


def preprocess(model: torch.nn.Module, name: str) -> Preprocess | NotStated:
    """Return timm's preprocessing for evaluation as ours; a `NotStated` that says why where it is none of ours."""
    data = optional_libraries.library("timm.data", name)
    config = data.resolve_model_data_config(model)
    channels, height, width = config["input_size"]
    side = height if height == width else None
    try:
        mapped = _mapped(config)
    except ValueError as error:
        return NotStated(f"{name}: timm's preprocessing is none of ours ({error}); {HOW}", side)
    difference = differ(mapped, data.create_transform(**config)) if channels == 3 else float("inf")
    if difference > 1e-3:
        return NotStated(
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
