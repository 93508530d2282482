"""How pictures are prepared for a network, said in words."""

from __future__ import annotations

from relprop.data.preprocess import Preprocess


def in_words(preprocess: Preprocess) -> str:
    """Say how pictures are prepared."""
    size = preprocess.resize
    rescaled = f"shorter side to {size}" if isinstance(size, int) else f"to {size[0]}x{size[1]}"
    image = preprocess.mean_image
    means = f"({_numbers(preprocess.mean)})"
    less = means if image is None else f"a mean image of {image.shape[1]}x{image.shape[2]} (on average {means})"
    cut = f"{rescaled} ({preprocess.interpolation}), centre {preprocess.crop}x{preprocess.crop}"
    values = f"{preprocess.channels} in 0..{preprocess.scale:g}, less {less}, divided by ({_numbers(preprocess.std)})"
    return f"{cut}, {values}"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
