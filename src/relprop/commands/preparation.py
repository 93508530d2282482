"""How pictures are prepared for a network, said in words; what goes into a model of texts."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from relprop.commands.answer import reader_of_texts
from relprop.data.preprocess import Preprocess
from relprop.models.text import sample_ids


def inputs_of_texts(network: nn.Module, name: str, text: str | None) -> dict[str, Tensor]:
    """Return what a model of texts is called with: a text, or where none was named some tokens.

    Raises:
        RelpropError: the network takes no texts, or cannot take this one.
    """
    model: Any = reader_of_texts(network, name)
    return sample_ids(model) if text is None else dict(model.encode(text))


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
