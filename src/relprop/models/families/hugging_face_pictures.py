"""How a folder of Hugging Face's prepares pictures: its processor's options as ours, tried on a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from relprop.data.preprocess import Preprocess
from relprop.models.families import optional_libraries
from relprop.models.families.not_stated import NotStated
from relprop.models.families.quiet_transformers import quiet
from relprop.models.families.same_preprocessing import differ
from relprop.support.one_line import first_line

INTERPOLATIONS = {0: "nearest", 2: "bilinear", 3: "bicubic"}
"""By Pillow's numbers."""
LEVELS = 2.5
"""So far, of 255, the pictures of two libraries may differ: each rounds after each of the two passes of rescaling."""


def preprocess_in(folder: Path, name: str) -> Preprocess | NotStated:
    """Their preprocessing as ours; a `NotStated` that says why where it is none of ours, or not told."""
    how = "set model.preprocess to a relprop.models.Preprocess, or explain tensors of your own with relprop.attribute"
    if not (folder / "preprocessor_config.json").is_file():
        return NotStated(f"{name}: no preprocessor_config.json in {folder}; add it, or {how}")
    auto = optional_libraries.library("transformers").AutoImageProcessor
    try:
        with quiet():
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
