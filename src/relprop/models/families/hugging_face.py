"""The Hugging Face family: image classifiers in their format, a folder, or a repository on their Hub.

Weights are read from safetensors alone, and code that a repository brings along is never run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from relprop.data.preprocess import Preprocess
from relprop.models.errors import ModelError
from relprop.models.families import hub, optional_libraries
from relprop.models.families.needs import HUGGING_FACE
from relprop.models.families.not_stated import NotStated
from relprop.models.families.same_preprocessing import differ
from relprop.models.files import checkpoints, weight_files
from relprop.support.files import near
from relprop.support.one_line import first_line

if TYPE_CHECKING:
    from relprop.models.families.family import Loaded

FILES = ["config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json"]
"""What is downloaded of a repository."""
INTERPOLATIONS = {0: "nearest", 2: "bilinear", 3: "bicubic"}
"""By Pillow's numbers."""
LEVELS = 2.5
"""So far, of 255, the pictures of two libraries may differ: each rounds after each of the two passes of rescaling."""


def load(name: str, weights: str | Path | None) -> Loaded:
    """Build a network.

    Args:
        name: ``hf:FOLDER``, with ``config.json``, ``model.safetensors`` and ``preprocessor_config.json`` in it; or
            ``hf:OWNER/NAME`` of the Hub, with ``@REVISION`` behind it if need be.
        weights: None: its own; ``"random"``; or a file.

    Returns:
        The network in float32; its preprocessing, or a `NotStated` where that is missing or none of ours; its classes.

    Raises:
        ModelError: transformers is not installed; no such folder, no network, no safetensors; not a classifier of
            pictures; damaged; code of its own; a file that does not fit.
    """
    optional_libraries.library("transformers", name)
    folder = _folder(name)
    with _quiet():
        config = _config(folder, name)
        model = _with_own_weights(folder, name) if weights is None else _with_random_weights(config, name)
    labels = getattr(config, "id2label", None) or {}
    classes = tuple(str(labels.get(index, f"class {index}")) for index in range(len(labels)))
    if weights is None or weights == "random":
        return model.float(), _preprocess(folder, name), classes
    found = weight_files.weights_for(name, weights, ["random"])
    checkpoints.fit(model, found.state, found.source, name)
    return model.float(), found.preprocess or _preprocess(folder, name), found.names(len(classes), classes)


def _folder(name: str) -> Path:
    """Where the files are, downloaded first if it is a repository.

    Raises:
        ModelError: they are nowhere.
    """
    place = name.removeprefix(HUGGING_FACE)
    folder = Path(place)
    if folder.is_dir():
        return folder
    repository, _, revision = place.partition("@")
    if repository.count("/") != 1 or place.startswith((".", "/", "~")):
        remedy = near(folder) or "; name a folder, or OWNER/NAME of the Hub"
        raise ModelError(f"{name}: no such folder{remedy}")
    return hub.folder(repository, revision or None, FILES, name)


def _config(folder: Path, name: str) -> Any:
    """The network's configuration.

    Raises:
        ModelError: missing, damaged, or of a network that needs code of its own.
    """
    if not (folder / "config.json").is_file():
        raise ModelError(f"{name}: no config.json in {folder}; save the model there with save_pretrained")
    try:
        return optional_libraries.library("transformers").AutoConfig.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:  # whatever the file's content leads to
        raise ModelError(f"{name}: {folder / 'config.json'} cannot be used ({first_line(error)})") from error


def _with_own_weights(folder: Path, name: str) -> torch.nn.Module:
    """The network with its own weights, all of them.

    Raises:
        ModelError: they are missing, damaged, pickled, or of a network without classes.
    """
    if not any(folder.glob("*.safetensors")):
        pickled = any(folder.glob("*.bin"))
        reason = "only pickled weights, which are not read" if pickled else "no model.safetensors"
        raise ModelError(f"{name}: {reason} in {folder}; save it with save_pretrained(..., safe_serialization=True)")
    auto = optional_libraries.library("transformers").AutoModelForImageClassification
    try:
        model, report = auto.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:  # whatever the files' content leads to
        reason = f"{name}: not a classifier of pictures that transformers can load ({first_line(error)})"
        raise ModelError(f"{reason}; see config.json and model.safetensors in {folder}") from error
    absent = sorted(map(str, report["missing_keys"]))
    if absent:
        first = f"{', '.join(absent[:3])}{', ...' if len(absent) > 3 else ''}"
        raise ModelError(f"{name}: its weights lack {first} ({len(absent)} in all): no trained classifier to explain")
    network: torch.nn.Module = model
    return network


def _with_random_weights(config: Any, name: str) -> torch.nn.Module:
    """The network with random weights, the same each time, leaving the caller's random numbers alone."""
    auto = optional_libraries.library("transformers").AutoModelForImageClassification
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model: torch.nn.Module = auto.from_config(config, trust_remote_code=False)
    except Exception as error:  # whatever the configuration leads to
        raise ModelError(f"{name}: not a classifier of pictures ({first_line(error)}); see its config.json") from error
    return model


def _preprocess(folder: Path, name: str) -> Preprocess | NotStated:
    """Their preprocessing as ours; a `NotStated` that says why where it is none of ours, or not told."""
    how = "set model.preprocess to a relprop.models.Preprocess, or explain tensors of your own with relprop.attribute"
    if not (folder / "preprocessor_config.json").is_file():
        return NotStated(f"{name}: no preprocessor_config.json in {folder}; add it, or {how}")
    auto = optional_libraries.library("transformers").AutoImageProcessor
    try:
        with _quiet():
            processor = auto.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        mapped = _mapped(processor)
        difference = differ(mapped, lambda image: processor(image, return_tensors="pt")["pixel_values"][0], shift=1)
    except Exception as error:  # noqa: BLE001 - whatever the file's content leads to
        return NotStated(f"{name}: its preprocessing is none of ours ({first_line(error)}); {how}")
    if difference > LEVELS:
        kind = type(processor).__name__
        return NotStated(
            f"{name}: its preprocessing, {kind}, is none of ours (differs by {difference:.3g} of 255); {how}"
        )
    return mapped


def _mapped(processor: Any) -> Preprocess:
    """Take the options that most processors share for ours; whether they mean the same is tried afterwards.

    Raises:
        ValueError: they ask for what ours cannot do.
    """

    def option(key: str, default: Any = None) -> Any:
        found = getattr(processor, key, None)
        return default if found is None else found

    resize, crop = _sizes(option)
    factor = float(option("rescale_factor", 1 / 255)) if option("do_rescale") else 1.0
    normalises = option("do_normalize")
    mean: tuple[float, ...] = tuple(map(float, option("image_mean"))) if normalises else (0.0,) * 3
    std: tuple[float, ...] = tuple(map(float, option("image_std"))) if normalises else (1.0,) * 3
    if option("rescale_offset"):  # EfficientNet: -1 to 1 ...
        mean = tuple(value + 1 for value in mean)
    if option("include_top") and normalises:  # ... and divided by the deviation twice
        std = tuple(value**2 for value in std)
    interpolation = INTERPOLATIONS.get(int(option("resample", -1)))
    if interpolation is None:
        raise ValueError(f"resample {option('resample')}")
    channels = "BGR" if option("do_flip_channel_order") else "RGB"
    return Preprocess(crop, resize, mean, std, interpolation, channels, 1.0 if factor == 1 / 255 else 255 * factor)


def _sizes(option: Any) -> tuple[int | tuple[int, int], int]:
    """What is rescaled to, and what is cut out of that.

    Raises:
        ValueError: neither is told as ours would tell it, or the cut is no square.
    """
    size, cut = _plain(option("size")), _plain(option("crop_size"))
    edge = size.get("shortest_edge")
    if not option("do_resize") or not (edge or ("height" in size and "width" in size)):
        raise ValueError(f"size {size}, do_resize {option('do_resize')}")
    resize: int | tuple[int, int] = edge or (size["height"], size["width"])
    if edge and option("crop_pct"):
        resize = int(edge / option("crop_pct")) if edge < 384 else (edge, edge)  # ConvNeXt's own rule
        return resize, edge
    if not option("do_center_crop"):
        cut = {key: size[key] for key in ("height", "width") if key in size}
    if not cut.get("height") or cut.get("height") != cut.get("width"):
        raise ValueError(f"size {size} and crop_size {cut} give no square")
    return resize, cut["height"]


def _plain(size: Any) -> dict[str, int]:
    """Sizes as they are told, a mapping or an object with that of which some are None."""
    return {key: int(value) for key, value in dict(size or {}).items() if value is not None}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' bars and notes, which are for those who train, from stderr."""
    logging = optional_libraries.library("transformers.utils.logging")
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
